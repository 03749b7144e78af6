"""Rows go by their age, never those that are still needed, and the audit holds before, between and after."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from flytewheel.errors import FeedbackError
from flytewheel.feedback.audit import audit
from flytewheel.feedback.expiry import Expiry, expire, find_last, plan_expiry
from flytewheel.feedback.quarantine import hold_events, release_votes
from flytewheel.feedback.window import Window, close_window, write_window
from tests.feedback.bench import NOON, Bench, reaction, said

DAY = 24 * 60  # minutes
NOW = datetime.now(UTC)
OLD = int((NOW - timedelta(days=40) - NOON).total_seconds() // 60)  # minutes from NOON on
NEW = int((NOW - timedelta(days=2) - NOON).total_seconds() // 60)


def ids(bench: Bench, table: str = "interactions", key: str = "interaction_id") -> set[str]:
    return {row[0] for row in bench.ask(f"SELECT {key} FROM {table}")}


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    return Bench(database_url, tmp_path)


def close(bench: Bench, name: str = "oncall", *, days_ago: float = 0) -> None:
    assert close_window(bench.url, name, ["web"]).window
    with psycopg.connect(bench.url) as connection:
        connection.execute(
            "UPDATE windows SET closed_at = now() - make_interval(secs => %s) WHERE series = %s AND number ="
            " (SELECT max(number) FROM windows WHERE series = %s)",
            (days_ago * 86_400, f"{name}/web", f"{name}/web"),
        )


def write_files(bench: Bench, window: Window, folder: Path) -> dict[str, bytes]:
    write_window(bench.url, window, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_old_goes_with_its_events_and_what_is_needed_stays(bench: Bench, tmp_path: Path) -> None:
    names = [f"i{number}" for number in range(6)]
    first = [said(name, minute=OLD) for name in names]
    bench.load([*first, said("young", minute=NEW)], [reaction(f"e{n}", n, minute=OLD + 5) for n in names])
    close(bench, days_ago=20)
    hold_events(bench.url, ("oncall/web", 1), [{"event_id": "ei2", "reason": "burst", "rule": "burst"}])
    # The newest window revisits i1; i5 is a test by now, and an experiment with i4 in it runs.
    bench.load([said("w2", minute=OLD)], [reaction("late", "i1", minute=NEW)])
    close(bench)
    bench.load([said("waits", minute=OLD)], ["bad"])
    with psycopg.connect(bench.url) as connection:
        connection.execute(
            "INSERT INTO suite_cases (name, case_id, body, origin, event_id)"
            " VALUES ('oncall', 'c', '{}', 'review', 'ei5')"
        )
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, state, control, treatment, share, body, launch_key)"
            " VALUES ('x', 'oncall', 'running', 'v1', 'v2', 0.1, '{}', 'k')"
        )
        connection.execute(
            "UPDATE interactions SET body = body || '{\"experiment_id\": \"x\"}' WHERE interaction_id = 'i4'"
        )
        connection.execute("UPDATE quarantine SET stored_at = now() - interval '31 days'")
    assert audit(bench.url).holds
    (newest,) = [each.window for series in audit(bench.url).series for each in series.windows][-1:]
    before = write_files(bench, newest, tmp_path / "before")
    held = {"window": 3, "suite": 1, "experiment": 1}
    plan = plan_expiry(bench.url, 30, NOW)
    assert (plan.interactions, plan.events, plan.quarantined, dict(plan.held)) == (3, 3, 1, held)
    assert len(ids(bench)) == 9
    done = expire(bench.url, 30, NOW, by="tests", batch=2)
    assert (done.interactions, done.events, done.quarantined, dict(done.held)) == (3, 3, 1, held)
    assert ids(bench) == {"young", "i1", "w2", "waits", "i4", "i5"}
    assert ids(bench, "feedback_events", "event_id") == {"ei1", "late", "ei4", "ei5"}
    assert bench.ask("SELECT count(*) FROM held_votes") == [(0,)]
    assert audit(bench.url).mismatches == ()
    assert bench.ask("SELECT by, interactions, events, quarantined, held FROM expiries") == [("tests", 3, 3, 1, held)]
    assert write_files(bench, newest, tmp_path / "after") == before
    with psycopg.connect(bench.url) as connection:
        assert find_last(connection) is not None
    again = expire(bench.url, 30, NOW, by="tests")
    assert (again.interactions, again.events, again.quarantined) == (0, 0, 0)


def test_a_series_that_ended_long_ago_holds_nothing(bench: Bench) -> None:
    bench.load([said("i1", minute=OLD)], [])
    close(bench, "given-up", days_ago=31)
    bench.load([said("i2", minute=OLD)], [])
    assert expire(bench.url, 30, NOW, by="tests").interactions == 2
    assert audit(bench.url).holds


def test_an_expiry_that_is_interrupted_goes_on(bench: Bench) -> None:
    bench.load([said(f"i{number}", minute=OLD) for number in range(10)], [])
    close(bench, days_ago=20)
    bench.load([said("last", minute=NEW)], [])
    close(bench)

    class InterruptedHereError(Exception):
        pass

    def stop(what: str, done: int, total: int | None) -> None:
        assert total == 10
        if done == 6:
            raise InterruptedHereError

    with pytest.raises(InterruptedHereError):
        expire(bench.url, 30, NOW, by="tests", batch=3, progress=stop)
    assert len(ids(bench)) == 5
    assert audit(bench.url).holds
    assert expire(bench.url, 30, NOW, by="tests", batch=3).interactions == 4
    assert ids(bench) == {"last"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_history_makes_the_audit_cry(bench: Bench, seed: int) -> None:
    """Random imports, windows of two series, late events, held and released votes; every batch is audited."""
    chance, known = random.Random(seed), list[str]()
    for turn in range(8):
        fresh = [f"i{turn}-{number}" for number in range(chance.randrange(1, 7))]
        known += fresh
        about = chance.sample(known, min(len(known), 5))
        when = {name: chance.choice((OLD, NEW)) for name in fresh}
        heard = [reaction(f"e{turn}-{name}", name, minute=chance.choice((OLD, NEW)) + 9) for name in about]
        bench.load([said(name, minute=when[name]) for name in fresh], heard)
        if chance.random() < 0.6:
            name = chance.choice(("oncall", "second"))
            close(bench, name, days_ago=chance.choice((0, 50)))
            held = [{"event_id": f"e{turn}-{each}", "reason": "burst", "rule": "burst"} for each in about[:2]]
            number = bench.ask(f"SELECT max(number) FROM windows WHERE series = '{name}/web'")[0][0]
            hold_events(bench.url, (f"{name}/web", number), held)
            if chance.random() < 0.5:
                release_votes(bench.url, ids=[f"e{turn}-{about[0]}"])
    assert audit(bench.url).mismatches == ()
    new = "SELECT interaction_id FROM interactions WHERE \"timestamp\" > now() - interval '30 days'"
    young = {row[0] for row in bench.ask(new)}

    def check(what: str, done: int, total: int | None) -> None:
        assert audit(bench.url).mismatches == ()

    done: Expiry = expire(bench.url, 30, NOW, by="tests", batch=2, progress=check)
    assert audit(bench.url).mismatches == ()
    assert ids(bench) >= young
    assert len(ids(bench)) == len(young) + sum(done.held.values())


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf")])
def test_a_wrong_number_of_days_is_refused(bench: Bench, days: float) -> None:
    with pytest.raises(FeedbackError, match="expected a number of days above 0"):
        plan_expiry(bench.url, days, NOW)
