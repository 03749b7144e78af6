"""Keeps the books true when rows go: of a person who is erased, or past the age that is kept.

The audit compares what is stored with what was noted when it came: lines that an import stored become lines held for
the reason why they went, and windows that held before hold again, over the rows that are left. So it does not cry wolf
for ever after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flytewheel.database import Connection
from flytewheel.feedback.slices import count_rows, digest_rows
from flytewheel.feedback.window import Window

_LOCK = 0x66656564  # of flytewheel.feedback.imports: no import may insert while rows go
_NOTE = """
UPDATE imports SET stored = stored - %(count)s,
    quarantined = quarantined || jsonb_build_object(%(reason)s::text,
        coalesce((quarantined ->> %(reason)s)::bigint, 0) + %(count)s)
WHERE xid = %(xid)s::xid8 AND kind = %(kind)s AND stored >= %(count)s
"""
_GROUPS = {
    "interaction": "SELECT xid::text, count(*) FROM interactions WHERE interaction_id = ANY(%(said)s) GROUP BY xid",
    "feedback": """SELECT xid::text, count(*) FROM feedback_events
        WHERE event_id = ANY(%(heard)s) OR interaction_id = ANY(%(said)s) GROUP BY xid""",
}
_RECOUNT = """
UPDATE windows SET interactions = %(interactions)s, events = %(events)s, releases = %(releases)s,
    revisited = %(revisited)s, earlier_events = %(earlier_events)s, digest = %(digest)s
WHERE series = %(series)s AND number = %(number)s
"""


def keep_imports_out(connection: Connection) -> None:
    """Lets no import insert until this transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def note_gone(connection: Connection, said: Sequence[str], heard: Sequence[str], reason: str) -> None:
    """Notes with the imports that brought them that interactions (`said`), their events and `heard` are about to go."""
    values = {"said": list(said), "heard": list(heard)}
    for kind, query in _GROUPS.items():
        for xid, count in connection.execute(query.encode(), values).fetchall():
            connection.execute(_NOTE, {"xid": xid, "kind": kind, "count": count, "reason": reason})


def list_true(connection: Connection, windows: Iterable[Window]) -> list[Window]:
    """The windows that still are what was noted of them."""
    return [
        window
        for window in windows
        if count_rows(connection, _place(window)) == window.counts
        and digest_rows(connection, _place(window)) == window.digest
    ]


def recount(connection: Connection, windows: Iterable[Window]) -> int:
    """Notes anew what is left of these windows; gives how many changed."""
    changed = 0
    for window in windows:
        found, digest = count_rows(connection, _place(window)), digest_rows(connection, _place(window))
        if found != window.counts or digest != window.digest:
            told = {name: getattr(found, name) for name in found.__slots__}
            given = {"series": window.series, "number": window.number, "digest": digest}
            changed += connection.execute(_RECOUNT, {**told, **given}).rowcount
    return changed


def _place(window: Window) -> dict[str, Any]:
    return {**window.to_json(), "sources": list(window.sources)}
