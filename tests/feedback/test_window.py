"""Windows close on commit order and follow each other: what is in one is fixed, whatever commits later."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest

from benchmarks.windows import play_many
from flytewheel.errors import FeedbackError
from flytewheel.feedback.audit import audit
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.quarantine import hold_events, release_votes
from flytewheel.feedback.store import INSERT_EVENT, INSERT_INTERACTION, FeedbackStore
from flytewheel.feedback.window import (
    Closing,
    Window,
    WrittenWindow,
    close_window,
    get_window,
    name_series,
    read_window,
    write_window,
)
from flytewheel.records import FeedbackEvent, Interaction, read_jsonl

NOON = datetime(2026, 11, 9, 12, tzinfo=UTC)


def said(name: str, minute: int = 0) -> Interaction:
    when = NOON + timedelta(minutes=minute)
    return Interaction(interaction_id=name, user_id="u", timestamp=when, query="Why?", response="Because.")


def thumb(name: str, of: str, minute: int = 1) -> FeedbackEvent:
    when = NOON + timedelta(minutes=minute)
    return FeedbackEvent(event_id=name, interaction_id=of, user_id="u", feedback_type="thumbs_up", timestamp=when)


def values_of(row: Interaction | FeedbackEvent) -> dict[str, Any]:
    body, digest = encode_body(row)
    name = row.interaction_id if isinstance(row, Interaction) else row.event_id
    values = {"id": name, "source": "web", "user_id": row.user_id, "timestamp": row.timestamp}
    values |= {"interaction_id": row.interaction_id, "feedback_type": getattr(row, "feedback_type", None)}
    return {**values, "body": body, "digest": digest}


def names_in(folder: Path, *, earlier: bool = False) -> tuple[list[str], list[str]]:
    first = "earlier_" if earlier else ""
    return (
        [row["interaction_id"] for row in read_jsonl(folder / f"{first}interactions.jsonl")],
        [row["event_id"] for row in read_jsonl(folder / f"{first}feedback.jsonl")],
    )


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Week:
    """A store of one stream, and its windows."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.store = url, folder, FeedbackStore(url)

    def add(self, *rows: Interaction | FeedbackEvent, source: str = "web") -> None:
        for row in rows:
            if isinstance(row, Interaction):
                self.store.record_interaction(row, source)
            else:
                self.store.record_event(row)

    def try_close(self, **more: Any) -> Closing:
        return close_window(self.url, "oncall", ["web"], **more)

    def close(self, **more: Any) -> Window:
        window = self.try_close(**more).window
        assert window is not None
        return window

    def write(self, window: Window, **more: Any) -> WrittenWindow:
        return write_window(self.url, window, self.folder / str(window.number), **more)

    def names(self, number: int, *, earlier: bool = False) -> tuple[list[str], list[str]]:
        return names_in(self.folder / str(number), earlier=earlier)


@pytest.fixture
def week(database_url: str, tmp_path: Path) -> Week:
    return Week(database_url, tmp_path)


def test_window_holds_what_was_committed(week: Week, tmp_path: Path) -> None:
    week.add(said("late by its clock", minute=9), said("early by its clock", minute=1))
    week.add(said("of another stream"), source="app")
    week.add(thumb("e1", "early by its clock"), thumb("e2", "of another stream"))
    window = week.close()
    assert (window.series, window.number, window.sources) == ("oncall/web", 1, ("web",))
    assert (window.interactions, window.events, window.revisited, window.low_xid) == (2, 1, 0, "0")
    written = week.write(window)
    assert week.names(1) == (["early by its clock", "late by its clock"], ["e1"])
    assert week.names(1, earlier=True) == ([], [])
    assert read_window(tmp_path / "1") == written == WrittenWindow(window, 0, 0, 0, ())
    told = json.loads((tmp_path / "1" / "window.json").read_text())
    assert (told["series"], told["number"], told["interactions"], told["events"]) == ("oncall/web", 1, 2, 1)
    assert (told["revisited"], told["skipped"], told["released"], told["sources"]) == (0, 0, [], ["web"])
    rows = [Interaction.model_validate(row) for row in read_jsonl(tmp_path / "1" / "interactions.jsonl")]
    assert rows == [said("early by its clock", minute=1), said("late by its clock", minute=9)]
    lines = (tmp_path / "1" / "interactions.jsonl").read_bytes().splitlines()
    assert lines == [encode_body(row)[0].encode() for row in rows]


