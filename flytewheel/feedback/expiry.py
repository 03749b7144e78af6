"""Retention by age: interactions said more than so many days ago go, with all that was said of them.

What is still needed stays, and is counted by its reason:
- *window*: it waits for the next window of a series, or lies in (or is revisited by) the newest one, which a run may
  take up again. A series that closed none for as long as rows are kept is not waited for: it would hold them for ever.
- *suite*: a regression case was made of it.
- *experiment*: the experiment that it was served in still runs. What else goes stays in the counters of experiments
  that have counted it (the time before one that runs, one that stopped): age says nothing against what was seen.

Older windows are noted anew over what is left, and imports note what went (`flytewheel.feedback.books`), so the audit
holds before, between and after batches. Data sets are copies of their own and keep their rows; lineage goes on naming
the ids. Lines in quarantine go by the day that they were put there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from flytewheel.database import Connection, connect
from flytewheel.errors import FeedbackError
from flytewheel.feedback.books import keep_imports_out, list_true, note_gone, recount
from flytewheel.feedback.window import Window, list_windows

EXPIRED = "expired"  # the reason of lines that an import stored and that are gone by age
BATCH = 2000  # interactions a transaction
_MOST_DAYS = 100_000

Progress = Callable[[str, int, int | None], None]

_NEWEST = """
newest AS MATERIALIZED (
    SELECT DISTINCT ON (series) series, sources, low_xid, closed_at FROM windows ORDER BY series, number DESC
), needing AS MATERIALIZED (
    SELECT sources, low_xid FROM newest WHERE closed_at >= %(cutoff)s
)"""
_HELD = """CASE
    WHEN EXISTS (
        SELECT FROM needing n WHERE i.source = ANY(n.sources) AND (
            i.xid >= n.low_xid
            OR EXISTS (SELECT FROM feedback_events e WHERE e.interaction_id = i.interaction_id AND e.xid >= n.low_xid)
            OR EXISTS (SELECT FROM feedback_events e JOIN released_votes r USING (event_id)
                       WHERE e.interaction_id = i.interaction_id AND r.xid >= n.low_xid))) THEN 'window'
    WHEN EXISTS (SELECT FROM suite_cases c WHERE c.interaction_id = i.interaction_id)
        OR EXISTS (SELECT FROM suite_cases c JOIN feedback_events e USING (event_id)
                   WHERE e.interaction_id = i.interaction_id) THEN 'suite'
    WHEN i.body ->> 'experiment_id' IN (SELECT experiment_id FROM experiments WHERE state IN ('running', 'holdback'))
        THEN 'experiment'
END"""
_COUNT = f"""
WITH {_NEWEST}
SELECT {_HELD} AS held, count(*), sum(
    (SELECT count(*) FROM feedback_events e WHERE e.interaction_id = i.interaction_id))::bigint
FROM interactions i WHERE i."timestamp" < %(cutoff)s GROUP BY 1
"""
_NEXT = f"""
WITH {_NEWEST}
SELECT i.interaction_id, i.xid::text FROM interactions i
WHERE i.source = %(source)s AND i.xid >= %(xid)s::xid8 AND (i.xid, i.interaction_id) > (%(xid)s::xid8, %(name)s)
    AND i."timestamp" < %(cutoff)s AND {_HELD} IS NULL
