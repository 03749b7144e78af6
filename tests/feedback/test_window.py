"""Windows close on commit order: what is in one is fixed, whatever commits later."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.store import INSERT_INTERACTION, FeedbackStore
from flytewheel.feedback.window import Window, close_window, read_window, write_window
from flytewheel.records import FeedbackEvent, Interaction, read_jsonl

NOON = datetime(2026, 11, 9, 12, tzinfo=UTC)


def said(name: str, minute: int = 0) -> Interaction:
    when = NOON + timedelta(minutes=minute)
    return Interaction(interaction_id=name, user_id="u", timestamp=when, query="Why?", response="Because.")


def thumb(name: str, of: str, minute: int = 1) -> FeedbackEvent:
    when = NOON + timedelta(minutes=minute)
    return FeedbackEvent(event_id=name, interaction_id=of, user_id="u", feedback_type="thumbs_up", timestamp=when)


def values_of(interaction: Interaction) -> dict[str, Any]:
    body, digest = encode_body(interaction)
    return {
        "id": interaction.interaction_id,
        "source": "web",
        "user_id": interaction.user_id,
        "timestamp": interaction.timestamp,
        "body": body,
        "digest": digest,
    }


def names_in(folder: Path) -> tuple[list[str], list[str]]:
    return (
        [row["interaction_id"] for row in read_jsonl(folder / "interactions.jsonl")],
        [row["event_id"] for row in read_jsonl(folder / "feedback.jsonl")],
    )


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def feedback(database_url: str) -> FeedbackStore:
    return FeedbackStore(database_url)


def test_window_holds_what_was_committed(database_url: str, feedback: FeedbackStore, tmp_path: Path) -> None:
    feedback.record_interaction(said("late by its clock", minute=9), "web")
    feedback.record_interaction(said("early by its clock", minute=1), "web")
    feedback.record_interaction(said("of another stream"), "app")
    feedback.record_event(thumb("e1", "early by its clock"))
    feedback.record_event(thumb("e2", "of another stream"))
    window = close_window(database_url, ["web"], limit=10)
    assert (window.sources, window.interactions, window.events) == (("web",), 2, 1)
    write_window(database_url, window, tmp_path)
    assert names_in(tmp_path) == (["early by its clock", "late by its clock"], ["e1"])
    assert read_window(tmp_path) == window
    rows = [Interaction.model_validate(row) for row in read_jsonl(tmp_path / "interactions.jsonl")]
    assert rows == [said("early by its clock", minute=1), said("late by its clock", minute=9)]


def test_same_bytes_whatever_arrives_afterwards(database_url: str, feedback: FeedbackStore, tmp_path: Path) -> None:
    for place in range(20):
        feedback.record_interaction(said(f"i{place}", minute=place % 7), "web")
        feedback.record_event(thumb(f"e{place}", f"i{place}", minute=place % 5))
    window = close_window(database_url, ["web"], limit=12)
    assert (window.interactions, window.events) == (12, 12)
    write_window(database_url, window, tmp_path / "first")
    feedback.record_interaction(said("a later one, with an early clock", minute=-60), "web")
    feedback.record_event(thumb("a late reaction to an old answer", "i19"))
    write_window(database_url, window, tmp_path / "second")
    write_window(database_url, Window.from_json(json.loads(json.dumps(window.to_json()))), tmp_path / "second")
    assert read_all(tmp_path / "first") == read_all(tmp_path / "second")
    following = close_window(database_url, ["web"], limit=12)
    assert following != window
    write_window(database_url, following, tmp_path / "third")
    interactions, events = names_in(tmp_path / "third")
    assert "a later one, with an early clock" in interactions
    assert "a late reaction to an old answer" in events
    assert "i8" not in interactions  # the newest 12 by commit: i9 … i19 and the later one


def test_transaction_that_commits_later_stays_out(database_url: str, feedback: FeedbackStore, tmp_path: Path) -> None:
    """The open transaction is older than `after`: both stay out until it ends, then both are in the next window."""
    feedback.record_interaction(said("before"), "web")
    with psycopg.connect(database_url) as slow:
        slow.execute(INSERT_INTERACTION, values_of(said("slow")))
        feedback.record_interaction(said("after"), "web")
        feedback.record_event(thumb("e", "before"))
        window = close_window(database_url, ["web"], limit=10, patience_s=0.1)
        write_window(database_url, window, tmp_path / "first")
    assert names_in(tmp_path / "first") == (["before"], [])
    write_window(database_url, window, tmp_path / "second")
    assert read_all(tmp_path / "first") == read_all(tmp_path / "second")
    following = close_window(database_url, ["web"], limit=10)
    write_window(database_url, following, tmp_path / "third")
    assert names_in(tmp_path / "third") == (["after", "before", "slow"], ["e"])


def test_window_waits_for_a_short_transaction(database_url: str, feedback: FeedbackStore) -> None:
    """The other transaction ends once somebody has asked for the mark while `after` was kept out."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_snapshot_xmin%' AND pid <> pg_backend_pid()"
    watch = psycopg.connect(database_url, autocommit=True)  # within a transaction the activity is read once
    with watch, ThreadPoolExecutor(1) as pool, psycopg.connect(database_url) as slow:
        slow.execute(INSERT_INTERACTION, values_of(said("slow")))
        feedback.record_interaction(said("after"), "web")
        closing = pool.submit(close_window, database_url, ["web"], limit=10, patience_s=60)
        deadline = time.monotonic() + 30
        while watch.execute(asked).fetchall() == [(0,)]:
            assert time.monotonic() < deadline
        assert not closing.done()
        slow.commit()
        assert closing.result(timeout=30).interactions == 2


