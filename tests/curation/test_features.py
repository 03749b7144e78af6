"""What is written of an interaction: reward, quality, keys, votes."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flytewheel.curation.events import Reviewed
from flytewheel.curation.features import PROMPTS, ROWS, VOTES, write_features
from flytewheel.curation.fingerprints import load_fingerprints
from flytewheel.curation.keys import key_text
from flytewheel.curation.prompts import describe_prompt
from flytewheel.curation.reactions import read_heard
from flytewheel.dataset import Step
from flytewheel.feedback.rewards import score
from flytewheel.recipe import CurationSpec, FeedbackSpec
from flytewheel.records import FeedbackEvent, Message, build_prompt
from tests.curation.tables import make_reviewed, write_bucket
from tests.curation.windows import BASE, make_event, make_interaction

ANSWER = "Look at the graph, then drain the node and check that every write succeeds again."


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return pl.read_ipc(folder / ROWS).to_dicts()


def votes_of(folder: Path) -> list[dict[str, Any]]:
    return pl.read_ipc(folder / VOTES).to_dicts()


def write(out: Path, reviewed: list[Reviewed], feedback: FeedbackSpec) -> Step:
    out.mkdir(parents=True)
    return write_features(out, reviewed, feedback=feedback, curation=CurationSpec(), base=BASE, score_rewards=score)


def test_an_answer_carries_its_reward_and_the_last_correction(tmp_path: Path) -> None:
    """Correction -0.5 and copied +0.4: quality 0.4 × -0.5 + 0.3 × 0.4 + 0.15; the correction's 0.4 + 0.15."""
    one = make_interaction(0, response=ANSWER)
    events = (
        make_event(2, one, "correction", corrected_response=f"{ANSWER} Second."),
        make_event(1, one, "correction", corrected_response=f"{ANSWER} First."),
        make_event(3, one, "copied"),
    )
    step = write(tmp_path / "b", [Reviewed(one, events), Reviewed(make_interaction(1), ())], FeedbackSpec())
    assert step.dropped == {"no reaction": 1}
    [row] = rows_of(tmp_path / "b")
    assert (row["explicit"], row["total"]) == (-0.5, pytest.approx(-0.1))
    assert (row["correction"], row["correction_source"], row["written_event"]) == (
        f"{ANSWER} Second.", "correction", "e00002",
    )  # fmt: skip
    assert row["quality"] == pytest.approx(0.07)
    assert row["correction_quality"] == pytest.approx(0.55)
    assert row["correction_key"] == key_text(f"{ANSWER}\n Second.") != row["response_key"]
    assert row["event_ids"] == ["e00002", "e00001", "e00003"]


def test_context_earns_its_part(tmp_path: Path) -> None:
    """0.4 + 0.15 + 0.15, for the answer as for a correction that rests on it, and not for one that does not."""
    context = "Runbook: look at the graph, drain the node, check every write."
    fixes = (f"{ANSWER} Now.", "Restart whichever machine seems broken today, please, or call somebody else maybe.")
    reviewed = [
        make_reviewed(n, {"kind": "correction", "corrected_response": fix}, response=ANSWER, context=context)
        for n, fix in enumerate(fixes)
    ]
    rows = rows_of(write_bucket(tmp_path / "b", reviewed))
    assert [row["context_used"] for row in rows] == [True, True]
    assert [row["correction_quality"] for row in rows] == [pytest.approx(0.7), pytest.approx(0.55)]


def test_silent_turns_stay_only_in_sessions_of_several(tmp_path: Path) -> None:
    reviewed = [
        make_reviewed(0, session_id="s"),
        Reviewed(make_interaction(1, session_id="s"), ()),
        Reviewed(make_interaction(2, session_id="alone"), ()),
        Reviewed(make_interaction(3), ()),
        Reviewed(make_interaction(4, "bob", session_id="s"), ()),
    ]
    rows = rows_of(write_bucket(tmp_path / "b", reviewed))
    assert [(row["id"], row["total"]) for row in rows] == [("i00000", 1.0), ("i00001", None)]


