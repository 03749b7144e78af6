"""Proves that nothing is lost and nothing counted twice: accepted = Σ windows + waiting, read = stored + known + held.

Everything is counted again on one snapshot and compared with what was noted when it happened: an import notes what
became of its lines, and the rows that it stored carry its transaction; a window notes its rows when it closes, and a
digest over their ids and digests. So a row that was erased, smuggled in, moved or changed by hand shows as a mismatch
of the import or window that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

from flytewheel.database import Connection, connect
from flytewheel.feedback.slices import Counts, count_rows, digest_rows
from flytewheel.feedback.window import Window, list_windows, name_series

_SOURCES = """
SELECT source, sum(interactions)::bigint, sum(events)::bigint FROM (
    SELECT source, count(*) AS interactions, 0 AS events FROM interactions GROUP BY source
    UNION ALL SELECT source, 0, count(*) FROM feedback_events GROUP BY source
    UNION ALL SELECT DISTINCT source, 0, 0 FROM imports
) AS rows GROUP BY source ORDER BY source COLLATE "C"
"""
_IMPORTS = """
SELECT source, sum(lines_read)::bigint, sum(stored)::bigint, sum(duplicates)::bigint,
    sum((SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(quarantined)))::bigint, count(DISTINCT xid)
FROM imports GROUP BY source
"""
# The rows that an import stored carry its transaction; those of a router or an API carry others.
_STORED = """
WITH left_over AS (
    SELECT 'interaction' AS kind, xid, count(*) AS rows FROM interactions
    WHERE xid IN (SELECT xid FROM imports) GROUP BY xid
    UNION ALL
    SELECT 'feedback', xid, count(*) FROM feedback_events WHERE xid IN (SELECT xid FROM imports) GROUP BY xid
)
SELECT m.source, m.kind, m.xid::text, m.stored, coalesce(l.rows, 0) FROM imports m
LEFT JOIN left_over l USING (kind, xid) WHERE m.stored <> coalesce(l.rows, 0) ORDER BY m.xid, m.kind
"""
_MISREAD = """
SELECT source, kind, xid::text, lines_read, stored + duplicates + held FROM (
    SELECT *, (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(quarantined))::bigint AS held FROM imports
) AS noted WHERE lines_read <> stored + duplicates + held ORDER BY xid, kind
"""
_STRAYS = """
SELECT count(*) FROM feedback_events e LEFT JOIN interactions i USING (interaction_id)
WHERE i.interaction_id IS NULL OR i.source <> e.source
"""
_ACCEPTED = """
SELECT
    (SELECT count(*) FROM interactions WHERE source = ANY(%(sources)s)),
    (SELECT count(*) FROM feedback_events WHERE source = ANY(%(sources)s)),
    (SELECT count(*) FROM interactions WHERE source = ANY(%(sources)s) AND xid >= %(mark)s::xid8),
    (SELECT count(*) FROM feedback_events e JOIN interactions i USING (interaction_id)
     WHERE e.source = ANY(%(sources)s) AND (e.xid >= %(mark)s::xid8 OR i.xid >= %(mark)s::xid8))
"""
_VOTES = """
SELECT h.number, count(*), count(r.event_id) FROM held_votes h LEFT JOIN released_votes r USING (series, event_id)
WHERE h.series = %s GROUP BY h.number
"""
_RELEASES = """
SELECT count(*), count(*) FILTER (WHERE r.xid >= %(mark)s::xid8)
FROM released_votes r JOIN feedback_events e USING (event_id) WHERE r.series = %(series)s
"""


@dataclass(frozen=True, slots=True)
class SourceAudit:
    """A stream: rows accepted, and of the imports that were noted for it, what became of their lines."""

    source: str
    interactions: int
    events: int
    imports: int
    read: int
    stored: int
    duplicates: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class WindowAudit:
    """A window as it was noted when it closed, what is there of it now, and its votes in quarantine."""

    window: Window
    found: Counts
    digest: str
    held: int
    released: int

    @property
    def holds(self) -> bool:
        return self.found == self.window.counts and self.digest == self.window.digest


@dataclass(frozen=True, slots=True)
class SeriesAudit:
    """A series: accepted = Σ windows + waiting, each as (interactions, events). Of `releases`, the votes let out of the
    quarantine, `waiting_releases` enter the next window.
    """

    series: str
    accepted: tuple[int, int]
    windows: tuple[WindowAudit, ...]
    waiting: tuple[int, int]
    releases: int
    waiting_releases: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What was counted, and every mismatch as a line."""

    sources: tuple[SourceAudit, ...]
    series: tuple[SeriesAudit, ...]
    mismatches: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.mismatches


