from __future__ import annotations

import gzip
import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.build import build_dataset
from flytewheel.curation.prepare import Rules
from flytewheel.dataset import Dataset, DatasetCard, part_file, write_card, write_rows
from flytewheel.errors import EvaluationError
from flytewheel.evaluation.evaluate import evaluate
from flytewheel.evaluation.overlap import check_overlap, find_overlaps, shingle
from flytewheel.feedback.rewards import score
from flytewheel.recipe import BaseModelSpec, CurationSpec, EvaluationSpec, FeedbackSpec, RlhfSpec
from flytewheel.records import Message, Preference, RegressionCase, SftRow, Trajectory, build_prompt
from tests.curation.windows import WordCounter, curate, make_week, write_window

EXAMPLES = Path(__file__).parents[2] / "examples"
LONG = " ".join(f"word{number}" for number in range(90))


def make_row(name: str, query: str, *, context: str | None = None, answer: str = "", **fields: Any) -> SftRow:
    prompt = build_prompt(query, system="You help people on call.", context=context)
    given = {"user": f"user-{name}", "interactions": (f"i-{name}",), **fields}
    user = given.pop("user")
    return SftRow(name, user, "ops", prompt, answer or f"Answer of {name}.", 1.0, 1.0, "answer", **given)


TESTED = [make_row(f"test{number}", f"What do I do about host {number} this morning?") for number in range(8)]
CASE = RegressionCase("case", "suite", "ops", build_prompt("Who owns the cache?"), "contains", "team")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Dataset]:
    """Writes a data set of these rows."""

    def write_set(name: str = "data", card: dict[str, Any] | None = None, **parts: list[Any]) -> Dataset:
        folder = tmp_path / name
        rows = {"sft_test": TESTED, "regression_test": [CASE], **parts}
        for place, records in rows.items():
            kind, part = place.rsplit("_", 1)
            write_rows(part_file(folder, kind, part), kind, records)
        write_card(folder, DatasetCard("abc", "def", ("demo",), 0, 0, (), {}, {}, {}, recipe=card or {}))
        return Dataset(folder)

    return write_set


def test_parts_that_share_nothing_pass(write: Callable[..., Dataset]) -> None:
    data = write(sft_train=[make_row(f"train{number}", f"Why is queue {number} slow?") for number in range(20)])
    check_overlap(data, [data])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (make_row("new", "Why is it slow?", user="user-test3"), "test rows of users who are trained on (test3)"),
        (make_row("test3", "Why is it slow?", user="else", interactions=()), "whose id a training row has (test3)"),
        (make_row("new", "Why is it slow?", interactions=("x", "i-test3")), "come from an interaction that is trained"),
        (make_row("new", "What do I do about host 3 this morning?"), "test prompts that are trained on (test3)"),
        (make_row("new", "  what do I do, about HOST 3 this morning!!"), "test prompts that are trained on (test3)"),
        (make_row("new", "What do I do about host 3 this morning?", answer="Answer of test3."), "repeats word by word"),
    ],
)  # fmt: skip
def test_each_way_to_overlap_is_refused_in_one_line(row: SftRow, says: str, write: Callable[..., Dataset]) -> None:
    data = write(sft_train=[make_row("train", "Why is the queue slow?"), row])
    with pytest.raises(EvaluationError) as refused:
        check_overlap(data, [data])
    assert says in str(refused.value)
    assert "test3" in str(refused.value)
    assert "curate the data set again" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_test_row_that_a_pair_or_a_session_is_trained_on_is_refused(write: Callable[..., Dataset]) -> None:
    prompt = TESTED[5].prompt
    pair = Preference("p", "u", "ops", prompt, "good", "bad", 1.0, "duel")
    session = Trajectory("s", "u", "ops", (*prompt, Message(role="assistant", content="Yes.")), (1.0,), 1.0)
    for parts in ({"preference_train": [pair]}, {"trajectory_train": [session]}):
        found = find_overlaps(write(**parts), [write(**parts)])
        assert [(one.what, one.ids) for one in found] == [("test prompts that are trained on", ("test5",))]


