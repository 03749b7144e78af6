"""Which rows lie in a slice of commit order: the questions that closing, writing and auditing a window share.

A row carries the transaction that wrote it (`xid`). A slice of some sources holds their interactions and events with
low ≤ xid < high, and the votes that were let out of the quarantine by such a transaction. What is *brought along* is
not in the slice: interactions of earlier slices that one of its events or released votes is about, and what was said
of them before, but for votes that curation held.

An event lies where it and its interaction have both come: at the greater transaction of the two. Its writer may have
begun before the interaction's, and a third one may hold a mark between them (found by `benchmarks.windows`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flytewheel.database import Connection


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows a slice has (`interactions`, `events`, `releases`) and how many are brought along."""

    interactions: int
    events: int
    releases: int
    revisited: int
    earlier_events: int

    @property
    def empty(self) -> bool:
        return not (self.interactions or self.events or self.releases)


def _in_slice(table: str) -> str:
    return (
        f"{table}.source = ANY(%(sources)s) AND {table}.xid >= %(low_xid)s::xid8 AND {table}.xid < %(high_xid)s::xid8"
    )


_RELEASED = "r.series = %(series)s AND r.xid >= %(low_xid)s::xid8 AND r.xid < %(high_xid)s::xid8"


def _said(columns: str, also: str = "TRUE") -> str:
    """The events of the slice: those that came to an interaction that was there, and those that it caught up with."""
    return f"""
    SELECT {columns} FROM feedback_events e JOIN interactions i USING (interaction_id)
    WHERE {_in_slice("e")} AND i.xid < %(high_xid)s::xid8 AND {also}
    UNION ALL
    SELECT {columns} FROM interactions i JOIN feedback_events e USING (interaction_id)
    WHERE {_in_slice("i")} AND e.source = ANY(%(sources)s) AND e.xid < %(low_xid)s::xid8 AND {also}
    """


_REVISITED = f"""
revisited AS MATERIALIZED (
    SELECT DISTINCT i.interaction_id, i.xid FROM interactions i JOIN (
        SELECT e.interaction_id FROM feedback_events e WHERE {_in_slice("e")}
        UNION ALL
        SELECT e.interaction_id FROM released_votes r JOIN feedback_events e USING (event_id) WHERE {_RELEASED}
    ) about USING (interaction_id) WHERE i.xid < %(low_xid)s::xid8
)"""
# Of an interaction that is brought along: what was said before, without votes that are held below the mark. A vote
# released by this slice stands among the slice's own events.
_EARLIER = """
e.xid < %(low_xid)s::xid8 AND NOT EXISTS (
    SELECT FROM held_votes h WHERE h.series = %(series)s AND h.event_id = e.event_id AND h.xid < %(high_xid)s::xid8
    AND NOT EXISTS (
        SELECT FROM released_votes r
        WHERE r.series = h.series AND r.event_id = h.event_id AND r.xid < %(low_xid)s::xid8))
"""
_COUNT = f"""
WITH {_REVISITED}
SELECT
    (SELECT count(*) FROM interactions i WHERE {_in_slice("i")}),
    (SELECT count(*) FROM ({_said("e.event_id")}) AS said),
    (SELECT count(*) FROM released_votes r WHERE {_RELEASED}),
    (SELECT count(*) FROM revisited),
    (SELECT count(*) FROM feedback_events e JOIN revisited USING (interaction_id) WHERE {_EARLIER})
"""
_IDENTITIES = f"""
COPY (
    SELECT kind, id, digest FROM (
        SELECT 'i' AS kind, i.interaction_id AS id, i.digest FROM interactions i WHERE {_in_slice("i")}
        UNION ALL
        {_said("'e', e.event_id, e.digest")}
        UNION ALL
        SELECT 'r', e.event_id, e.digest FROM released_votes r JOIN feedback_events e USING (event_id) WHERE {_RELEASED}
    ) AS rows ORDER BY kind, id COLLATE "C"
) TO STDOUT
"""
# The place from which on the newest rows lie, when there are more than a caller has room for.
_NEWEST_OWN = f"""
SELECT i.xid::text, i.interaction_id FROM interactions i WHERE {_in_slice("i")}
ORDER BY i.xid DESC, i.interaction_id COLLATE "C" DESC LIMIT 1 OFFSET %(offset)s
"""
_NEWEST_REVISITED = f"""
WITH {_REVISITED} SELECT xid::text, interaction_id FROM revisited
ORDER BY xid DESC, interaction_id COLLATE "C" DESC LIMIT 1 OFFSET %(offset)s
"""
_ROOM = """(
    i.xid >= %(low_xid)s::xid8
    AND (i.xid, i.interaction_id COLLATE "C") >= (%(own_xid)s::xid8, %(own_id)s COLLATE "C")
    OR i.xid < %(low_xid)s::xid8
    AND (i.xid, i.interaction_id COLLATE "C") >= (%(past_xid)s::xid8, %(past_id)s COLLATE "C")
)"""