def audit(database_url: str) -> Audit:
    """Counts everything again, on one snapshot.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL work_mem = '64MB'")
        sources = tuple(_audit_sources(connection))
        mismatches = list(_check_imports(connection))
        series = []
        for name, windows in groupby(list_windows(connection), key=lambda window: window.series):
            found = _audit_series(connection, name, list(windows))
            series.append(found)
            mismatches += _check_series(found)
    return Audit(sources, tuple(series), tuple(mismatches))


def _audit_sources(connection: Connection) -> Iterator[SourceAudit]:
    noted = {row[0]: row[1:] for row in connection.execute(_IMPORTS).fetchall()}
    for source, interactions, events in connection.execute(_SOURCES).fetchall():
        read, stored, duplicates, quarantined, imports = noted.get(source, (0, 0, 0, 0, 0))
        yield SourceAudit(source, interactions, events, imports, read, stored, duplicates, quarantined)


def _check_imports(connection: Connection) -> Iterator[str]:
    for source, kind, xid, read, accounted in connection.execute(_MISREAD).fetchall():
        yield f"{source}: import {xid} read {read:,} {kind} lines, but {accounted:,} were stored, known or quarantined"
    for source, kind, xid, stored, left in connection.execute(_STORED).fetchall():
        yield f"{source}: import {xid} stored {stored:,} {kind} rows, {left:,} are there"
    row = connection.execute(_STRAYS).fetchone()
    if row and row[0]:
        yield f"{row[0]:,} events are not in their interaction's stream: no window takes both"


def _audit_series(connection: Connection, name: str, windows: Sequence[Window]) -> SeriesAudit:
    votes = {row[0]: row[1:] for row in connection.execute(_VOTES, (name,)).fetchall()}
    found = []
    for window in windows:
        place = {**window.to_json(), "sources": list(window.sources)}
        held, released = votes.get(window.number, (0, 0))
        found.append(WindowAudit(window, count_rows(connection, place), digest_rows(connection, place), held, released))
    place = {"sources": list(windows[-1].sources), "mark": windows[-1].high_xid, "series": name}
    ((*accepted, first, second),) = connection.execute(_ACCEPTED, place).fetchall()
    ((releases, waiting),) = connection.execute(_RELEASES, place).fetchall()
    return SeriesAudit(name, (accepted[0], accepted[1]), tuple(found), (first, second), releases, waiting)


def _check_series(series: SeriesAudit) -> Iterator[str]:
    low, number = "0", 1
    for each in series.windows:
        window = each.window
        where = f"{series.series} window {window.number}"
        if (window.low_xid, window.number) != (low, number):
            yield f"{where}: begins at {window.low_xid}, expected window {number} to begin at {low}: one is missing"
        if name_series(window.series.partition("/")[0], window.sources) != window.series:
            yield f"{where}: its sources {list(window.sources)} are not those of the series"
        for item in fields(Counts):
            noted, found = getattr(window, item.name), getattr(each.found, item.name)
            if noted != found:
                yield f"{where}: closed over {noted:,} {item.name.replace('_', ' ')}, {found:,} are there"
        if each.found == window.counts and each.digest != window.digest:
            digests = f"{each.digest[:12]}, not {window.digest[:12]}"
            yield f"{where}: as many rows as when it closed, but other ones ({digests})"
        low, number = window.high_xid, window.number + 1
    for place, kind in enumerate(("interactions", "events")):
        total = sum(getattr(each.window, kind) for each in series.windows) + series.waiting[place]
        if total != series.accepted[place]:
            yield f"{series.series}: {series.accepted[place]:,} {kind} accepted, {total:,} in windows or waiting"
    entered = sum(each.window.releases for each in series.windows) + series.waiting_releases
    if series.releases != entered:
        yield f"{series.series}: {series.releases:,} votes released, {entered:,} in windows or waiting"