def test_rolled_back_rows_are_in_no_window(database_url: str, feedback: FeedbackStore) -> None:
    with psycopg.connect(database_url) as given_up:
        given_up.execute(INSERT_INTERACTION, values_of(said("never")))
        window = close_window(database_url, ["web"], limit=10)
        given_up.rollback()
    assert window.interactions == 0
    assert close_window(database_url, ["web"], limit=10).interactions == 0


def test_limit_cuts_within_one_transaction(database_url: str, feedback: FeedbackStore, tmp_path: Path) -> None:
    """Rows of one import share a transaction: the newest are then those with the greatest ids."""
    with psycopg.connect(database_url) as connection:
        for place in (3, 1, 5, 2, 4):
            connection.execute(INSERT_INTERACTION, values_of(said(f"i{place}")))
    window = close_window(database_url, ["web"], limit=2)
    write_window(database_url, window, tmp_path)
    assert names_in(tmp_path)[0] == ["i4", "i5"]


def test_newest_is_by_number_not_by_its_digits(database_url: str, feedback: FeedbackStore, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as connection:
        for place, xid in (("i1", 8), ("i2", 9), ("i3", 10), ("i4", 100)):
            connection.execute(INSERT_INTERACTION, values_of(said(place)))
            connection.execute("UPDATE interactions SET xid = %s::text::xid8 WHERE interaction_id = %s", (xid, place))
    write_window(database_url, close_window(database_url, ["web"], limit=2), tmp_path)
    assert names_in(tmp_path)[0] == ["i3", "i4"]


def test_several_streams_in_one_window(database_url: str, feedback: FeedbackStore) -> None:
    feedback.record_interaction(said("i1"), "web")
    feedback.record_interaction(said("i2"), "app")
    feedback.record_interaction(said("i3"), "lab")
    window = close_window(database_url, ["web", "app", "web"], limit=10)
    assert (window.sources, window.interactions) == (("app", "web"), 2)


def test_empty_window_can_be_written(database_url: str, tmp_path: Path) -> None:
    window = close_window(database_url, ["web"], limit=10)
    write_window(database_url, window, tmp_path)
    assert (window.interactions, window.events, names_in(tmp_path)) == (0, 0, ([], []))


def test_erased_rows_are_said_and_leave_no_window(database_url: str, feedback: FeedbackStore, tmp_path: Path) -> None:
    for place in range(4):
        feedback.record_interaction(said(f"i{place}"), "web")
    window = close_window(database_url, ["web"], limit=3)
    write_window(database_url, window, tmp_path)
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM interactions WHERE interaction_id = 'i2'")
    with pytest.raises(FeedbackError, match="closed over 3 interactions and 0 events, but 2 and 0 are left"):
        write_window(database_url, window, tmp_path)
    with pytest.raises(FeedbackError, match=r"no readable window\.json"):
        read_window(tmp_path)


def test_wrong_arguments(database_url: str) -> None:
    with pytest.raises(FeedbackError, match="needs a source"):
        close_window(database_url, [], limit=10)
    with pytest.raises(FeedbackError, match="limit 0"):
        close_window(database_url, ["web"], limit=0)
    with pytest.raises(FeedbackError, match="not a window"):
        Window.from_json({"sources": ["web"]})