def test_votes_know_the_age_of_their_account(tmp_path: Path) -> None:
    """From the event, else from the interaction; a day here. What is no time with a zone is not known."""
    born = (make_interaction(0).timestamp - timedelta(days=1)).isoformat()
    reviewed = [
        make_reviewed(0, {"metadata": {"account_created_at": born}}),
        make_reviewed(0, {}, interaction_id="b", metadata={"account_created_at": born}),
        *(
            make_reviewed(n, {"metadata": {"account_created_at": value}})
            for n, value in enumerate(("2026-11-08T00:00:00", "never", 5, None, "2999-01-01T00:00:00Z"), 2)
        ),
    ]
    ages = [vote["account_age_s"] for vote in votes_of(write_bucket(tmp_path / "b", reviewed))]
    assert ages == [86_405.0, 86_405.0, None, None, None, None, 0.0]


def test_equal_comments_have_equal_keys(tmp_path: Path) -> None:
    """Of short ones ("thanks") nobody can tell whether they were copied."""
    long = "Great answer that saved me a whole morning of reading logs"
    said: list[dict[str, Any]] = [
        {"comment": long}, {"comment": f" {long.upper()}\n"}, {"comment": f"{long}!"}, {"comment": "thanks"}, {},
        {"kind": "correction", "corrected_response": long},
    ]  # fmt: skip
    votes = votes_of(write_bucket(tmp_path / "b", [make_reviewed(n, given) for n, given in enumerate(said)]))
    keys = [vote["said_key"] for vote in votes]
    assert keys[0] == keys[1] == keys[5] != keys[2]
    assert keys[0] is not None
    assert keys[3] is keys[4] is None
    assert [vote["comment"] for vote in votes[3:]] == ["thanks", None, None]


def test_a_copied_comment_has_five_words(tmp_path: Path) -> None:
    said = [{"comment": "that saved my morning"}, {"comment": "that has\nsaved my morning"}]
    votes = votes_of(write_bucket(tmp_path / "b", [make_reviewed(n, given) for n, given in enumerate(said)]))
    assert [vote["said_key"] for vote in votes] == [None, key_text("that has saved my morning")]