def test_windows_follow_each_other_and_late_events_bring_what_they_are_about(week: Week, tmp_path: Path) -> None:
    """i1 and i2 with e1 on i1; then i3, and e3 on i1: the second window is i3 and e3, and brings i1 and e1 along."""
    week.add(said("i1"), said("i2"), thumb("e1", "i1"), thumb("e2", "i2"))
    first = week.close()
    week.write(first)
    before = read_all(tmp_path / "1")
    week.add(said("i3", minute=-60), thumb("e3", "i1"))
    second = week.close(at_least=2)
    assert (second.number, second.low_xid, second.interactions, second.events) == (2, first.high_xid, 1, 1)
    assert (second.revisited, second.earlier_events, second.size) == (1, 1, 2)
    week.write(second)
    assert week.names(2) == (["i3"], ["e3"])
    assert week.names(2, earlier=True) == (["i1"], ["e1"])
    after = read_all(tmp_path / "2")
    week.add(thumb("e4", "i1"), thumb("e5", "i3"), said("i4"))
    hold_events(week.url, ("oncall/web", 1), [{"event_id": "e1", "reason": "burst", "rule": "burst"}])
    week.write(get_window(week.url, "oncall", ["web"], 1))
    week.write(Window.from_json(json.loads(json.dumps(second.to_json()))))
    assert (read_all(tmp_path / "1"), read_all(tmp_path / "2")) == (before, after)


def test_too_few_close_nothing_and_nothing_new_is_the_last_window_again(week: Week) -> None:
    week.add(said("i1"), said("i2"))
    assert week.try_close(at_least=3) == Closing(None, 2, 0)
    assert week.try_close(at_least=3) == Closing(None, 2, 0)
    first = week.close(at_least=2)
    assert week.try_close(at_least=2) == Closing(first, 2, 1, again=True)
    assert week.try_close(at_least=3) == Closing(None, 2, 1, again=True)
    week.add(thumb("e1", "i1"))
    assert week.try_close(at_least=2) == Closing(None, 1, 1)  # one revisited interaction
    assert week.close(at_least=1).number == 2


def test_series_are_apart(week: Week) -> None:
    week.add(said("i1"))
    week.add(said("i2"), source="app")
    both = close_window(week.url, "oncall", ["web", "app", "web"]).window
    other = close_window(week.url, "helpdesk", ["web"]).window
    assert both is not None and other is not None  # noqa: PT018
    assert (both.series, both.number, both.sources, both.interactions) == ("oncall/app+web", 1, ("app", "web"), 2)
    assert (week.close().number, other.number, other.interactions) == (1, 1, 1)
    assert name_series("oncall", ["a+b", "c/d"]) == "oncall/a%2Bb+c%2Fd"


def test_transaction_that_commits_later_stays_out(week: Week, tmp_path: Path) -> None:
    """The open transaction is older than `after`: both stay out until it ends, then both are in the next window."""
    week.add(said("before"))
    with psycopg.connect(week.url) as slow:
        slow.execute(INSERT_INTERACTION, values_of(said("slow")))
        week.add(said("after"), thumb("e", "before"))
        window = week.close(patience_s=0.1)
        week.write(window)
        first = read_all(tmp_path / "1")
    assert week.names(1) == (["before"], [])
    week.write(window)
    assert read_all(tmp_path / "1") == first
    week.write(week.close())
    assert week.names(2) == (["after", "slow"], ["e"])
    assert week.names(2, earlier=True) == (["before"], [])


def test_an_event_waits_for_its_interaction(week: Week) -> None:
    """The event's transaction began first, a third one holds the mark between it and its interaction's."""
    with psycopg.connect(week.url) as first, psycopg.connect(week.url) as slow:
        first.execute(INSERT_INTERACTION, values_of(said("i1")))
        slow.execute(INSERT_INTERACTION, values_of(said("slow")))
        week.add(said("i2"))
        first.execute(INSERT_EVENT, values_of(thumb("e2", "i2")))
        first.commit()
        week.write(week.close(patience_s=0))
        assert week.names(1) == (["i1"], [])
        slow.commit()
    week.write(week.close())
    assert week.names(2) == (["i2", "slow"], ["e2"])
    assert audit(week.url).holds


