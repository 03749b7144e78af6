"""What becomes of a review's duels: feedback that a real curation makes preferences of."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.curation.build import DEALT_PARTS
from flytewheel.curation.split import choose_part
from flytewheel.dataset import Dataset
from flytewheel.errors import ReviewError
from flytewheel.feedback.store import FeedbackStore
from flytewheel.feedback.window import close_window, write_window
from flytewheel.records import FeedbackEvent, Interaction, Message, build_prompt
from flytewheel.review import desk
from flytewheel.review.close import Closed, close_due, close_review, take_apart
from flytewheel.review.labels import read_labels
from flytewheel.review.store import get_review, list_duels
from tests.curation.windows import curate, make_rules, make_week
from tests.review.duels import SYSTEM, make_line, prefer, put_up

NOW = datetime.now(UTC)
WORDS = "amber birch cedar delta ember fjord grove haven inlet jetty kiosk lever mango nylon opera".split()  # noqa: SIM905


def read_stored(database_url: str) -> tuple[list[Interaction], list[FeedbackEvent]]:
    with psycopg.connect(database_url) as connection:
        interactions = connection.execute("SELECT body FROM interactions ORDER BY interaction_id").fetchall()
        events = connection.execute("SELECT body FROM feedback_events ORDER BY event_id").fetchall()
    return [Interaction(**row[0]) for row in interactions], [FeedbackEvent(**row[0]) for row in events]


def test_a_labelled_duel_is_one_event_of_the_user_whose_prompt_it_is(database_url: str) -> None:
    review = put_up(database_url, lines=[make_line(1, user="carla")])
    prefer(database_url, review, "Lovelace", "ours", comment="clearer")
    closed = close_review(database_url, "run-1", source="oncall")
    assert closed == Closed("oncall", preferences=1, ties=0, unlabelled=0, empty=0)
    (interaction,), (event,) = read_stored(database_url)
    line = make_line(1)
    assert (interaction.user_id, event.user_id) == ("carla", "carla")
    assert (interaction.response, event.other_response) == (line["champion"], line["candidate"])
    assert (event.feedback_type, event.preferred) == ("duel", "other")
    assert build_prompt(interaction.query, system=SYSTEM, context=interaction.context) == line["prompt"]
    assert interaction.history == ()
    assert "Lovelace" not in interaction.model_dump_json() + event.model_dump_json()


def test_what_several_said_is_one_event_and_a_withdrawn_label_is_none(database_url: str) -> None:
    review = put_up(database_url, count=3, shared=1)
    for name, wanted in (("ada", "theirs"), ("bob", "theirs"), ("cy", "ours")):
        prefer(database_url, review, name, wanted)  # the shared ones come in one order: all three the same duel
    prefer(database_url, review, "ada", "ours")
    desk.undo(database_url, review.review_id, "ada")
    prefer(database_url, review, "bob", "tie")
    assert close_review(database_url, review.review_id, source="s") == Closed("s", 1, 1, 1, 0)
    _, events = read_stored(database_url)
    assert sorted(event.preferred or "" for event in events) == ["other", "tie"]


def test_closing_again_and_after_a_crash_stores_nothing_twice(database_url: str) -> None:
    review = put_up(database_url, count=5, shared=0)
    while prefer(database_url, review, "ada", "ours") is not None:
        pass
    first = close_review(database_url, review.review_id, source="oncall")
    stored = read_stored(database_url)
    assert close_review(database_url, review.review_id, source="elsewhere") == first
    with psycopg.connect(database_url) as connection:  # it died after it had written two of the five
        connection.execute("UPDATE reviews SET stored = NULL")
        connection.execute("DELETE FROM interactions WHERE interaction_id = ANY(%s)",
                           ([each.interaction_id for each in stored[0][2:]],))  # fmt: skip
    assert close_review(database_url, review.review_id, source="oncall") == first
    assert read_stored(database_url) == stored


@pytest.mark.parametrize(("wanted", "kept"), [("ours", 0), ("theirs", 1), ("tie", 1)])
def test_an_empty_answer_is_never_what_is_learnt(database_url: str, wanted: str, kept: int) -> None:
    review = put_up(database_url, lines=[make_line(1, candidate=" \n")])
    prefer(database_url, review, "ada", wanted)
    closed = close_review(database_url, review.review_id, source="s")
    assert (closed.stored, closed.empty) == (kept, 1 - kept)
    assert all(event.other_response == make_line(1)["champion"] for event in read_stored(database_url)[1])


def test_reviews_are_closed_when_complete_or_old_but_not_that_of_a_run_that_goes_on(database_url: str) -> None:
    def due(now: datetime = NOW, but: str | None = None) -> list[str]:
        found = close_due(database_url, "oncall", source="oncall", now=now, open_days=7, but=but)
        return [review.run_id for review, _ in found]

    complete, half, alien = (put_up(database_url, name, count=4, shared=0.25) for name in ("a", "b", "c"))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE reviews SET name = 'another' WHERE run_id = 'c'")
    while prefer(database_url, complete, "ada", "ours") is not None:
        pass
    assert due() == []  # the shared one wants a second label
    assert prefer(database_url, complete, "bob", "ours") is not None
    prefer(database_url, half, "ada", "ours")
    assert due(but="a") == []
    assert due() == ["a"]
    assert due() == []
    assert due(now=NOW + timedelta(days=6)) == []
    assert due(now=NOW + timedelta(days=8), but="b") == []
    assert due(now=NOW + timedelta(days=8)) == ["b"]
    assert get_review(database_url, alien.review_id).open
    assert len(read_labels(database_url, half.review_id)) == 1


def test_an_unknown_review_cannot_be_closed(database_url: str) -> None:
    with pytest.raises(ReviewError, match="no review 'nope'"):
        close_review(database_url, "nope", source="s")


@given(
    system=st.sampled_from([None, "You help.", "You help.\n\nContext:\nalways", "Context:\n"]),
    own=st.sampled_from([None, "You help.", "Be short.", "Context:\nnone"]),
    context=st.none() | st.text(min_size=1, max_size=30) | st.just("a\n\nContext:\nb"),
    query=st.text(min_size=1, max_size=20),
    turns=st.lists(st.text(max_size=9), max_size=3),
)
def test_a_prompt_taken_apart_makes_the_same_prompt(
    system: str | None, own: str | None, context: str | None, query: str, turns: list[str]
) -> None:
    roles = ("user", "assistant")
    history = [Message(role="system", content=own)] if own else []
    history += [Message(role=roles[place % 2], content=text) for place, text in enumerate(turns)]  # type: ignore[arg-type]
    prompt = build_prompt(query, system=system, context=context, history=history)
    before, asked, found = take_apart(prompt, system)
    if prompt[0].role == "system" or not system:
        assert build_prompt(asked, system=system, context=found, history=before) == prompt
    if own is None and system == "You help.":
        assert (before, asked, found) == (tuple(history), query, context)


# -------------------------------------------------------------------------------- the next data set


def make_lines(users: list[str], each: int, seed: int = 3) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    lines = []
    for number in range(len(users) * each):
        host, words = f"{chance.choice(WORDS)}-{number}", " ".join(chance.sample(WORDS, 6))
        prompt = build_prompt(f"What does the alert {words} of {host} want me to do?")
        lines.append(
            make_line(
                number,
                users[number % len(users)],
                prompt=prompt,
                candidate=f"Open the dashboard of {host}, look for {words} and silence it while you check the logs.",
                champion=f"Somebody else will know what {words} means on {host}, so wait until Monday and ask them.",
            )
        )
    return lines


def curate_next(database_url: str, folder: Path, **curation: Any) -> Dataset:
    store = FeedbackStore(database_url)
    interactions, events = make_week(questions=20)
    for interaction in interactions:
        store.record_interaction(interaction, "oncall")
    for event in events:
        store.record_event(event)
    window = close_window(database_url, "oncall", ["oncall"]).window
    assert window is not None
    write_window(database_url, window, folder / "window")
    curate(folder / "window", folder / "data", **curation)
    return Dataset(folder / "data")


def test_duels_arrive_as_preferences_of_their_part_and_never_train(database_url: str, tmp_path: Path) -> None:
    """One reviewer, 100 pairs at once, of three test users and one of the holdout: no burst, no crowd, no training."""
    curation: dict[str, Any] = {"holdout_share": 0.2, "max_rows_per_user": 200, "max_rows_per_cluster": 200}
    spec = make_rules(**curation).curation
    names = [f"asker-{number}" for number in range(400)]
    users = [n for n in names if choose_part(n, spec) == "test"][:3]
    users += [n for n in names if choose_part(n, spec) == "holdout"][:1]
    review = put_up(database_url, lines=make_lines(users, each=25), system=None)
    said = {duel: "ours" for _ in range(90) if (duel := prefer(database_url, review, "ada", "ours"))}
    said |= {duel: "theirs" for _ in range(10) if (duel := prefer(database_url, review, "ada", "theirs"))}
    assert len(said) == 100
    assert close_review(database_url, "run-1", source="oncall").preferences == 100

    data = curate_next(database_url, tmp_path, **curation)
    duels = {part: [row for row in data.rows("preference", part) if row.source == "duel"] for part in DEALT_PARTS}
    assert {part: len(rows) for part, rows in duels.items()} == {"train": 0, "validation": 0, "test": 75, "holdout": 25}
    assert not [row for row in data.quarantined() if row["interaction_id"].startswith("review/")]
    known = {duel.duel_id: duel for duel in list_duels(database_url, review.review_id)}
    for row in duels["test"] + duels["holdout"]:
        name = row.interactions[0].rpartition("/")[2]
        won, lost = ("ours", "theirs") if said[name] == "ours" else ("theirs", "ours")
        assert row.chosen == getattr(known[name], won)
        assert row.rejected == getattr(known[name], lost)
        assert row.user == known[name].user
    answers = {text for duel in known.values() for text in (duel.ours, duel.theirs)}
    for part in DEALT_PARTS:
        assert not answers & {row.completion for row in data.rows("sft", part)}  # no reference is a model's own words


def test_the_same_votes_from_outside_are_a_burst(database_url: str, tmp_path: Path) -> None:
    """What spares a review's duels is the id that only a closed review gives its interactions."""
    review = put_up(database_url, lines=make_lines(["asker-1"], each=40), system=None)
    while prefer(database_url, review, "ada", "ours") is not None:
        pass
    close_review(database_url, "run-1", source="elsewhere")
    store = FeedbackStore(database_url)
    for interaction, event in zip(*read_stored(database_url), strict=True):
        name = interaction.interaction_id.replace("/", "-")
        store.record_interaction(interaction.model_copy(update={"interaction_id": name}), "oncall")
        store.record_event(event.model_copy(update={"interaction_id": name, "event_id": f"{name}-e"}))
    data = curate_next(database_url, tmp_path)
    held = [row for row in data.quarantined() if row["interaction_id"].startswith("review-")]
    assert len(held) == 40
    assert all(row["reason"].startswith("burst") for row in held)
