"""The audit holds on honest data, and names what was done to them by hand."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from flytewheel.feedback.audit import audit
from flytewheel.feedback.quarantine import hold_events, release_votes
from flytewheel.feedback.window import close_window
from tests.feedback.bench import Bench, reaction, said


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    """Two windows of stream web (3 and 1 interactions, 2 and 2 events), one interaction waiting; one vote held and
    released, another held; stream app in no window."""
    found = Bench(database_url, tmp_path)
    votes = [reaction("e1", "i1"), reaction("e2", "i2"), "bad"]
    found.load([said("i1"), said("i2"), said("i3"), said("i3")], votes)
    close_window(database_url, "oncall", ["web"])
    hold_events(
        database_url,
        ("oncall/web", 1),
        [{"event_id": name, "reason": "burst", "rule": "burst"} for name in ("e1", "e2")],
    )
    release_votes(database_url, ids=["e1"])
    found.load([said("i4"), said("i1")], [reaction("e3", "i1"), reaction("e4", "i4")])
    close_window(database_url, "oncall", ["web"])
    found.load([said("i5")], [], source="web")
    found.load([said("a1")], [], source="app")
    return found


def test_it_counts_and_holds(bench: Bench) -> None:
    audited = audit(bench.url)
    assert audited.mismatches == ()
    app, web = audited.sources
    assert (app.source, app.interactions, app.events, app.imports) == ("app", 1, 0, 1)
    assert (web.interactions, web.events, web.imports) == (5, 4, 3)
    assert (web.read, web.stored, web.duplicates, web.quarantined) == (12, 9, 2, 1)
    (series,) = audited.series
    assert (series.series, series.accepted, series.waiting) == ("oncall/web", (5, 4), (1, 0))
    assert (series.releases, series.waiting_releases) == (1, 0)
    assert [(each.window.interactions, each.window.events, each.window.releases) for each in series.windows] == [
        (3, 2, 0),
        (1, 2, 1),
    ]
    assert [(each.held, each.released, each.holds) for each in series.windows] == [(2, 1, True), (0, 0, True)]


def test_a_release_waits_for_the_next_window(bench: Bench) -> None:
    release_votes(bench.url, all_=True)
    (series,) = audit(bench.url).series
    assert (series.releases, series.waiting_releases, audit(bench.url).holds) == (2, 1, True)


def test_an_empty_database_holds(database_url: str) -> None:
    assert audit(database_url).holds


@pytest.mark.parametrize(
    ("change", "mismatch"),
    [
        ("DELETE FROM interactions WHERE interaction_id = 'i3'", "window 1: closed over 3 interactions, 2 are there"),
        ("DELETE FROM interactions WHERE interaction_id = 'i5'", "stored 1 interaction rows, 0 are there"),
        ("DELETE FROM feedback_events WHERE event_id = 'e3'", "window 2: closed over 2 events, 1 are there"),
        ("UPDATE feedback_events SET digest = 'x' WHERE event_id = 'e4'", "window 2: as many rows as when it closed"),
        (
            "UPDATE interactions SET interaction_id = 'i33' WHERE interaction_id = 'i3'",
            "window 1: as many rows as when",
        ),
        ("UPDATE windows SET events = 5 WHERE number = 1", "oncall/web: 4 events accepted, 7 in windows or waiting"),
        (
            "UPDATE windows SET digest = 'x' WHERE number = 2",
            "window 2: as many rows as when it closed, but other ones",
        ),
        ("UPDATE windows SET low_xid = '0' WHERE number = 2", "window 2: begins at 0, expected window 2 to begin at"),
        ("UPDATE windows SET sources = '{app}' WHERE number = 1", "window 1: its sources ['app'] are not those of"),
        ("DELETE FROM windows WHERE number = 2", "1 votes released, 0 in windows or waiting"),
        (
            "UPDATE feedback_events SET source = 'app' WHERE event_id = 'e4'",
            "events are not in their interaction's str",
        ),
        ("UPDATE imports SET lines_read = 99 WHERE source = 'app'", "read 99 interaction lines, but 1 were stored"),
        (
            'INSERT INTO interactions (interaction_id, source, user_id, "timestamp", body, digest, xid)'
            " SELECT 'smuggled', source, user_id, \"timestamp\", body, digest, low_xid FROM interactions,"
            " (SELECT low_xid FROM windows WHERE number = 2) AS w WHERE interaction_id = 'i1'",
            "window 2: closed over 1 interactions, 2 are there",
        ),
        ("DELETE FROM released_votes", "window 2: closed over 1 releases, 0 are there"),
        ("DELETE FROM held_votes WHERE event_id = 'e1'", "window 2: closed over 1 releases, 0 are there"),
    ],
)
def test_what_was_done_by_hand_is_named(bench: Bench, change: str, mismatch: str) -> None:
    with psycopg.connect(bench.url) as connection:
        if change.startswith("DELETE FROM windows"):
            connection.execute("UPDATE released_votes SET xid = '3'")  # or the vote would wait for a new window 2
        assert connection.execute(change).rowcount > 0
    audited = audit(bench.url)
    assert not audited.holds
    assert any(mismatch in line for line in audited.mismatches), audited.mismatches
    assert all("\n" not in line for line in audited.mismatches)