INTERACTIONS = f"""
SELECT i.body::text FROM interactions i WHERE {_in_slice("i")} AND {_ROOM}
ORDER BY i."timestamp", i.interaction_id COLLATE "C"
"""
EVENTS = f"""
SELECT body FROM (
    {_said('e.body::text, e."timestamp", e.event_id', _ROOM)}
    UNION ALL
    SELECT e.body::text, e."timestamp", e.event_id FROM released_votes r
    JOIN feedback_events e USING (event_id) JOIN interactions i USING (interaction_id) WHERE {_RELEASED} AND {_ROOM}
) AS rows ORDER BY "timestamp", event_id COLLATE "C"
"""
EARLIER_INTERACTIONS = f"""
WITH {_REVISITED}
SELECT i.body::text FROM interactions i JOIN revisited USING (interaction_id) WHERE {_ROOM}
ORDER BY i."timestamp", i.interaction_id COLLATE "C"
"""
EARLIER_EVENTS = f"""
WITH {_REVISITED}
SELECT e.body::text FROM feedback_events e JOIN revisited i USING (interaction_id) WHERE {_EARLIER} AND {_ROOM}
ORDER BY e."timestamp", e.event_id COLLATE "C"
"""
RELEASED = f"""
SELECT r.event_id FROM released_votes r
JOIN feedback_events e USING (event_id) JOIN interactions i USING (interaction_id)
WHERE {_RELEASED} AND {_ROOM} ORDER BY r.event_id COLLATE "C"
"""


def count_rows(connection: Connection, place: Mapping[str, Any]) -> Counts:
    """Counts a slice; `place` holds `series`, `sources`, `low_xid` and `high_xid`."""
    row = connection.execute(_COUNT, place).fetchone()
    assert row is not None  # an aggregate always gives a row
    return Counts(*row)


def digest_rows(connection: Connection, place: Mapping[str, Any]) -> str:
    """SHA-256 over the ids and digests of a slice's own rows and releases, in hex."""
    seen = hashlib.sha256()
    with connection.cursor() as cursor, cursor.copy(_IDENTITIES, place) as copy:
        for chunk in copy:
            seen.update(chunk)
    return seen.hexdigest()


def make_room(connection: Connection, place: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Gives `place` with the marks that leave in the newest `limit` own and the newest `limit` revisited interactions,
    by commit order: transaction, then id.
    """
    room: dict[str, Any] = {**place, "own_xid": "0", "own_id": "", "past_xid": "0", "past_id": ""}
    for name, query in (("own", _NEWEST_OWN), ("past", _NEWEST_REVISITED)):
        oldest = connection.execute(query, {**place, "offset": limit - 1}).fetchone()
        if oldest is not None:
            room |= {f"{name}_xid": oldest[0], f"{name}_id": oldest[1]}
    return room