ORDER BY i.xid, i.interaction_id LIMIT %(batch)s
FOR UPDATE OF i
"""
_EVENTS = """
SELECT e.event_id, e.xid::text, r.xid::text FROM feedback_events e LEFT JOIN released_votes r USING (event_id)
WHERE e.interaction_id = ANY(%s)
"""
_NOTE = """
INSERT INTO expiries (by, days, cutoff, interactions, events, quarantined, windows, held)
VALUES (%(by)s, %(days)s, %(cutoff)s, %(interactions)s, %(events)s, %(quarantined)s, %(windows)s, %(held)s)
"""


@dataclass(frozen=True, slots=True)
class Expiry:
    """What went, or would go: rows by kind, windows that were noted anew, and interactions that stay, by reason."""

    cutoff: datetime
    interactions: int
    events: int
    quarantined: int
    windows: int
    held: Mapping[str, int]


def plan_expiry(database_url: str, days: float, now: datetime) -> Expiry:
    """Counts what `expire` would take away, and changes nothing.

    Raises:
        FeedbackError: `days` is no number of days above 0.
        DatabaseError: PostgreSQL is away.
    """
    cutoff = _find_cutoff(days, now)
    with connect(database_url) as connection:
        return _count(connection, cutoff)


def expire(
    database_url: str, days: float, now: datetime, *, by: str, progress: Progress | None = None, batch: int = BATCH
) -> Expiry:
    """Deletes what is older than `days`, a batch a transaction; interrupted, it goes on when it is called again.

    Args:
        database_url: PostgreSQL, migrated.
        days: that rows are kept.
        now: the moment from which their age counts.
        by: who asks for it, for the record.
        progress: told (what, interactions gone, of how many).
        batch: interactions a transaction.

    Raises:
        FeedbackError: `days` is no number of days above 0.
        DatabaseError: PostgreSQL is away; the batches that were done stay done.
    """
    cutoff = _find_cutoff(days, now)
    with connect(database_url) as connection:
        planned = _count(connection, cutoff)
        sources = [row[0] for row in connection.execute("SELECT DISTINCT source FROM interactions ORDER BY 1")]
    gone: Counter[str] = Counter()
    for source in sources if planned.interactions else ():
        place = {"source": source, "xid": "0", "name": "", "cutoff": cutoff, "batch": batch}
        while True:
            with connect(database_url) as connection:
                counts, last = _expire_batch(connection, place)
            if last is None:
                break
            gone += counts
            place |= {"xid": last[1], "name": last[0]}
            if progress is not None:
                progress("expire interactions", gone["interactions"], planned.interactions)
    with connect(database_url) as connection:
        held_lines = connection.execute("DELETE FROM quarantine WHERE stored_at < %s", (cutoff,)).rowcount
        left = _count(connection, cutoff)
        done = Expiry(cutoff, gone["interactions"], gone["events"], held_lines, gone["windows"], left.held)
        values = {name: getattr(done, name) for name in ("cutoff", "interactions", "events", "quarantined", "windows")}
        connection.execute(_NOTE, {**values, "by": by, "days": days, "held": Jsonb(dict(done.held))})
    return done


def find_last(connection: Connection) -> datetime | None:
    """When rows were expired last."""
    row = connection.execute("SELECT max(at) FROM expiries").fetchone()
    return row[0] if row else None


def _find_cutoff(days: float, now: datetime) -> datetime:
    if not 0 < days <= _MOST_DAYS:  # NaN neither
        raise FeedbackError(f"expected a number of days above 0, got {days}; FLYTEWHEEL_RETENTION_DAYS sets it")
    return max(now - timedelta(days=days), datetime.min.replace(tzinfo=UTC))


def _count(connection: Connection, cutoff: datetime) -> Expiry:
    free, held = (0, 0), Counter[str]()
    for reason, said, heard in connection.execute(_COUNT, {"cutoff": cutoff}).fetchall():
        if reason is None:
            free = (int(said), int(heard))
        else:
            held[reason] = int(said)
    row = connection.execute("SELECT count(*) FROM quarantine WHERE stored_at < %s", (cutoff,)).fetchone()
    return Expiry(cutoff, *free, int(row[0]) if row else 0, 0, dict(sorted(held.items())))


def _expire_batch(connection: Connection, place: Mapping[str, Any]) -> tuple[Counter[str], tuple[str, str] | None]:
    """Deletes one batch; gives what went, and the last interaction with its transaction (None: there was none)."""
    keep_imports_out(connection)
    rows = connection.execute(_NEXT, place).fetchall()
    if not rows:
        return Counter(), None
    said = [row[0] for row in rows]
    found = connection.execute(_EVENTS, (said,)).fetchall()
    heard = [row[0] for row in found]
    marks = {int(xid) for row in (*((row[1],) for row in rows), *(row[1:] for row in found)) for xid in row if xid}
    touched = [window for window in list_windows(connection) if _meets(window, place["source"], marks)]
    true = list_true(connection, touched)
    note_gone(connection, said, heard, EXPIRED)
    connection.execute("SET LOCAL flytewheel.expiring = 'on'")  # marks nobody whose counters would be counted anew
    connection.execute("DELETE FROM held_votes WHERE event_id = ANY(%s)", (heard,))
    events = connection.execute("DELETE FROM feedback_events WHERE interaction_id = ANY(%s)", (said,)).rowcount
    connection.execute("DELETE FROM interactions WHERE interaction_id = ANY(%s)", (said,))
    counts = Counter(interactions=len(said), events=events, windows=recount(connection, true))
    return counts, (rows[-1][0], rows[-1][1])


def _meets(window: Window, source: str, marks: set[int]) -> bool:
    low, high = int(window.low_xid), int(window.high_xid)
    return source in window.sources and any(low <= mark < high for mark in marks)
