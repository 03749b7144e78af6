"""The quarantine: lines that no import could store, and votes that curation does not believe.

A *fault* is a line (`flytewheel.feedback.imports`); it leaves when its log is imported again and it can be stored. A
*held vote* is a stored event that the abuse screen of a curation reported: the event stays a row of its window, whose
bytes never change, and later windows do not bring it along as something said before. A person may release it: then it
enters the next window as a late event, named under `released` in its `window.json`, so that the screen lets it pass.
Holding and releasing are rows with a transaction of their own and are cut by the same mark as everything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from flytewheel.database import connect
from flytewheel.errors import FeedbackError

_BATCH = 5000

# Rows go in by the order of their ids: curations that meet wait for each other, and never in a circle.
_HOLD = """
INSERT INTO held_votes (series, event_id, number, reason, rule)
SELECT DISTINCT ON (e.event_id) w.series, e.event_id, w.number, given.reason, given.rule
FROM unnest(%(events)s::text[], %(reasons)s::text[], %(rules)s::text[]) AS given (event_id, reason, rule)
JOIN feedback_events e ON e.event_id = given.event_id JOIN interactions i USING (interaction_id)
JOIN windows w ON w.series = %(series)s AND w.number = %(number)s
WHERE e.source = ANY(w.sources) AND greatest(e.xid, i.xid) < w.high_xid
ORDER BY e.event_id, given.reason, given.rule
ON CONFLICT (series, event_id) DO NOTHING
"""
_LIST = """
SELECT * FROM (
    SELECT q.kind, q.digest AS id, q.reason, '' AS rule, q.stored_at AS at, q.source AS stream, q.line, NULL AS user_id,
        NULL::timestamptz AS released_at
    FROM quarantine q
    UNION ALL
    SELECT 'vote', h.event_id, h.reason, h.rule, h.held_at, h.series || ' window ' || h.number,
        concat_ws(': ', e.feedback_type, e.body ->> 'comment', e.body ->> 'corrected_response'), e.user_id,
        r.released_at
    FROM held_votes h JOIN feedback_events e USING (event_id) LEFT JOIN released_votes r USING (series, event_id)
) AS held WHERE %(reason)s::text IS NULL OR reason = %(reason)s
ORDER BY at DESC, kind, id COLLATE "C" LIMIT %(limit)s
"""
_CHOSEN = """
FROM held_votes h JOIN feedback_events e USING (event_id)
WHERE (%(all)s OR h.event_id = ANY(%(ids)s) OR h.reason = %(reason)s OR e.user_id = %(user)s)
"""
_RELEASE = f"""
INSERT INTO released_votes (series, event_id) SELECT h.series, h.event_id {_CHOSEN}
ORDER BY h.series, h.event_id ON CONFLICT (series, event_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Held:
    """One thing in quarantine: a line (`kind` interaction or feedback) or a `vote`.

    `id` is the event's, or the digest of a line; `stream` the source, or the window that a vote was held in; `text` is
    what was said, as it came: redact it before anybody sees it.
    """

    kind: str
    id: str
    reason: str
    rule: str
    at: datetime
    stream: str
    text: str
    user: str | None
    released_at: datetime | None


@dataclass(frozen=True, slots=True)
class Released:
    """Votes that were let out now, and those that had been before."""

    released: int
    already: int


def hold_events(database_url: str, window: tuple[str, int], rows: Iterable[Mapping[str, Any]]) -> int:
    """Puts votes that curation reported into quarantine; those that were held in this series before stay as they are.

    Args:
        database_url: PostgreSQL.
        window: series and number of the closed window that was curated.
        rows: `event_id`, `reason` (a few words) and `rule`; other keys are not looked at. Events that are not stored
            below the window's mark are passed over.

    Returns:
        How many were not held before.

    Raises:
        FeedbackError: the series has no such window.
        DatabaseError: PostgreSQL is away.
    """
    series, number = window
    held = 0
    with connect(database_url) as connection:
        found = connection.execute("SELECT FROM windows WHERE series = %s AND number = %s", (series, number))
        if found.rowcount == 0:
            raise FeedbackError(f"no window {number} in series {series}: votes are held in a window that was closed")
        ordered = iter(sorted(rows, key=lambda row: str(row["event_id"])))
        while batch := list(islice(ordered, _BATCH)):
            columns = {f"{name}s": [str(row[key]) for row in batch] for name, key in _GIVEN.items()}
            held += connection.execute(_HOLD, {"series": series, "number": number, **columns}).rowcount
    return held


_GIVEN = {"event": "event_id", "reason": "reason", "rule": "rule"}


def list_held(database_url: str, *, reason: str | None = None, limit: int = 50) -> list[Held]:
    """What is in quarantine, the newest first; votes that were released since say so.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        rows = connection.execute(_LIST, {"reason": reason, "limit": limit}).fetchall()
    found = []
    for kind, name, why, rule, at, stream, text, user, released_at in rows:
        if kind != "vote":
            text, user = _read_line(text)
        found.append(Held(kind, name, why, rule, at, stream, text, user, released_at))
    return found


def release_votes(
    database_url: str,
    *,
    ids: Sequence[str] = (),
    reason: str | None = None,
    user: str | None = None,
    all_: bool = False,
) -> Released:
    """Lets held votes out: by id, by reason, by user, or all. They enter the next window of each series that held them.

    Raises:
        FeedbackError: an id is not a held vote's; nothing is released then.
        DatabaseError: PostgreSQL is away.
    """
    chosen = {"ids": list(ids), "reason": reason, "user": user, "all": all_}
    with connect(database_url) as connection:
        known = connection.execute("SELECT event_id FROM held_votes WHERE event_id = ANY(%s)", (list(ids),)).fetchall()
        unknown = sorted(set(ids) - {str(row[0]) for row in known})
        if unknown:
            faults = connection.execute("SELECT FROM quarantine WHERE digest = ANY(%s)", (unknown,)).rowcount
            raise FeedbackError(
                f"{unknown[0]} is a line that could not be stored, not a vote: mend the line and import its log again"
                if faults
                else f"no vote {unknown[0]} is held: see `flytewheel feedback quarantine list`"
            )
        released = connection.execute(_RELEASE, chosen).rowcount
        row = connection.execute(f"SELECT count(*) {_CHOSEN}", chosen).fetchone()
    return Released(released, (int(row[0]) if row else 0) - released)


def _read_line(line: str) -> tuple[str, str | None]:
    """A faulty line without JSON's escapes, behind which a redaction would see nothing, and the user that it names."""
    try:
        row = json.loads(line)
        text = json.dumps(row, ensure_ascii=False)
    except (ValueError, RecursionError):
        return line, None
    user = row.get("user_id") if isinstance(row, dict) else None
    return text, user if isinstance(user, str) else None
