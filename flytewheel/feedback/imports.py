"""Imports recorded logs into PostgreSQL: every id once, whatever is sent how often.

An import is one transaction: lines are copied into temporary tables and inserted from there with ON CONFLICT DO
NOTHING, so a kill in the middle stores nothing and the same files again store nothing new. The same id with another
body is a conflict: the first one stays (within a file: the earlier line), the other is quarantined. An event for an
unknown interaction is quarantined too, and leaves the quarantine when its log is imported again after the interaction
has come; so does a row whose time lies more than a day ahead of the database's clock, once that time has come. Rows
that name each other in a circle are quarantined as such. Lines of somebody who was erased are counted and kept nowhere
(`flytewheel.forgotten`).

An event's stream (`source`) is its interaction's, not the import's: rows that are already stored in another stream
stay there, and the report says so. Imports take turns by an advisory lock while they insert, not while they read.

Measured on 108,480 rows of about 500 bytes: 26 µs of CPU a row here (validation and canonical JSON most of it) and
27 µs in the server, partly at the same time: 23,800 rows/s on two cores, 30,000 when all are stored already.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from psycopg.types.json import Jsonb

from flytewheel.database import Connection, connect
from flytewheel.errors import FeedbackError
from flytewheel.feedback.import_report import ImportReport as ImportReport
from flytewheel.feedback.import_report import LogCounts as LogCounts
from flytewheel.feedback.links import find_circles, find_parent, read_stored
from flytewheel.feedback.logs import Entry, Fault, Record, check_log, scan_log
from flytewheel.forgotten import Forgotten, read_forgotten
from flytewheel.records import FeedbackEvent, Interaction, canonical_json, digest, file_digest

Progress = Callable[[str, int, int | None], None]
Kind = Literal["interaction", "feedback"]

ERASED = "erased person"  # the reason of lines that are refused and kept nowhere

_LOCK = 0x66656564  # any constant, the same for every process
_STEP = 1000

_STAGE = """
SET LOCAL work_mem = '64MB';
CREATE TEMPORARY TABLE staged_interaction (
    line_no bigint, id text, user_id text, at timestamptz, body jsonb, digest text, line text,
    fault text) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged_feedback (
    line_no bigint, id text, user_id text, at timestamptz, body jsonb, digest text, line text,
    interaction_id text, feedback_type text, fault text) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged_fault (digest text, kind text, reason text, line text) ON COMMIT DROP;
"""
# Rows go in by the order of their ids: writers that meet wait for each other, and never in a circle.
_INSERT_INTERACTIONS = """
INSERT INTO interactions (interaction_id, source, user_id, "timestamp", body, digest)
SELECT DISTINCT ON (id) id, %s, user_id, at, body, digest FROM staged_interaction s
WHERE NOT EXISTS (SELECT FROM interactions t WHERE t.interaction_id = s.id) ORDER BY id, line_no
ON CONFLICT (interaction_id) DO NOTHING
"""
_INSERT_EVENTS = """
INSERT INTO feedback_events
    (event_id, interaction_id, source, user_id, feedback_type, "timestamp", body, digest, metadata)
SELECT DISTINCT ON (s.id) s.id, s.interaction_id, i.source, s.user_id, s.feedback_type, s.at, s.body, s.digest,
    s.body -> 'metadata'
