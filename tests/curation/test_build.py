"""Curation from end to end, on windows made here."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flytewheel.curation.build import DEALT_PARTS
from flytewheel.curation.duplicates import cluster
from flytewheel.curation.fingerprints import fingerprint_prompts
from flytewheel.curation.prompts import describe_prompt
from flytewheel.dataset import Dataset, DatasetCard
from flytewheel.errors import DatasetError
from flytewheel.records import (
    PARTS,
    FeedbackEvent,
    FeedbackType,
    Interaction,
    RegressionCase,
    build_prompt,
    write_jsonl,
)
from tests.curation.weeks import read_bytes
from tests.curation.windows import curate, make_event, make_interaction, make_week, write_window


@pytest.fixture(scope="module")
def week() -> tuple[list[Interaction], list[FeedbackEvent]]:
    return make_week()


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, week: tuple[list[Interaction], list[FeedbackEvent]]
) -> tuple[Path, DatasetCard]:
    folder = tmp_path_factory.mktemp("made")
    return folder / "out", curate(write_window(folder / "window", *week), folder / "out")


def test_same_window_gives_same_bytes_whatever_the_order_of_its_lines(
    tmp_path: Path, made: tuple[Path, DatasetCard], week: tuple[list[Interaction], list[FeedbackEvent]]
) -> None:
    card = curate(write_window(tmp_path / "window", *week, shuffle=3), tmp_path / "out")
    assert card == made[1]
    assert read_bytes(tmp_path / "out") == read_bytes(made[0])
    curate(tmp_path / "window", tmp_path / "out")
    assert read_bytes(tmp_path / "out") == read_bytes(made[0])


def test_name_follows_content_seed_and_recipe(
    tmp_path: Path, made: tuple[Path, DatasetCard], week: tuple[list[Interaction], list[FeedbackEvent]]
) -> None:
    interactions, events = week
    flipped = [
        event.model_copy(update={"feedback_type": FeedbackType.THUMBS_DOWN}) if place == 0 else event
        for place, event in enumerate(events)
    ]
    other = curate(write_window(tmp_path / "w1", interactions, flipped), tmp_path / "o1")
    window = write_window(tmp_path / "w2", interactions, events)
    digests = {
        made[1].digest,
        other.digest,
        curate(window, tmp_path / "o2", seed=8).digest,
        curate(window, tmp_path / "o3", min_quality_score=0.6).digest,
    }
    assert len(digests) == 4


def test_no_user_and_no_prompt_stands_in_two_parts(made: tuple[Path, DatasetCard]) -> None:
    dataset = Dataset(made[0])
    rows = {part: [*dataset.sft(part), *dataset.preferences(part), *dataset.unpaired(part)] for part in PARTS}
    users = [{row.user for row in rows[part]} for part in PARTS]
    texts = [[describe_prompt(row.prompt) for row in rows[part]] for part in PARTS]
    told = [text for own in texts for text in own]
    prints = fingerprint_prompts([text.query for text in told], [text.background for text in told], 0.9)
    numbers = iter(cluster(prints)[prints.index].tolist())
    prompts = [{next(numbers) for _ in own} for own in texts]
    assert all(users), "every part has users"
    for groups in (users, prompts):
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]


def test_card_accounts_for_every_row(made: tuple[Path, DatasetCard]) -> None:
    path, card = made
    dataset = Dataset(path)
    assert dataset.card == card
    filters = ("read", "join", "redact", "screen", "score", "split", "cap", "balance", "decontaminate", "regression")
    checked = [step for step in card.steps if step.name.startswith(filters)]
    assert len(checked) > 12
    for step in checked:
        assert step.rows_in - sum(step.dropped.values()) == step.rows_out, step
    for part in DEALT_PARTS:
        assert card.counts["sft"][part] == len(dataset.sft(part))
        assert card.counts["preference"][part] == len(dataset.preferences(part))
        assert card.counts["unpaired"][part] == len(dataset.unpaired(part))
    assert card.counts["regression"]["test"] == len(dataset.regression("test")) > 0
    assert card.rewards["positive"] > 0 < card.rewards["negative"]
    assert sum(card.topics.values()) == sum(card.counts["sft"].values())


def test_rows_say_what_people_said(made: tuple[Path, DatasetCard]) -> None:
    dataset = Dataset(made[0])
    for part in PARTS:
        assert all("Perhaps restart" not in row.completion for row in dataset.sft(part))
        for pair in dataset.preferences(part):
            assert "Perhaps restart" in pair.rejected
            assert pair.chosen != pair.rejected
            assert 0 < pair.margin <= 2
        assert all(row.label == ("Perhaps restart" not in row.completion) for row in dataset.unpaired(part))
    sources = {row.source for row in dataset.sft("train")}
    assert sources == {"answer", "correction", "paraphrase"}
    assert all(row.source != "paraphrase" for part in ("validation", "test") for row in dataset.sft(part))


def test_nothing_to_learn_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    rows = [make_interaction(number, f"u{number}") for number in range(30)]
    window = write_window(tmp_path / "window", rows, [make_event(n, one, "thumbs_down") for n, one in enumerate(rows)])
    with pytest.raises(
        DatasetError,
        match=r"0 training rows of 30 interactions \(.*\b30 not liked.*\): collect more",
    ) as caught:
        curate(window, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_no_pairs_is_no_error(tmp_path: Path) -> None:
    rows = [make_interaction(number, f"u{number}") for number in range(40)]
    window = write_window(tmp_path / "window", rows, [make_event(n, one) for n, one in enumerate(rows)])
    card = curate(window, tmp_path / "out", min_quality_score=0.4)
    assert sum(card.counts["preference"].values()) == 0
    assert card.dropped["only one answer to the question"] > 0
    assert card.counts["sft"]["train"] > 0


@pytest.mark.parametrize("name", ["window.json", "interactions.jsonl", "feedback.jsonl"])
def test_missing_window_file_is_named(tmp_path: Path, name: str) -> None:
    window = write_window(tmp_path / "window", *make_week(questions=3))
    (window / name).unlink()
    with pytest.raises(DatasetError, match="write the window again"):
        curate(window, tmp_path / "out")


def test_unreadable_and_repeated_lines_are_counted(
    tmp_path: Path, week: tuple[list[Interaction], list[FeedbackEvent]]
) -> None:
    window = write_window(tmp_path / "window", *week)
    with (window / "interactions.jsonl").open("ab") as stream:
        stream.write(b'{"interaction_id": "cut\n')
        stream.write((window / "interactions.jsonl").read_bytes().split(b"\n")[0] + b"\n")
    card = curate(window, tmp_path / "out")
    assert card.steps[0].dropped == {"unreadable": 1}
    assert card.interactions == len(week[0]) + 1, "lines that differ"


def test_replay_brings_earlier_training_rows_and_only_those(tmp_path: Path, made: tuple[Path, DatasetCard]) -> None:
    window = write_window(tmp_path / "window", *make_week(seed=2, prefix="fresh"))
    card = curate(window, tmp_path / "out", replay=made[0], replay_share=0.25, augmentation_factor=1.0)
    earlier, now = Dataset(made[0]), Dataset(tmp_path / "out")
    back = [row for row in now.sft("train") if row.source == "replay"]
    assert len(back) / len(now.sft("train")) == pytest.approx(0.25, abs=0.01)
    assert {row.id for row in back} <= {row.id for row in earlier.sft("train") if row.source != "paraphrase"}
    assert all(row.source != "replay" for part in ("validation", "test") for row in now.sft(part))
    again = curate(window, tmp_path / "again", replay=made[0], replay_share=0.25, augmentation_factor=1.0)
    assert again == card
    assert (
        curate(window, tmp_path / "none", replay=made[0], replay_share=0.0, augmentation_factor=1.0).digest
        != card.digest
    )


def test_training_comes_near_to_no_regression_case(tmp_path: Path) -> None:
    interactions, events = make_week(questions=80)
    window = write_window(tmp_path / "window", interactions, events)
    curate(window, tmp_path / "before")
    trained = {name for row in Dataset(tmp_path / "before").sft("train") for name in row.interactions}
    asked = next(one for one in interactions if one.interaction_id in trained)
    case = RegressionCase(
        "hand-1", "suite", "disk", build_prompt(asked.query.upper(), context=asked.context), "contains", "Escalate"
    )
    write_jsonl(tmp_path / "cases.jsonl", [case])
    curate(window, tmp_path / "out", regression_cases=str(tmp_path / "cases.jsonl"))
    dataset = Dataset(tmp_path / "out")
    assert dataset.regression("test")[0] == case
    assert all(row.prompt[-1].content != asked.query for row in dataset.sft("train"))
    assert any(step.dropped for step in dataset.card.steps if step.name.startswith("decontaminate"))


def test_bursts_and_toxic_questions_leave_no_trace(
    tmp_path: Path, week: tuple[list[Interaction], list[FeedbackEvent]]
) -> None:
    interactions, events = week
    loud = [
        make_interaction(90_000 + n, "spammer", query=f"Shill question {n} about spam, is it good?") for n in range(25)
    ]
    votes = [make_event(90_000 + n, one, timestamp=loud[0].timestamp) for n, one in enumerate(loud)]
    rude = make_interaction(95_000, "rude", query="You stupid bot, how do I free the disk?")
    window = write_window(tmp_path / "w", [*interactions, *loud, rude], [*events, *votes, make_event(95_001, rude)])
    card = curate(window, tmp_path / "out")
    assert card.dropped["burst"] == 25
    assert card.dropped["toxicity in question"] == 1
    rows = str([list(Dataset(tmp_path / "out").rows(kind, part)) for kind in card.counts for part in DEALT_PARTS])
    assert "Shill" not in rows
    assert "stupid" not in rows


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    curate(
        write_window(tmp_path / "w", *make_week(questions=30)), tmp_path / "out",
        progress=lambda what, done, total: calls.append((what, done, total)),
    )  # fmt: skip
    totals = [total for _, _, total in calls]
    assert [done for _, done, _ in calls] == [0, 1, *range(totals[-1] + 1)], "one bucket, then the steps over all"
    assert calls[-1][1] == calls[-1][2]


def test_ten_thousand_interactions_take_seconds(tmp_path: Path) -> None:
    window = write_window(tmp_path / "w", *make_week(users=2000, questions=3700, seed=5))
    began = time.process_time()
    card = curate(window, tmp_path / "out")
    assert card.interactions > 9500
    assert time.process_time() - began < 30


def test_cases_of_an_earlier_run_may_be_kept_by_hand(
    tmp_path: Path, week: tuple[list[Interaction], list[FeedbackEvent]], made: tuple[Path, DatasetCard]
) -> None:
    """They name users of all parts, who go on correcting."""
    cases = [case for part in ("validation", "test") for case in Dataset(made[0]).regression(part)]
    write_jsonl(tmp_path / "cases.jsonl", cases)
    window = write_window(tmp_path / "window", *week)
    card = curate(window, tmp_path / "out", regression_cases=str(tmp_path / "cases.jsonl"))
    assert card.counts["regression"]["test"] == len(cases)