def test_what_was_heard_scores_the_same_again(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [
        {"kind": "thumbs_down"},
        {"kind": "rating", "rating": 4.5},
        {"kind": "accepted", "metadata": {"seconds": 2, "other": "x" * 1000}},
        {"kind": "citation_click", "metadata": {"count": 10**30}},  # more than 64 bits
        {"kind": "citation_click", "metadata": {"count": True}},
        {"kind": "read_time", "metadata": {"read_s": 8, "expected_s": 10}},
        {"kind": "duel", "preferred": "other", "other_response": "x"},
        {"kind": "correction", "corrected_response": "secret text"},
        {"kind": "copied", "metadata": {"count": "many"}},
    ]
    for first in range(len(said)):
        item = make_reviewed(first, *said[first:], *said[:first])
        [row] = rows_of(write_bucket(tmp_path / str(first), [item]))
        assert "secret" not in row["heard"]
        again: list[FeedbackEvent] = read_heard(row["heard"])
        assert score(again, FeedbackSpec()) == score(item.events, FeedbackSpec())
        assert [event.timestamp for event in again] == [event.timestamp for event in item.events]


@pytest.mark.parametrize(
    ("metadata", "surprise"),
    [
        ({"mean_logprob": -2.5}, 2.5),
        ({"mean_logprob": 0}, 0.0),
        ({"mean_logprob": 0.1}, None),
        ({"mean_logprob": True}, None),
        ({"mean_logprob": "-1"}, None),
        ({}, None),
    ],
)
def test_surprise(tmp_path: Path, metadata: dict[str, Any], surprise: float | None) -> None:
    assert rows_of(write_bucket(tmp_path / "b", [make_reviewed(0, metadata=metadata)]))[0]["surprise"] == surprise


@pytest.mark.parametrize(
    ("said", "microseconds"),
    [
        ("2026-11-09T08:00:00.123457+00:00", 1_794_211_200_123_457),
        ("2026-11-09T13:30:00.123457+05:30", 1_794_211_200_123_457),
        ("0001-01-01T00:00:00+12:00", -62_135_596_800_000_000),  # in no year that there is, at Greenwich
        ("9999-12-31T23:59:59.999999-12:00", 253_402_300_799_999_999),
    ],
)
def test_times_of_every_year_and_zone(tmp_path: Path, said: str, microseconds: int) -> None:
    one = make_interaction(0, timestamp=datetime.fromisoformat(said))
    event = make_event(0, make_interaction(0), timestamp=one.timestamp)
    folder = write_bucket(tmp_path / "b", [Reviewed(one, (event,))])
    assert rows_of(folder)[0]["time_us"] == votes_of(folder)[0]["time_us"] == microseconds


def test_explicit_feedback_can_be_switched_off(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [
        {"kind": "correction", "corrected_response": "other"},
        {"kind": "duel", "preferred": "other", "other_response": "x"},
        {"kind": "copied"},
    ]
    write(tmp_path / "b", [make_reviewed(0, *said)], FeedbackSpec(enable_explicit=False))
    [row] = rows_of(tmp_path / "b")
    assert (row["explicit"], row["correction"], row["other"]) == (None, None, None)


def test_prompts_are_fingerprinted_once(tmp_path: Path) -> None:
    reviewed = [make_reviewed(n, query=query) for n, query in enumerate(("A b?", "a B", "c d", "a b!"))]
    prints = load_fingerprints([write_bucket(tmp_path / "b", reviewed) / PROMPTS])
    assert len(prints) == 2
    assert prints.index[[0, 0, 3]].tolist() == prints.index[[1, 3, 0]].tolist()


def test_what_stands_before_a_query_is_that_of_its_own_prompt(tmp_path: Path) -> None:
    """Shared contexts, none and an empty one, histories with and without a system turn, in any order."""
    turns = (Message(role="user", content="Hello, über!"), Message(role="assistant", content="Yes?"))
    own = (Message(role="system", content="Be rude."), *turns)
    ways: list[dict[str, Any]] = [
        {"context": context, "history": history}
        for context in (None, "Drain the node.", "", "Größe: 日本", "Drain the node.")
        for history in ((), turns, own)
    ]
    reviewed = [make_reviewed(n, *({},) * (1 + n % 3), **given) for n, given in enumerate(ways * 2)]
    for base in (BASE, BASE.model_copy(update={"system_prompt": "Be kind."})):
        out = tmp_path / str(base.system_prompt)
        out.mkdir()
        write_features(out, reviewed, feedback=FeedbackSpec(), curation=CurationSpec(), base=base, score_rewards=score)
        for item, row in zip(reviewed, rows_of(out), strict=True):
            one = item.interaction
            prompt = build_prompt(one.query, system=base.system_prompt, context=one.context, history=one.history)
            assert row["before"] == [{"role": turn.role, "content": turn.content} for turn in prompt[:-1]]
            assert row["background"] == describe_prompt(prompt, base.system_prompt).background
            assert row["words"] == describe_prompt(prompt).query
            assert row["event_ids"] == [event.event_id for event in item.events]


def test_corrections_and_duels_stand_in_their_own_rows(tmp_path: Path) -> None:
    """One row in three has neither; of each the last counts."""
    said: list[list[dict[str, Any]]] = [
        [{"kind": "correction", "corrected_response": "Drain it first."}],
        [{"kind": "copied"}],
        [
            {"kind": "duel", "preferred": "other", "other_response": "No."},
            {"kind": "edit", "corrected_response": "é  x"},
        ],
        [{"kind": "duel", "preferred": "tie", "other_response": "No."}],
        [{"kind": "duel", "preferred": "this", "other_response": "Yes."}],
    ]
    rows = rows_of(write_bucket(tmp_path / "b", [make_reviewed(n, *given) for n, given in enumerate(said)]))
    names = ("correction", "correction_source", "correction_key", "other", "other_key", "other_preferred")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("Drain it first.", "correction", key_text("Drain it first."), None, None, None),
        (None,) * 6,
        ("é  x", "edit", key_text("é x"), "No.", key_text("No."), True),
        (None,) * 6,
        (None, None, None, "Yes.", key_text("Yes."), False),
    ]
    assert [row["correction_quality"] is None for row in rows] == [row["correction"] is None for row in rows]


def test_an_empty_bucket_is_a_bucket(tmp_path: Path) -> None:
    folder = write_bucket(tmp_path / "b", [])
    assert rows_of(folder) == votes_of(folder) == []
    assert len(load_fingerprints([folder / PROMPTS])) == 0
