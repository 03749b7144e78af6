"""Which rows a run learns from: windows close on commit order, follow each other, and never change afterwards.

Client clocks lie and events come late, so time decides nothing. A window ends at a mark,
`pg_snapshot_xmin(pg_current_snapshot())` when it closed: every transaction below has committed or never will, so the
same query gives the same rows for ever. The next window of the *series* (a model's name and its sources) begins at
that mark: every accepted row is in exactly one window of a series, or waits for the next. A slow import that commits
later lies above the mark. A late event belongs to the window that it came in; its interaction and what was said of it
before are brought along in files of their own.

Traps: a long transaction anywhere in the PostgreSQL cluster holds the mark back; and a database restored by pg_dump
into another cluster carries foreign transaction ids: move feedback with `flytewheel feedback export` and `import`.

Rows are written as they are stored, without validating them again. Measured on 200,000 interactions of 1.2 kB with an
event each: writing costs 12 µs of CPU a row (half of it in the server), closing 3 µs, and memory stays at 60 MB.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from flytewheel.database import Connection, connect
from flytewheel.errors import FeedbackError
from flytewheel.feedback import slices
from flytewheel.feedback.slices import Counts
from flytewheel.feedback.stored import read_bodies
from flytewheel.records import canonical_json, to_jsonable

_MARK = """
WITH mark (high_xid) AS (SELECT pg_snapshot_xmin(pg_current_snapshot()))
SELECT high_xid::text,
    EXISTS (SELECT FROM interactions i WHERE i.source = ANY(%(sources)s) AND i.xid >= high_xid)
    OR EXISTS (SELECT FROM feedback_events e WHERE e.source = ANY(%(sources)s) AND e.xid >= high_xid)
    OR EXISTS (SELECT FROM released_votes r WHERE r.series = %(series)s AND r.xid >= high_xid),
    high_xid < %(low_xid)s::xid8
FROM mark
"""
_COLUMNS = (
    "series, number, sources, low_xid::text, high_xid::text, interactions, events, releases, revisited,"
    " earlier_events, digest"
)
_INSERT = """
INSERT INTO windows (series, number, sources, low_xid, high_xid, interactions, events, releases, revisited,
    earlier_events, digest)
VALUES (%(series)s, %(number)s, %(sources)s, %(low_xid)s::xid8, %(high_xid)s::xid8, %(interactions)s, %(events)s,
    %(releases)s, %(revisited)s, %(earlier_events)s, %(digest)s)
"""


@dataclass(frozen=True, slots=True)
class Window:
    """A closed window: the rows of `sources` with `low_xid` ≤ xid < `high_xid` (see `flytewheel.feedback.slices`).

    `interactions`, `events` and `releases` (votes that a person let out of the quarantine) are its own rows when it
    closed; `revisited` interactions of earlier windows are brought along with `earlier_events`. `digest` is over the
    ids and digests of its own rows.
    """

    series: str
    number: int
    sources: tuple[str, ...]
    low_xid: str
    high_xid: str
    interactions: int
    events: int
    releases: int
    revisited: int
    earlier_events: int
    digest: str

    @property
    def counts(self) -> Counts:
        return Counts(**{item.name: getattr(self, item.name) for item in fields(Counts)})

    @property
    def size(self) -> int:
        """Interactions that it brings, its own and the revisited."""
        return self.interactions + self.revisited

    def to_json(self) -> dict[str, Any]:
        """Gives the window as plain JSON."""
        return dict(to_jsonable(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` gave.

        Raises:
            FeedbackError: keys are missing or unknown.
        """
        if set(data) != {item.name for item in fields(cls)}:
            raise FeedbackError(f"not a window: {sorted(data)}; close a new one")
        return cls(**{**data, "sources": tuple(data["sources"])})


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing came to: the window to learn from, or `None` when there is too little yet.

    `again`: nothing came in since window `since` closed, and it is the one that `interactions` is about. Else
    `interactions` are those that a new window brings, and `since` is the number of the one before it (0: none).
    """

    window: Window | None
    interactions: int
    since: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class WrittenWindow:
    """A window in files. `skipped` own interactions and `skipped_events` were more than there was room for;
    `released` are ids of votes, among the written events, that a person let out of the quarantine.
    """

    window: Window
    skipped: int
    skipped_events: int
    skipped_revisited: int
    released: tuple[str, ...]


def name_series(name: str, sources: Sequence[str]) -> str:
    """The series of a model's name and its sources, in whatever order these are given."""
    return f"{name}/{'+'.join(quote(source, safe='') for source in sorted(set(sources)))}"