def test_a_case_whose_prompt_is_trained_on_is_refused(write: Callable[..., Dataset]) -> None:
    row = replace(make_row("new", "x"), prompt=build_prompt("Who owns the cache"))
    data = write(sft_train=[row])
    assert [str(one) for one in find_overlaps(data, [data])] == ["1 regression cases whose prompt is trained on (case)"]


def test_near_prompts_are_refused_and_less_near_ones_pass(write: Callable[..., Dataset]) -> None:
    """Of 90 words, 88 trigrams: one word changed at the end leaves 87 of 89 (0.978), in the middle 85 of 91 (0.934)."""
    tested = [make_row("test", LONG)]
    for query, near in ((f"{LONG.rsplit(' ', 1)[0]} other", True), (LONG.replace("word44", "other"), False)):
        data = write(sft_test=tested, sft_train=[make_row("train", query)])
        found = [str(one) for one in find_overlaps(data, [data])]
        assert found == (["1 test prompts that are nearly trained on (similarity 0.95 or more) (test)"] if near else [])


def test_near_is_nearer_than_what_curation_kept_apart(write: Callable[..., Dataset]) -> None:
    """A recipe that lets prompts of 0.98 into two parts is not refused for them."""
    rows = {"sft_test": [make_row("test", LONG)], "sft_train": [make_row("train", f"{LONG.rsplit(' ', 1)[0]} other")]}
    card = {"curation": {"near_duplicate_similarity": 0.98}}
    data = write(**rows, card=card)
    assert find_overlaps(data, [data]) == []


def test_the_same_question_about_another_passage_is_another_prompt(write: Callable[..., Dataset]) -> None:
    tested = [make_row("test", "What do I do?", context="Runbook: prune the logs of the host.")]
    cases = (("Runbook: restart the shop.", False), ("runbook, prune THE logs of the host", True), (None, False))
    for context, refused in cases:
        data = write(sft_test=tested, sft_train=[make_row("train", "What do I do?", context=context)])
        assert bool(find_overlaps(data, [data])) == refused
    system = replace(tested[0], prompt=build_prompt("What do I do?", system="Answer in French."))
    data = write(sft_test=[system], sft_train=[make_row("train", "What do I do?")])
    assert find_overlaps(data, [data]) == []


@pytest.mark.parametrize(("one", "other"), [("???", "!!!"), ("की?", "कि?"), ("磁盘", "磁带"), ("C++?", "D++?")])
def test_prompts_of_signs_and_other_scripts_are_told_apart(one: str, other: str, write: Callable[..., Dataset]) -> None:
    data = write(sft_test=[make_row("test", one)], sft_train=[make_row("train", other)])
    assert find_overlaps(data, [data]) == []
    data = write(sft_test=[make_row("test", one)], sft_train=[make_row("train", one)])
    assert len(find_overlaps(data, [data])) == 1


def test_another_set_that_was_trained_on_is_compared(write: Callable[..., Dataset]) -> None:
    data = write()
    earlier = write("earlier", sft_train=[make_row("old", "What do I do about host 3 this morning?")], sft_test=[])
    check_overlap(data, [data])
    check_overlap(earlier, [data])
    with pytest.raises(EvaluationError, match="test3"):
        check_overlap(data, [data, earlier])


