"""One connection to PostgreSQL, and how rows go into it: copied, each statement a transaction, and looked up in need.

A COPY straight into the table beat a staging table with INSERT … SELECT … ON CONFLICT: 40 µs of the server's CPU an
event against 66 in groups of 20, 25 against 30 in groups of 1,000 (docs/log.md). What a COPY cannot do, leave out what
is there already, a look-up before it does, which takes a third as long as the COPY. Nearly always there is nothing to
leave out: an event whose stream is known is copied at once, and only where the server refuses the whole (an event that
is known, an interaction that is not) are that round and the next ones looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from flytewheel.spool import split_columns
from router.log import events, rows
from router.log.events import EventRow
from router.log.outcomes import Outcome

# A plan made for any list of ids, while the table was small, reads all of it and compares each row with each id: 300 µs
# of the server's CPU an event in groups of 5,000, where a plan made for the list at hand takes 20.
_LIMITS = (
    "SET statement_timeout = '20s'; SET lock_timeout = '3s'; SET client_encoding = 'UTF8';"
    " SET plan_cache_mode = force_custom_plan"
)
_CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms: a network that swallows packets is a database that is away
    "application_name": "flytewheel log",
}
# SQLSTATE classes that say something of a row: cardinality, data, constraints, check options, limits, a trigger's word.
# All others (connection, read-only after a failover, deadlock, no such table, disk full …) pass, and are waited out.
_OF_A_ROW = ("21", "22", "23", "44", "54", "P0")
_TRIES = 5
_WARY = 32  # rounds that are looked up after one that was refused, or that had something to leave out

_KNOWN_INTERACTIONS = "SELECT interaction_id, digest FROM interactions WHERE interaction_id = ANY(%s::text[])"
_KNOWN = """
SELECT true, interaction_id, source FROM interactions WHERE interaction_id = ANY(%s::text[])
UNION ALL SELECT false, event_id, digest FROM feedback_events WHERE event_id = ANY(%s::text[])
"""
_QUARANTINE = """
INSERT INTO quarantine (digest, kind, source, reason, line) VALUES (%s, %s, %s, %s, %s) ON CONFLICT (digest) DO NOTHING
"""
_NOTE = """
INSERT INTO imports (kind, source, lines_read, stored, duplicates, quarantined)
VALUES (%(kind)s, %(source)s, %(count)s, 0, 0, jsonb_build_object(%(reason)s::text, %(count)s::bigint))
"""

Refuse = Callable[[bytes, str], None]


@dataclass(slots=True)
class Wary:
    """How many of the next rounds of events are looked up before they are copied."""

    rounds: int = 0


class Session:
    """A connection that is made when it is needed; errors are psycopg's, after which it is closed."""

    def __init__(self, url: str, wary: Wary | None = None) -> None:
        """`wary` is shared by the sessions that store what comes by one door."""
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None
        self._wary = wary or Wary()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def ping(self) -> None:
        """Raises psycopg.Error where the database takes no rows."""
        found = self.ask("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool", ())
        if found[0][0]:
            self.close()
            raise psycopg.OperationalError("the database is read-only")
        self.ask("SELECT 1 FROM interactions, feedback_events LIMIT 0", ())

    def ask(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return self.connected().execute(query.encode(), values).fetchall()

    def copy(self, table: str, columns: str, data: bytes) -> None:
        """Copies lines into a table, all or none."""
        statement = f"COPY {table} ({columns}) FROM STDIN".encode()
        with self.connected().cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(data)

    def connected(self) -> psycopg.Connection[Any]:
        """The connection, made anew where it broke."""
        if self._connection is None or self._connection.closed:
            self.close()
            self._connection = psycopg.connect(self._url, autocommit=True, **_CONNECT)
            self._connection.execute(sql.SQL(_LIMITS))
        return self._connection

    # -- interactions

    def store_interactions(self, lines: list[bytes], refuse: Refuse) -> int:
        """Stores lines, each id once; `refuse` is told those that can never be stored. Gives how many went in."""
        lines.sort()  # in one order everywhere: who waits for another's rows must not hold rows that the other wants
        try:
            self.copy("interactions", rows.COLUMNS, _join(lines))
            return len(lines)
        except psycopg.errors.UniqueViolation:
            pass
        except psycopg.Error as error:
            if not is_fault_of_row(error):
                raise
            return self._store_halves(lines, refuse, error)
        fresh = self._leave_out_known(lines, refuse)
        return self.store_interactions(fresh, refuse) if fresh else 0

    def _store_halves(self, lines: list[bytes], refuse: Refuse, error: psycopg.Error) -> int:
        if len(lines) == 1:
            refuse(lines[0], explain(error))
            return 0
        half = len(lines) // 2
        return self.store_interactions(lines[:half], refuse) + self.store_interactions(lines[half:], refuse)

    def _leave_out_known(self, lines: list[bytes], refuse: Refuse) -> list[bytes]:
        known = dict(self.ask(_KNOWN_INTERACTIONS, (as_array([rows.name_of(line) for line in lines]),)))
        fresh = []
        for line in lines:
            name, digest = rows.name_of(line), line.rsplit(b"\t", 1)[1].decode()
            if name not in known:
                known[name] = digest
                fresh.append(line)
            elif known[name] != digest:
                refuse(line, "conflict")
        return fresh

    # -- events

    def store_fresh(self, given: Sequence[EventRow]) -> bool:
        """Stores events of different ids by a COPY alone; false where nothing was stored and `store_events` is to tell
        them apart.
        """
        if self._wary.rounds or not all([row.line for row in given]):
            return False
        try:
            self._copy_events(sorted([row.line for row in given]))
        except psycopg.Error as error:
            if not is_fault_of_row(error):
                raise
            self._wary.rounds = _WARY
            return False
        return True

    def store_events(self, given: Sequence[EventRow], refuse: Callable[[EventRow, str], None]) -> list[Outcome]:
        """Stores events of different ids; of those that the database can never hold `refuse` is told, as conflicts."""
        for _ in range(_TRIES):
            about = as_array({row.interaction_id for row in given})
            found = self.ask(_KNOWN, (about, as_array([row.event_id for row in given])))
            sources = {name: source for said, name, source in found if said}
            known = {name: digest for said, name, digest in found if not said}
            outcomes = [_judge(row, sources, known) for row in given]
            self._wary.rounds = max(0, self._wary.rounds - 1) if outcomes.count("stored") == len(outcomes) else _WARY
            fresh = sorted(
                events.copy_line(row, sources[row.interaction_id])
                for row, outcome in zip(given, outcomes, strict=True)
                if outcome == "stored"
            )
            if not fresh:
                return outcomes
            try:
                self._copy_events(fresh)
                return outcomes
            except (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation):
                continue  # another process stored one of them, or an erasure took an interaction
            except psycopg.Error as error:
                if not is_fault_of_row(error):
                    raise
                if len(given) == 1:
                    refuse(given[0], explain(error))
                    return ["conflict"]
                half = len(given) // 2
                return self.store_events(given[:half], refuse) + self.store_events(given[half:], refuse)
        raise psycopg.OperationalError(f"rows changed under {_TRIES} tries to store them")

    def _copy_events(self, lines: list[bytes]) -> None:
        self.copy("feedback_events", events.COLUMNS, _join(lines))

    # -- what cannot be stored

    def quarantine(self, kind: str, source: str, reason: str, digest: str, line: str) -> None:
        """Keeps a row that cannot be stored, once, and notes it for the audit as an import of one bad line."""
        connection = self.connected()
        line = line.replace("\0", "�")
        with connection.transaction():
            held = (f"{kind}:{digest}", kind, source, reason, line)
            if connection.execute(_QUARANTINE, held).rowcount:
                connection.execute(_NOTE, {"kind": kind, "source": source, "count": 1, "reason": reason})


def as_array(names: Collection[str]) -> str:
    """Texts as PostgreSQL's array, which psycopg takes 5 µs a text for."""
    joined = '","'.join(names)
    if "\\" in joined or joined.count('"') != 2 * max(0, len(names) - 1):
        joined = '","'.join(name.replace("\\", "\\\\").replace('"', '\\"') for name in names)
    return f'{{"{joined}"}}' if names else "{}"


def is_fault_of_row(error: psycopg.Error) -> bool:
    """Whether a row itself cannot be stored, by this server or any; everything else passes, and is tried again."""
    return error.sqlstate is not None and error.sqlstate.startswith(_OF_A_ROW)


def explain(error: psycopg.Error) -> str:
    """Why a row was refused, without a word of what is in it."""
    name = type(error).__name__
    return f"refused by PostgreSQL: {name} ({error.sqlstate})"


def read_interaction(line: bytes) -> tuple[str, str, str]:
    """Source, digest and body of an interaction's line."""
    _, source, _, _, body, digest = split_columns(line)
    return source.decode(), digest.decode(), body.decode()


def _join(lines: Sequence[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n"


def _judge(row: EventRow, sources: dict[str, str], known: dict[str, str]) -> Outcome:
    digest = known.get(row.event_id)
    if digest is not None:
        return "duplicate" if digest == row.digest else "conflict"
    return "stored" if row.interaction_id in sources else "unknown"
