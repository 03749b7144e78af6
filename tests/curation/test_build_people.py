"""What one person, or many who act as one, can do to a data set."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.build import DEALT_PARTS
from flytewheel.curation.prompts import describe_prompt
from flytewheel.curation.split import choose_part
from flytewheel.dataset import KINDS, Dataset
from flytewheel.records import HOLDOUT as HELD_FOR_EVER
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction
from tests.curation.weeks import HOLDOUT, Week, make_busy_week, make_week, write_busy_window
from tests.curation.windows import at, curate, make_event, make_interaction, make_rules, write_window

Rows = dict[tuple[str, str], list[Any]]


def read_all(folder: Path) -> Rows:
    dataset = Dataset(folder)
    return {(kind, part): list(dataset.rows(kind, part)) for kind in KINDS for part in DEALT_PARTS}


def find_user(part: str, **curation: Any) -> str:
    spec = make_rules(**curation).curation
    return next(name for name in (f"heavy-{n}" for n in range(999)) if choose_part(name, spec) == part)


@pytest.mark.parametrize("part", ["train", "test"])
def test_twenty_thousand_votes_are_a_handful_of_rows(tmp_path: Path, part: str) -> None:
    """Spread over the week at a person's pace, each about another question, in sessions of two, some corrected.

    The rules about pace are switched off: caps alone must hold.
    """
    curation: dict[str, Any] = {**HOLDOUT, "max_rows_per_user": 5, "abuse": {"burst_events": 0, "daily_events": 0}}
    heavy = find_user(part, **curation)
    interactions, events = make_week(questions=60)
    answer = "Look at the graph of {0}, then run `heal {0}` and check that it is quiet.\nEscalate: #{0}-oncall"
    for number in range(20_000):
        host = f"host{number}"
        one = Interaction.model_construct(
            interaction_id=f"h{number:05d}", user_id=heavy, session_id=f"s{number // 2}", timestamp=at(30 * number),
            query=f"Why is {host} so slow today and what was changed on it by the team {number * 7}?",
            response=answer.format(host), topic="disk", history=(), metadata={}, context=None, completed=True,
        )  # fmt: skip
        interactions.append(one)
        react = partial(FeedbackEvent.model_construct, interaction_id=one.interaction_id, user_id=heavy)
        time = one.timestamp + timedelta(seconds=3 + number % 17)
        fix = number % 10 == 0
        events.append(
            react(
                event_id=f"h{number:05d}",
                feedback_type=FeedbackType.CORRECTION if fix else FeedbackType.THUMBS_UP,
                timestamp=time,
                metadata={},
                corrected_response=f"First of all, look at it. {answer.format(number)}" if fix else None,
            )
        )
    window = write_window(tmp_path / "w", interactions, events)
    card = curate(window, tmp_path / "out", augmentation_factor=3.0, cluster_topics=False, **curation)
    rows = read_all(tmp_path / "out")
    counts = {place: sum(row.user == heavy for row in found) for place, found in rows.items()}
    assert {place: count for place, count in counts.items() if count > 5} == {}
    assert counts["sft", part] == counts["unpaired", part] == counts["trajectory", part] == 5
    assert card.dropped["enough rows of the user"] > 20_000
    if part == "test":
        assert counts["regression", part] == 5


def honest_votes(chance: random.Random, users: int = 1000) -> Week:
    """Each asks one to four questions of forty, sees one of three answers, and mostly tells good from bad."""
    interactions: list[Interaction] = []
    events: list[FeedbackEvent] = []
    for user in range(users):
        for _ in range(chance.randrange(1, 5)):
            question, given = chance.randrange(40), chance.randrange(3)
            one = ask(len(interactions), f"honest-{user:04d}", question, given, chance.uniform(0, 600_000))
            interactions.append(one)
            liked = (given > 0) != (chance.random() < 0.1)
            events.append(
                make_event(
                    len(events), one, "thumbs_up" if liked else "thumbs_down",
                    timestamp=one.timestamp + timedelta(seconds=chance.uniform(5, 4000)),
                )
            )  # fmt: skip
    return interactions, events


def ask(number: int, user: str, question: int, given: int, seconds: float) -> Interaction:
    steps = (
        "Perhaps restart it and wait a while or ask around.",
        "Look at its graph, then heal it.",
        "Prune its logs.",
    )
    return make_interaction(
        number, user, timestamp=at(seconds), query=f"What do I do about alarm {question} of the blob store this week?",
        response=f"{steps[given]} That is what the runbook says of alarm {question}.", topic="disk",
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_colluders_are_quarantined_and_honest_rows_stay(tmp_path: Path, seed: int) -> None:
    """Fifty accounts vote for the bad answers to the same twenty questions and against nothing, within the week."""
    chance = random.Random(seed)
    interactions, events = honest_votes(chance)
    lifted = {"max_rows_per_user": 50, "max_rows_per_cluster": 5000, "balance_topics": False, "cluster_topics": False}
    curate(write_window(tmp_path / "w0", interactions, events), tmp_path / "before", **lifted)
    attack: list[FeedbackEvent] = []
    asked = list(interactions)
    for colluder in range(50):
        for question in range(20):
            number = 80_000 + len(attack)
            one = ask(number, f"colluder-{colluder:02d}", question, 0, chance.uniform(0, 600_000))
            asked.append(one)
            time = one.timestamp + timedelta(seconds=chance.uniform(5, 4000))
            attack.append(make_event(number, one, timestamp=time))
    window = write_window(tmp_path / "w1", asked, [*events, *attack])
    card = curate(window, tmp_path / "after", **lifted)
    held = list(Dataset(tmp_path / "after").quarantined())
    caught = {row["event_id"] for row in held} & {event.event_id for event in attack}
    assert len(caught) >= 0.95 * len(attack)
    users = {event.event_id: event.user_id for event in [*events, *attack]}
    about = {event.event_id: event.interaction_id for event in [*events, *attack]}
    assert all(row["user_id"] == users[row["event_id"]] for row in held)
    assert all(row["interaction_id"] == about[row["event_id"]] for row in held)
    assert all(row["reason"] for row in held)
    assert [row["event_id"] for row in held] == sorted(row["event_id"] for row in held)
    assert card.counts["sft"]["train"] > 0

    before, after = read_all(tmp_path / "before"), read_all(tmp_path / "after")
    for kind in ("sft", "preference", "unpaired"):
        was = {name for part in DEALT_PARTS for row in before[kind, part] for name in row.events}
        now = {name for part in DEALT_PARTS for row in after[kind, part] for name in row.events}
        assert len(was & now) >= 0.99 * len(was), kind
    # a released vote counts again
    wanted = sorted(caught)[:3]
    facts = (window / "window.json").read_text()[:-1] + f', "released": {wanted!r}}}'.replace("'", '"')
    (window / "window.json").write_text(facts)
    again = curate(window, tmp_path / "released", **lifted)
    assert not set(wanted) & {row["event_id"] for row in Dataset(tmp_path / "released").quarantined()}
    assert again.digest != card.digest
    assert again.rewards["positive"] == card.rewards["positive"] + 3


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Rows]]:
    """Two weeks of the same people, the second with another seed and with replay of the first."""
    folder = tmp_path_factory.mktemp("weeks")
    first = write_busy_window(folder / "w1", make_busy_week(11, users=80, sessions=200))
    second = write_busy_window(folder / "w2", make_busy_week(12, users=80, sessions=200))
    curate(first, folder / "one", **HOLDOUT)
    curate(second, folder / "two", replay=folder / "one", seed=99, **HOLDOUT)
    return [(folder / name, read_all(folder / name)) for name in ("one", "two")]


def test_users_stand_in_one_part_of_every_kind_and_week(weeks: list[tuple[Path, Rows]]) -> None:
    parts: dict[str, set[str]] = defaultdict(set)
    for _, rows in weeks:
        for (_, part), found in rows.items():
            for row in found:
                parts[row.user].add(part)
    assert {user: own for user, own in parts.items() if len(own) > 1} == {}
    assert Counter(part for own in parts.values() for part in own).keys() == set(DEALT_PARTS)
    spec = make_rules(**HOLDOUT).curation
    assert all(own == {choose_part(user, spec)} for user, own in parts.items())


def test_who_is_held_out_for_ever_made_no_other_row(weeks: list[tuple[Path, Rows]]) -> None:
    """By provenance too: no interaction of such a user stands behind a row of another part."""
    spec = make_rules(**HOLDOUT).curation
    owner = {one.interaction_id: one.user_id for one in make_busy_week(11, users=80, sessions=200)[0]}
    for (kind, part), found in weeks[0][1].items():
        for row in found:
            users = {owner[name] for name in getattr(row, "interactions", ())} | {row.user}
            assert {choose_part(user, spec) for user in users} == {part}, (kind, part, row.id)
    assert any(choose_part(user, spec) == HELD_FOR_EVER for user in owner.values())


def test_prompts_stand_in_one_part_of_every_kind(weeks: list[tuple[Path, Rows]]) -> None:
    """All that a model is shown and asked: of trajectories every user turn with what stands before it."""
    for _, rows in weeks:
        parts: dict[str, set[str]] = defaultdict(set)
        for (kind, part), found in rows.items():
            for row in found:
                prompts = [row.prompt] if kind != "trajectory" else [
                    row.messages[: place + 1] for place, turn in enumerate(row.messages) if turn.role == "user"
                ]  # fmt: skip
                for prompt in prompts:
                    parts[describe_prompt(prompt).key].add(part)
        assert {key: own for key, own in parts.items() if len(own) > 1} == {}