def close_window(
    database_url: str, name: str, sources: Sequence[str], *, at_least: int = 1, patience_s: float = 5.0
) -> Closing:
    """Closes the next window of a series over everything that was committed since the last one.

    Nothing is closed when it would bring fewer than `at_least` interactions, its own and the revisited. When nothing at
    all has come in, it is the last window again, so that any recipe can learn from the same rows once more.

    Args:
        database_url: PostgreSQL.
        name: of the model.
        sources: streams to learn from.
        at_least: interactions.
        patience_s: how long to wait while open transactions keep committed rows of these streams out (autovacuum can
            hold the mark back for a moment, and rows imported just now are wanted); then it closes all the same.

    Raises:
        FeedbackError: no source is named, `at_least` is not positive, or the database comes from another cluster.
        DatabaseError: PostgreSQL is away.
    """
    if not sources or at_least < 1:
        raise FeedbackError(f"a window needs a source and a row, got sources {list(sources)}, at least {at_least}")
    series, named = name_series(name, sources), tuple(sorted(set(sources)))
    with connect(database_url) as connection:
        # Two turns at once cut one after the other; the lock writes nothing, so it holds no mark back.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"window:{series}",))
        last = _read_last(connection, series)
        since = last.number if last else 0
        place: dict[str, Any] = {"series": series, "sources": list(named), "low_xid": last.high_xid if last else "0"}
        place["high_xid"] = _find_mark(connection, place, patience_s)
        counts = slices.count_rows(connection, place)
        if counts.empty and last is not None:
            return Closing(last if last.size >= at_least else None, last.size, since, again=True)
        brought = counts.interactions + counts.revisited
        if brought < at_least:
            return Closing(None, brought, since)
        window = _make_window(connection, place, since + 1, counts)
        connection.execute(_INSERT, {**window.to_json(), "sources": list(named)})
    return Closing(window, brought, since)


def cut_window(
    database_url: str, name: str, sources: Sequence[str], *, low_xid: str, at_least: int = 1, patience_s: float = 5.0
) -> Closing:
    """Cuts a window out of a series, from `low_xid` to now, and closes nothing: the next window has its rows as well.

    It has the number 0 and is in no table; whoever learns from it keeps it. Arguments and errors are those of
    `close_window`; too little gives no window.
    """
    series, named = name_series(name, sources), tuple(sorted(set(sources)))
    with connect(database_url) as connection:
        place: dict[str, Any] = {"series": series, "sources": list(named), "low_xid": low_xid}
        place["high_xid"] = _find_mark(connection, place, patience_s)
        counts = slices.count_rows(connection, place)
        brought = counts.interactions + counts.revisited
        window = _make_window(connection, place, 0, counts) if brought >= at_least else None
    return Closing(window, brought, 0)


def get_window(database_url: str, name: str, sources: Sequence[str], number: int) -> Window:
    """Gives a window that was closed before.

    Raises:
        FeedbackError: the series has none of this number.
        DatabaseError: PostgreSQL is away.
    """
    series = name_series(name, sources)
    with connect(database_url) as connection:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM windows WHERE series = %s AND number = %s", (series, number)
        ).fetchone()
        last = _read_last(connection, series)
    if row is None:
        found = f"its windows are 1 to {last.number}" if last else "it has none yet"
        raise FeedbackError(f"no window {number} in series {series}: {found}")
    return _to_window(row)


def list_windows(connection: Connection) -> list[Window]:
    """Every window, by series and number."""
    rows = connection.execute(f'SELECT {_COLUMNS} FROM windows ORDER BY series COLLATE "C", number').fetchall()
    return [_to_window(row) for row in rows]