def test_evaluation_stops_before_a_model_is_loaded(write: Callable[..., Dataset], tmp_path: Path) -> None:
    data = write(sft_train=[make_row("new", "Why is it slow?", user="user-test3")])
    absent = BaseModelSpec(model=str(tmp_path / "no-such-model"))
    with pytest.raises(EvaluationError, match="overlaps training"):
        evaluate(
            data.path,
            tmp_path / "out",
            candidate=None,
            champion=None,
            base=absent,
            evaluation=EvaluationSpec(),
            seed=1,
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("settings", [{}, {"near_duplicate_similarity": 0.8}, {"max_rows_per_cluster": 50}])
def test_what_curation_makes_passes_with_replay_too(tmp_path: Path, settings: dict[str, Any]) -> None:
    curate(write_window(tmp_path / "w1", *make_week(prefix="a")), tmp_path / "one", **settings)
    curate(write_window(tmp_path / "w2", *make_week(seed=2)), tmp_path / "two", replay=tmp_path / "one", **settings)
    for name in ("one", "two"):
        data = Dataset(tmp_path / name)
        assert data.sft("train")
        assert data.sft("test")
        assert find_overlaps(data, [data]) == []


def test_ids_of_replayed_rows_are_not_compared_but_their_users_and_prompts_are(write: Callable[..., Dataset]) -> None:
    row = make_row("test3", "Why is it slow?", user="else", interactions=("i-test3",))
    data = write(sft_train=[replace(row, source="replay")])
    assert find_overlaps(data, [data]) == []
    data = write(sft_train=[replace(row, source="replay", user="user-test3")])
    assert "users who are trained on" in str(find_overlaps(data, [data])[0])


def test_the_bundled_feedback_curated_passes(tmp_path: Path) -> None:
    window = tmp_path / "window"
    window.mkdir()
    for name in ("interactions", "feedback"):
        with gzip.open(EXAMPLES / f"{name}.jsonl.gz") as source, (window / f"{name}.jsonl").open("wb") as target:
            shutil.copyfileobj(source, target)
    (window / "window.json").write_text(json.dumps({"sources": ["demo"], "high_xid": "9"}), encoding="utf-8")
    spec = CurationSpec(max_rows_per_cluster=10, regression_cases=str(EXAMPLES / "regression.jsonl"))
    rules = Rules(FeedbackSpec(), spec, BaseModelSpec(model="pocket"), WordCounter(), score)
    build_dataset(window, tmp_path / "data", rules=rules, rlhf=RlhfSpec(), seed=1, workers=1)
    data = Dataset(tmp_path / "data")
    assert len(data.sft("test")) > 20
    assert data.regression("test")
    assert find_overlaps(data, [data]) == []


def test_time_grows_with_the_rows(write: Callable[..., Dataset]) -> None:
    """Templates with one slot, the worst kind: nearly all trigrams are common to all prompts."""
    chance = random.Random(3)
    rows = [
        make_row(
            f"r{n}", f"Since {chance.random():.6f} the disk of host {n} misbehaves, which steps should I take now?"
        )
        for n in range(9_000)
    ]
    data = write(sft_test=rows[:1000], sft_train=rows[1000:])
    began = time.process_time()
    assert find_overlaps(data, [data]) == []
    assert time.process_time() - began < 10


def test_near_prompts_are_those_that_comparing_all_with_all_finds(write: Callable[..., Dataset]) -> None:
    """Questions of 60 to 160 words with up to two words changed, left out or added, anywhere."""
    chance = random.Random(11)

    def vary(words: list[str]) -> list[str]:
        changed = list(words)
        for _ in range(chance.choice((0, 1, 1, 2))):
            place = chance.randrange(len(changed))
            changed[place : place + chance.randint(0, 1)] = [f"x{chance.randrange(99)}"] * chance.randint(0, 1)
        return changed

    asked = [[f"w{chance.randrange(60)}" for _ in range(chance.randint(60, 160))] for _ in range(30)]
    tested = [make_row(f"t{n}", " ".join(vary(words))) for n, words in enumerate(asked)]
    trained = [make_row(f"r{n}-{m}", " ".join(vary(words))) for n, words in enumerate(asked) for m in range(4)]
    near = set()
    for row in tested:
        for other in trained:
            one, two = (shingle(each.prompt[-1].content) for each in (row, other))
            if row.prompt != other.prompt and len(one & two) / len(one | two) >= 0.95:
                near.add(row.id)
    data = write(sft_test=tested, sft_train=trained)
    found = {one.what: one for one in find_overlaps(data, [data])}
    assert found["test prompts that are nearly trained on (similarity 0.95 or more)"].count == len(near)
    assert 5 < len(near) <= 30
