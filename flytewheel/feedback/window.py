"""Which rows a run learns from: a window closes on commit order and never changes afterwards.

Client clocks lie and events come late, so time decides nothing. A row carries the transaction that wrote it (`xid`),
and a window holds rows of transactions below the oldest one still open when it closed,
`pg_snapshot_xmin(pg_current_snapshot())`: all of those have committed or never will, so the same query gives the same
rows for ever. A slow import that commits later lies above the mark and enters the next window. An event belongs to
the window when it lies below the mark and its interaction is in it.

Traps: a long transaction anywhere in the PostgreSQL cluster holds the mark back; and a database restored by pg_dump
into another cluster carries foreign transaction ids: move feedback with `flytewheel feedback export` and `import`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from flytewheel.database import Connection, connect
from flytewheel.errors import FeedbackError
from flytewheel.records import FeedbackEvent, Interaction, canonical_json, to_jsonable, write_jsonl

_BATCH = 2000

_MARK = """
WITH mark (high_xid) AS (SELECT pg_snapshot_xmin(pg_current_snapshot()))
SELECT high_xid::text,
    EXISTS (SELECT FROM interactions i WHERE i.source = ANY(%(sources)s) AND i.xid >= high_xid)
    OR EXISTS (SELECT FROM feedback_events e WHERE e.source = ANY(%(sources)s) AND e.xid >= high_xid)
FROM mark
"""
_NEWEST = """
SELECT i.xid::text, i.interaction_id FROM interactions i
WHERE i.source = ANY(%(sources)s) AND i.xid < %(high_xid)s::xid8
ORDER BY i.xid DESC, i.interaction_id COLLATE "C" DESC LIMIT 1 OFFSET %(offset)s
"""
_WITHIN = """
    i.source = ANY(%(sources)s) AND i.xid < %(high_xid)s::xid8
    AND (i.xid, i.interaction_id COLLATE "C") >= (%(low_xid)s::xid8, %(low_id)s COLLATE "C")
"""
_INTERACTIONS = (
    f'SELECT i.body FROM interactions i WHERE {_WITHIN} ORDER BY i."timestamp", i.interaction_id COLLATE "C"'
)
_EVENTS = f"""
SELECT e.body FROM feedback_events e JOIN interactions i USING (interaction_id)
WHERE e.xid < %(high_xid)s::xid8 AND {_WITHIN} ORDER BY e."timestamp", e.event_id COLLATE "C"
"""


@dataclass(frozen=True, slots=True)
class Window:
    """A closed window.

    Rows of `sources` from the place (`low_xid`, `low_id`) on, below the mark `high_xid`; `interactions` and `events`
    are how many there were when it closed.
    """

    sources: tuple[str, ...]
    high_xid: str
    interactions: int
    events: int
    low_xid: str = "0"
    low_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Gives the window as plain JSON."""
        return dict(to_jsonable(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` gave.

        Raises:
            FeedbackError: keys are missing or unknown.
        """
        needed = {"sources", "high_xid", "interactions", "events"}
        if not needed <= set(data) <= {item.name for item in fields(cls)}:
            raise FeedbackError(f"not a window: {sorted(data)}; close a new one")
        return cls(**{**data, "sources": tuple(data["sources"])})


def close_window(database_url: str, sources: Sequence[str], *, limit: int, patience_s: float = 5.0) -> Window:
    """Closes a window over the newest `limit` interactions of `sources` by commit order.

    Args:
        database_url: PostgreSQL.
        sources: streams to learn from.
        limit: most interactions.
        patience_s: how long to wait while open transactions keep committed rows of these streams out (autovacuum can
            hold the mark back for a moment, and rows imported just now are wanted); then it closes all the same.

    Raises:
        FeedbackError: no source is named, or the limit is not positive.
        DatabaseError: PostgreSQL is away.
    """
    if not sources or limit < 1:
        raise FeedbackError(f"a window needs a source and room for a row, got sources {list(sources)}, limit {limit}")
    with connect(database_url) as connection:
        named = tuple(sorted(set(sources)))
        mark = _find_mark(connection, named, patience_s)
        place: dict[str, Any] = {"sources": list(named), "high_xid": mark, "low_xid": "0", "low_id": ""}
        oldest = connection.execute(_NEWEST, {**place, "offset": limit - 1}).fetchone()
        if oldest is not None:
            place |= {"low_xid": oldest[0], "low_id": oldest[1]}
        interactions = _one(connection, f"SELECT count(*) FROM ({_INTERACTIONS}) AS rows", place)[0]
        events = _one(connection, f"SELECT count(*) FROM ({_EVENTS}) AS rows", place)[0]
    return Window(named, mark, interactions, events, place["low_xid"], place["low_id"])


def count_sources(database_url: str) -> dict[str, int]:
    """Interactions of every source in the database, for saying which ones a recipe does not look at."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT source, count(*) FROM interactions GROUP BY source ORDER BY source"
        ).fetchall()
    return {source: int(count) for source, count in rows}


def write_window(database_url: str, window: Window, out_dir: Path) -> None:
    """Writes a closed window's rows: `interactions.jsonl`, `feedback.jsonl` and, last, `window.json`.

    Rows are canonical JSON ordered by time and id, so that the same window is the same bytes whenever it is written.

    Raises:
        FeedbackError: rows have been erased since the window closed.
        DatabaseError: PostgreSQL is away.
    """
    place = {**window.to_json(), "sources": list(window.sources)}
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "window.json").unlink(missing_ok=True)
    with connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = (
            write_jsonl(out_dir / "interactions.jsonl", _read(connection, _INTERACTIONS, place, Interaction)),
            write_jsonl(out_dir / "feedback.jsonl", _read(connection, _EVENTS, place, FeedbackEvent)),
        )
    if found != (window.interactions, window.events):
        raise FeedbackError(
            f"the window closed over {window.interactions} interactions and {window.events} events, but {found[0]}"
            f" and {found[1]} are left: rows were erased since, so only a new run can go on"
        )
    (out_dir / "window.json").write_bytes(canonical_json(window) + b"\n")


def read_window(folder: Path) -> Window:
    """Reads the `window.json` of a folder written by `write_window`.

    Raises:
        FeedbackError: there is none, or it is not a window's.
    """
    try:
        return Window.from_json(json.loads((folder / "window.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise FeedbackError(f"{folder}: no readable window.json ({error}); write the window again") from None


def _find_mark(connection: Connection, sources: Sequence[str], patience_s: float) -> str:
    """Gives the mark, after waiting for transactions that keep rows out of it (each statement sees a new snapshot)."""
    deadline = time.monotonic() + patience_s
    while True:
        mark, kept_out = _one(connection, _MARK, {"sources": list(sources)})
        if not kept_out or time.monotonic() >= deadline:
            return str(mark)
        time.sleep(0.02)


def _one(connection: Connection, query: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    row = connection.execute(query, values).fetchone()
    assert row is not None  # an aggregate always gives a row
    return row


def _read(
    connection: Connection, query: str, values: Mapping[str, Any], model: type[Interaction | FeedbackEvent]
) -> Iterator[Interaction | FeedbackEvent]:
    with connection.cursor(name="rows") as cursor:  # a cursor of the server: a window need not fit into memory
        cursor.itersize = _BATCH
        for (body,) in cursor.execute(query, values):
            yield model.model_validate(body)
