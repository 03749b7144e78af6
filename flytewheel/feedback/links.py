"""Rows that name each other in a circle: `metadata.parent_id` and its like, followed until they come back.

Nothing here walks such links later, but exporters write them and somebody's threading will: a circle is a fault of the
log, found once, when it comes in. Every row names at most one other, so that one pass over the links is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytewheel.database import Connection

PARENT_KEYS = (
    "parent_id",
    "parent_interaction_id",
    "parent_event_id",
    "parent",
    "in_reply_to",
    "reply_to",
    "previous_id",
)

_PARENT = ", ".join(f"t.body -> 'metadata' ->> '{key}'" for key in PARENT_KEYS)
_LINK = f"SELECT t.{{key}}, coalesce({_PARENT})"
_STORED = f"""
WITH RECURSIVE up (id, parent) AS (
    {_LINK} FROM {{table}} t WHERE t.{{key}} = ANY(%s)
    UNION
    {_LINK} FROM up JOIN {{table}} t ON t.{{key}} = up.parent
) SELECT id, parent FROM up WHERE parent IS NOT NULL
"""


def find_parent(metadata: Mapping[str, Any]) -> str | None:
    """The id that a row names as the one before it."""
    for key in PARENT_KEYS:
        parent = metadata.get(key)
        if parent is not None:
            return parent if isinstance(parent, str) else str(parent) if isinstance(parent, int) else None
    return None


def read_stored(connection: Connection, parents: Mapping[str, str], *, table: str, key: str) -> dict[str, str]:
    """The links of stored rows that new ones lead to, by however many steps."""
    outside = sorted({parent for parent in parents.values() if parent not in parents})
    if not outside:
        return {}
    return dict(connection.execute(_STORED.format(table=table, key=key), (outside,)).fetchall())


def find_circles(parents: Mapping[str, str]) -> set[str]:
    """Ids that are reached again when one follows the links from them.

    Args:
        parents: id → the id that it names.
    """
    found: set[str] = set()
    seen: set[str] = set()
    for start in parents:
        path: dict[str, None] = {}
        name = start
        while name in parents and name not in seen and name not in path:
            path[name] = None
            name = parents[name]
        if name in path:
            walked = list(path)
            found.update(walked[walked.index(name) :])
        seen.update(path)
    return found