FROM staged_feedback s JOIN interactions i USING (interaction_id)
WHERE NOT EXISTS (SELECT FROM feedback_events t WHERE t.event_id = s.id) ORDER BY s.id, s.line_no
ON CONFLICT (event_id) DO NOTHING
"""
_TABLES: dict[Kind, tuple[str, str]] = {
    "interaction": ("interactions", "interaction_id"),
    "feedback": ("feedback_events", "event_id"),
}
# What is stored already is a duplicate or a conflict, whatever else is wrong with it.
_NOT_STORED = "NOT EXISTS (SELECT FROM {table} t WHERE t.{key} = s.id)"
_FIND_FUTURE = f"""
UPDATE staged_{{kind}} s SET fault = 'timestamp in the future'
WHERE s.at > now() + interval '1 day' AND {_NOT_STORED}
"""
_FIND_CIRCLES = f"UPDATE staged_{{kind}} s SET fault = 'cycle of ids' WHERE s.id = ANY(%s) AND {_NOT_STORED}"
_FAULTY = "SELECT line_no, fault, line, digest FROM staged_{kind} WHERE fault IS NOT NULL ORDER BY line_no"
_DROP_FAULTY = "DELETE FROM staged_{kind} WHERE fault IS NOT NULL"
_HELD = """
SELECT s.line_no, CASE WHEN t.digest IS NULL THEN 'unknown interaction' ELSE 'conflict' END, s.line, s.digest
FROM staged_{kind} s LEFT JOIN {table} t ON t.{key} = s.id WHERE t.digest IS DISTINCT FROM s.digest ORDER BY s.line_no
"""
_RELEASE = """
DELETE FROM quarantine q USING staged_{kind} s JOIN {table} t ON t.{key} = s.id AND t.digest = s.digest
WHERE q.digest = '{kind}:' || s.digest
"""
_QUARANTINE = """
INSERT INTO quarantine (digest, kind, source, reason, line)
SELECT DISTINCT ON (digest) digest, kind, %s, reason, line FROM staged_fault ORDER BY digest
ON CONFLICT (digest) DO UPDATE SET reason = excluded.reason WHERE quarantine.reason <> excluded.reason
"""
_NOTE = """
INSERT INTO imports (kind, source, lines_read, stored, duplicates, quarantined) VALUES (%s, %s, %s, %s, %s, %s)
"""
_ELSEWHERE = """
SELECT i.source, count(DISTINCT s.id) FROM staged_interaction s
JOIN interactions i ON i.interaction_id = s.id AND i.digest = s.digest
WHERE i.source <> %s GROUP BY i.source ORDER BY i.source
"""
_OTHER_USERS = """
SELECT count(DISTINCT e.event_id) FROM staged_feedback s
JOIN feedback_events e ON e.event_id = s.id AND e.digest = s.digest
JOIN interactions i ON i.interaction_id = e.interaction_id WHERE i.user_id <> e.user_id
"""


def import_files(
    database_url: str,
    interactions: Path,
    feedback: Path,
    *,
    source: str,
    quarantine_dir: Path,
    erasure_key: str = "",
    progress: Progress | None = None,
) -> ImportReport:
    """Imports two logs in one transaction.

    Args:
        database_url: PostgreSQL, migrated.
        interactions: log of interactions, `.jsonl` or `.jsonl.gz`.
        feedback: log of events.
        source: stream that new interactions belong to.
        quarantine_dir: where lines that are not stored are written, one JSON object each; the file is named by the
            logs' content, so that importing them again replaces it.
        erasure_key: what people who were erased are known by; needed where somebody was.
        progress: told (what, lines read, `None`) every 1,000 lines.

    Raises:
        FeedbackError: a log cannot be read, the source has no name, or the key is not the one that people were erased
            with; nothing is stored then.
        DatabaseError: PostgreSQL is away; nothing is stored then either.
    """
    if not 0 < len(source) <= 200 or not source.isprintable():
        raise FeedbackError(f"expected a source named with 1 to 200 printable characters, got {source!r}")
    logs: dict[Kind, Path] = {"interaction": interactions, "feedback": feedback}
    for path in logs.values():
        check_log(path)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", source)[:80]
    target = quarantine_dir / f"{name}-{digest([source, *map(file_digest, logs.values())])[:12]}.jsonl"
    part = target.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        quarantine_dir.mkdir(parents=True, exist_ok=True)
        stream = part.open("wb")
    except OSError as error:
        raise FeedbackError(f"{quarantine_dir}: no quarantine can be written there ({error.strerror})") from None
    try:
        with stream, connect(database_url) as connection:
            counts, elsewhere, other_users = _Import(
                connection, source, stream, read_forgotten(connection, erasure_key), progress
            ).run(logs)
        held = part.stat().st_size > 0
        if held:
            part.replace(target)
        else:
            target.unlink(missing_ok=True)
    finally:
        part.unlink(missing_ok=True)
    return ImportReport(
        source, counts["interaction"], counts["feedback"], elsewhere, other_users, target if held else None
    )


class _Import:
    """One import, within its transaction."""

    def __init__(
        self,
        connection: Connection,
        source: str,
        quarantine: IO[bytes],
        forgotten: Forgotten,
        progress: Progress | None,
    ) -> None:
        self._connection = connection
        self._forgotten = forgotten
        self._source = source
        self._quarantine = quarantine
        self._progress = progress
        self._reasons: dict[Kind, Counter[str]] = {kind: Counter() for kind in _TABLES}
        self._parents: dict[Kind, dict[str, str]] = {kind: {} for kind in _TABLES}

    def run(self, logs: Mapping[Kind, Path]) -> tuple[dict[Kind, LogCounts], dict[str, int], int]:
        """Stores the logs; returns what became of their lines, of rows elsewhere, of other users' events."""
        execute = self._connection.execute
        execute(_STAGE)
        staged: dict[Kind, int] = {
            "interaction": self._copy("staged_interaction", self._interactions(logs["interaction"])),
            "feedback": self._copy("staged_feedback", self._events(logs["feedback"])),
        }
        faults: dict[Kind, int] = {kind: sum(reasons.values()) for kind, reasons in self._reasons.items()}
        execute("ANALYZE staged_interaction (id, digest), staged_feedback (id, digest, interaction_id)")
        execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for kind in _TABLES:
            found = self._hold_faulty(kind)
            faults[kind] += found
            staged[kind] -= found
        stored = {
            "interaction": execute(_INSERT_INTERACTIONS, (self._source,)).rowcount,
            "feedback": execute(_INSERT_EVENTS).rowcount,
        }
        counts: dict[Kind, LogCounts] = {}
        for kind, (table, key) in _TABLES.items():
            names = {"kind": kind, "table": table, "key": key}
            execute(_RELEASE.format(**names))
            held = self._hold_rows(kind, _HELD.format(**names))
            counts[kind] = LogCounts(
                read=staged[kind] + faults[kind],
                stored=stored[kind],
                duplicates=staged[kind] - stored[kind] - held,
                conflicts=self._reasons[kind]["conflict"],
                quarantined={reason: count for reason, count in sorted(self._reasons[kind].items()) if count},
            )
            note = counts[kind]
            execute(_NOTE, (kind, self._source, note.read, note.stored, note.duplicates, Jsonb(dict(note.quarantined))))
        self._quarantine.flush()
        self._copy("staged_fault", _read_faults(Path(self._quarantine.name)))
        execute(_QUARANTINE, (self._source,))
        elsewhere = {str(name): int(count) for name, count in execute(_ELSEWHERE, (self._source,)).fetchall()}
        others = execute(_OTHER_USERS).fetchone()
        return counts, elsewhere, int(others[0]) if others else 0

    def _hold_faulty(self, kind: Kind) -> int:
        """Holds the rows that only the database or the whole log can judge, and takes them out of the staged ones."""
        table, key = _TABLES[kind]
        names = {"kind": kind, "table": table, "key": key}
        parents = self._parents[kind]
        circles = find_circles({**read_stored(self._connection, parents, table=table, key=key), **parents})
        if circles:
            self._connection.execute(_FIND_CIRCLES.format(**names), (sorted(circles),))
        self._connection.execute(_FIND_FUTURE.format(**names))
        held = self._hold_rows(kind, _FAULTY.format(**names))
        self._connection.execute(_DROP_FAULTY.format(**names))
        return held

    def _copy(self, table: str, rows: Iterator[tuple[Any, ...]]) -> int:
        count = 0
        with self._connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the result
                copy.write_row(row)
        return count

    def _interactions(self, path: Path) -> Iterator[tuple[Any, ...]]:
        for number, found in self._scan("interaction", scan_log(path, Interaction)):
            record = found.record
            if self._forgotten.refuses(record.user_id, record.timestamp, [("interaction", record.interaction_id)]):
                self._reasons["interaction"][ERASED] += 1
                continue
            self._note_parent("interaction", record.interaction_id, record.metadata)
            head = (number, record.interaction_id, record.user_id, record.timestamp, found.body)
            yield (*head, found.digest, found.line, None)

    def _events(self, path: Path) -> Iterator[tuple[Any, ...]]:
        for number, found in self._scan("feedback", scan_log(path, FeedbackEvent)):
            record = found.record
            about = [("feedback", record.event_id), ("interaction", record.interaction_id)]
            if self._forgotten.refuses(record.user_id, record.timestamp, about):
                self._reasons["feedback"][ERASED] += 1
                continue
            head = (number, record.event_id, record.user_id, record.timestamp, found.body, found.digest, found.line)
            self._note_parent("feedback", record.event_id, record.metadata)
            yield (*head, record.interaction_id, record.feedback_type.value, None)

    def _note_parent(self, kind: Kind, name: str, metadata: Mapping[str, Any]) -> None:
        if metadata and (parent := find_parent(metadata)) is not None:
            self._parents[kind].setdefault(name, parent)

    def _scan(
        self, kind: Kind, lines: Iterator[tuple[int, Entry[Record] | Fault]]
    ) -> Iterator[tuple[int, Entry[Record]]]:
        """Passes the good lines on, holds the others."""
        for count, (number, found) in enumerate(lines, 1):
            if self._progress is not None and count % _STEP == 0:
                self._progress(f"read {kind}s" if kind == "interaction" else "read feedback", count, None)
            if isinstance(found, Fault):
                if self._forgotten.refuses_text(found.line):
                    self._reasons[kind][ERASED] += 1
                    continue
                self._hold(kind, number, found.reason, found.line, found.digest)
            else:
                yield number, found

    def _hold_rows(self, kind: Kind, query: str) -> int:
        held = 0
        with self._connection.cursor(name="held") as cursor:  # of the server: a whole log may be unknown
            for number, reason, line, seen in cursor.execute(query):
                self._hold(kind, number, reason, line, seen)
                held += 1
        return held

    def _hold(self, kind: Kind, number: int, reason: str, line: str, seen: str) -> None:
        """Writes a line into the quarantine file and counts it; the table is filled from the file, at the end."""
        self._reasons[kind][reason] += 1
        row = {"source": self._source, "kind": kind, "number": number, "reason": reason, "line": line}
        self._quarantine.write(canonical_json({**row, "digest": f"{kind}:{seen}"}) + b"\n")


def _read_faults(path: Path) -> Iterator[tuple[str, str, str, str]]:
    with path.open("rb") as stream:
        for line in stream:
            row = json.loads(line)
            yield row["digest"], row["kind"], row["reason"], row["line"]