def count_sources(database_url: str) -> dict[str, int]:
    """Interactions of every source in the database, for saying which ones a recipe does not look at."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT source, count(*) FROM interactions GROUP BY source ORDER BY source"
        ).fetchall()
    return {source: int(count) for source, count in rows}


def write_window(database_url: str, window: Window, out_dir: Path, *, limit: int | None = None) -> WrittenWindow:
    """Writes a closed window's rows and, last, `window.json`: the same bytes whenever it is written.

    `interactions.jsonl` and `feedback.jsonl` hold its own rows (released votes are events of it),
    `earlier_interactions.jsonl` and `earlier_feedback.jsonl` what is brought along; canonical JSON, ordered by time and
    id. With a `limit`, of its own interactions and of the revisited the newest that many each are written (by commit
    order: transaction, then id), with their events; the others are counted as skipped, and stay rows of this window.

    Raises:
        FeedbackError: rows have been erased since the window closed, or the limit is not positive.
        DatabaseError: PostgreSQL is away.
    """
    if limit is not None and limit < 1:
        raise FeedbackError(f"a window needs room for a row, got limit {limit}")
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "window.json").unlink(missing_ok=True)
    place: dict[str, Any] = {**window.to_json(), "sources": list(window.sources)}
    with connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL work_mem = '64MB'")
        _check_erased(window, slices.count_rows(connection, place))
        room = slices.make_room(connection, place, limit or 2**62)
        own = _write(connection, slices.INTERACTIONS, room, out_dir / "interactions.jsonl")
        events = _write(connection, slices.EVENTS, room, out_dir / "feedback.jsonl")
        revisited = _write(connection, slices.EARLIER_INTERACTIONS, room, out_dir / "earlier_interactions.jsonl")
        _write(connection, slices.EARLIER_EVENTS, room, out_dir / "earlier_feedback.jsonl")
        released = tuple(str(row[0]) for row in connection.execute(slices.RELEASED, room))
    written = WrittenWindow(
        window,
        skipped=window.interactions - own,
        skipped_events=window.events + window.releases - events,
        skipped_revisited=window.revisited - revisited,
        released=released,
    )
    told = to_jsonable(written)
    (out_dir / "window.json").write_bytes(canonical_json({**told.pop("window"), **told}) + b"\n")
    return written


def read_window(folder: Path) -> WrittenWindow:
    """Reads the `window.json` of a folder written by `write_window`.

    Raises:
        FeedbackError: there is none, or it is not a window's.
    """
    try:
        data = json.loads((folder / "window.json").read_text(encoding="utf-8"))
        told = {item.name: data.pop(item.name) for item in fields(WrittenWindow) if item.name != "window"}
    except (OSError, ValueError, KeyError) as error:
        raise FeedbackError(f"{folder}: no readable window.json ({error}); write the window again") from None
    return WrittenWindow(Window.from_json(data), **{**told, "released": tuple(told["released"])})


def _make_window(connection: Connection, place: Mapping[str, Any], number: int, counts: Counts) -> Window:
    digest = slices.digest_rows(connection, place)
    marks = (place["low_xid"], place["high_xid"])
    return Window(place["series"], number, tuple(place["sources"]), *marks, **asdict(counts), digest=digest)


def _check_erased(window: Window, found: Counts) -> None:
    if found == window.counts:
        return
    raise FeedbackError(
        f"the window closed over {window.interactions} interactions and {window.events} events, but"
        f" {found.interactions} and {found.events} are left"
        + (
            ""
            if (found.revisited, found.earlier_events) == (window.revisited, window.earlier_events)
            else f" ({found.revisited} of {window.revisited} revisited, with {found.earlier_events} of"
            f" {window.earlier_events} earlier events)"
        )
        + ": rows were erased since, so only another window can be learned from"
    )


def _find_mark(connection: Connection, place: Mapping[str, Any], patience_s: float) -> str:
    """Gives the mark, after waiting for transactions that keep rows out of it (each statement sees a new snapshot)."""
    deadline = time.monotonic() + patience_s
    while True:
        row = connection.execute(_MARK, place).fetchone()
        assert row is not None  # it always gives a row
        mark, kept_out, foreign = row
        if foreign:
            raise FeedbackError(
                f"the last window of {place['series']} ends at transaction {place['low_xid']}, this PostgreSQL is only"
                f" at {mark}: its data come from another cluster; bring them with `flytewheel backup` and `restore`, or"
                " feedback alone with `feedback export` and `import`, into a fresh database"
            )
        if not kept_out or time.monotonic() >= deadline:
            return str(mark)
        time.sleep(0.02)


def _read_last(connection: Connection, series: str) -> Window | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM windows WHERE series = %s ORDER BY number DESC LIMIT 1", (series,)
    ).fetchone()
    return None if row is None else _to_window(row)


def _to_window(row: Sequence[Any]) -> Window:
    series, number, sources, *others = row
    return Window(series, number, tuple(sources), *others)


def _write(connection: Connection, query: str, values: Mapping[str, Any], path: Path) -> int:
    count = 0
    with path.open("wb") as stream:
        for count, body in enumerate(read_bodies(connection, query, values), 1):  # noqa: B007 - the last number counts
            stream.write(body + b"\n")
    return count