def test_window_waits_for_a_short_transaction(week: Week) -> None:
    """The other transaction ends once somebody has asked for the mark while `after` was kept out."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_snapshot_xmin%' AND pid <> pg_backend_pid()"
    watch = psycopg.connect(week.url, autocommit=True)  # within a transaction the activity is read once
    with watch, ThreadPoolExecutor(1) as pool, psycopg.connect(week.url) as slow:
        slow.execute(INSERT_INTERACTION, values_of(said("slow")))
        week.add(said("after"))
        closing = pool.submit(week.close, patience_s=60)
        deadline = time.monotonic() + 30
        while watch.execute(asked).fetchall() == [(0,)]:
            assert time.monotonic() < deadline
        assert not closing.done()
        slow.commit()
        assert closing.result(timeout=30).interactions == 2


def test_many_turns_at_once_cut_one_slice(week: Week) -> None:
    week.add(*(said(f"i{n}") for n in range(5)))
    start = Barrier(4)

    def close(_: int) -> Window:
        start.wait(timeout=30)
        return week.close(at_least=5)

    with ThreadPoolExecutor(4) as pool:
        assert {window.number for window in pool.map(close, range(4))} == {1}


def test_rolled_back_rows_are_in_no_window(week: Week) -> None:
    with psycopg.connect(week.url) as given_up:
        given_up.execute(INSERT_INTERACTION, values_of(said("never")))
        assert week.try_close(patience_s=0) == Closing(None, 0, 0)
        given_up.rollback()
    assert week.try_close() == Closing(None, 0, 0)


def test_limit_keeps_the_newest_and_counts_the_others(week: Week, tmp_path: Path) -> None:
    """Rows of one import share a transaction: the newest are then those with the greatest ids. Their events follow."""
    with psycopg.connect(week.url) as connection:
        for place in (3, 1, 5, 2, 4):
            connection.execute(INSERT_INTERACTION, values_of(said(f"i{place}")))
    week.add(*(thumb(f"e{place}", f"i{place}") for place in range(1, 6)))
    window = week.close()
    written = week.write(window, limit=2)
    assert (window.interactions, written.skipped, written.skipped_events) == (5, 3, 3)
    assert week.names(1) == (["i4", "i5"], ["e4", "e5"])
    assert json.loads((tmp_path / "1" / "window.json").read_text())["skipped"] == 3
    assert read_window(tmp_path / "1") == written
    assert week.write(window, limit=5).skipped == week.write(window).skipped == 0

    week.add(*(thumb(f"late{place}", f"i{place}") for place in (2, 5, 1)), said("i6"))
    written = week.write(week.close(), limit=2)
    assert (written.window.revisited, written.skipped_revisited, written.skipped, written.skipped_events) == (
        3,
        1,
        0,
        1,
    )
    assert week.names(2) == (["i6"], ["late2", "late5"])
    assert week.names(2, earlier=True) == (["i2", "i5"], ["e2", "e5"])


def test_newest_is_by_number_not_by_its_digits(week: Week) -> None:
    with psycopg.connect(week.url) as connection:
        for place, xid in (("i1", 8), ("i2", 9), ("i3", 10), ("i4", 100)):
            connection.execute(INSERT_INTERACTION, values_of(said(place)))
            connection.execute("UPDATE interactions SET xid = %s::text::xid8 WHERE interaction_id = %s", (xid, place))
    week.write(week.close(), limit=2)
    assert week.names(1)[0] == ["i3", "i4"]


def test_held_votes_are_not_brought_along_and_released_ones_enter_the_next_window(week: Week, tmp_path: Path) -> None:
    """v1 and v2 are held in window 1. Window 2 brings i1 along with neither. v1 is released: window 3 has it as a late
    event, and window 4 brings it along as something said before."""
    week.add(said("i1"), said("i2"), thumb("e1", "i1"), thumb("v1", "i1"), thumb("v2", "i1"))
    first = week.close()
    week.write(first)
    bytes_of = {1: read_all(tmp_path / "1")}
    votes = [{"event_id": name, "reason": "burst", "rule": "burst"} for name in ("v1", "v2")]
    assert hold_events(week.url, (first.series, first.number), votes) == 2
    week.add(thumb("e2", "i1"))
    week.write(week.close())
    assert (week.names(2), week.names(2, earlier=True)) == (([], ["e2"]), (["i1"], ["e1"]))
    release_votes(week.url, ids=["v1"])
    third = week.close()
    assert (third.number, third.interactions, third.events, third.releases, third.size) == (3, 0, 0, 1, 1)
    assert week.write(third).released == ("v1",)
    assert (week.names(3), week.names(3, earlier=True)) == (([], ["v1"]), (["i1"], ["e1", "e2"]))
    assert json.loads((tmp_path / "3" / "window.json").read_text())["released"] == ["v1"]
    week.add(thumb("e3", "i1"))
    week.write(week.close())
    assert (week.names(4), week.names(4, earlier=True)) == (([], ["e3"]), (["i1"], ["e1", "e2", "v1"]))
    week.write(first)
    assert read_all(tmp_path / "1") == bytes_of[1]
    assert audit(week.url).holds


def test_erased_rows_are_said_and_leave_no_window(week: Week, tmp_path: Path) -> None:
    week.add(*(said(f"i{place}") for place in range(4)), thumb("e1", "i1"))
    window = week.close()
    week.write(window, limit=3)
    week.add(thumb("late", "i2"))
    second = week.close()
    with psycopg.connect(week.url) as connection:
        connection.execute("DELETE FROM interactions WHERE interaction_id = 'i0'")
    with pytest.raises(FeedbackError, match="closed over 4 interactions and 1 events, but 3 and 1 are left"):
        week.write(window, limit=3)
    with pytest.raises(FeedbackError, match=r"no readable window\.json"):
        read_window(tmp_path / "1")
    week.write(second)
    with psycopg.connect(week.url) as connection:
        connection.execute("DELETE FROM interactions WHERE interaction_id = 'i2'")
    with pytest.raises(FeedbackError, match=r"0 of 1 revisited, with 0 of 0 earlier events"):
        week.write(second)


def test_data_of_another_cluster_are_said(week: Week) -> None:
    week.add(said("i1"))
    week.close()
    with psycopg.connect(week.url) as connection:
        connection.execute("UPDATE windows SET high_xid = '9000000000'")
    with pytest.raises(FeedbackError, match="come from another cluster") as caught:
        week.try_close()
    assert "\n" not in str(caught.value)


def test_wrong_arguments(week: Week) -> None:
    with pytest.raises(FeedbackError, match="needs a source"):
        close_window(week.url, "oncall", [])
    with pytest.raises(FeedbackError, match="at least 0"):
        week.try_close(at_least=0)
    with pytest.raises(FeedbackError, match="not a window"):
        Window.from_json({"sources": ["web"]})
    with pytest.raises(FeedbackError, match="no window 1 in series oncall/web: it has none yet"):
        get_window(week.url, "oncall", ["web"], 1)
    week.add(said("i1"))
    window = week.close()
    with pytest.raises(FeedbackError, match="no window 7 in series oncall/web: its windows are 1 to 1"):
        get_window(week.url, "oncall", ["web"], 7)
    with pytest.raises(FeedbackError, match="limit 0"):
        week.write(window, limit=0)


def test_random_interleavings_lose_nothing_and_repeat_nothing(database_url: str) -> None:
    """`python -m benchmarks.windows` plays 1,000 of them."""
    tally = play_many(database_url, [f"test-{number}" for number in range(40)])
    assert (tally.lost, tally.twice, tally.changed, tally.astray) == (0, 0, 0, 0)
    assert audit(database_url).mismatches == ()
    seen = tally.seen
    assert seen["windows"] > 60  # or it shows nothing
    assert seen["rows brought along"] > 60
    assert seen["votes released"] > 5
