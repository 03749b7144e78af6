"""Carries rewards between the processes of all replicas: PostgreSQL's NOTIFY, and the stored events behind it.

A notice arrives within milliseconds or, when a connection breaks, not at all. What was stored is read again from the
table in half-open stretches of commit order, so that nothing is missed for long: events of a replayed spool, of an
import into a served name, of a process that died before its notice. `xid` is the transaction that stored an event
(flytewheel/migrations); a stretch ends where every older transaction has ended, so it is complete when it is read.

Nobody listens, nobody sends: notices go out only while some process has said that it listens.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from flytewheel.database import describe_url, last_line
from flytewheel.feedback.rewards import rank_vote, score_event
from flytewheel.recipe import Rewards
from flytewheel.records import EXPLICIT_TYPES, FeedbackEvent
from router.feedback.rewards import Note, RewardHub

logger = logging.getLogger("router.feedback")

CHANNEL = "flytewheel_rewards"
LISTENER = "flytewheel rewards"  # application_name of who listens
READ_AGAIN_S = 10.0
_PAYLOAD = 7_900  # bytes; PostgreSQL takes 8,000
_LOOK_S = 1.0
_MOST_PENDING = 50_000
_PAGE = 2_000

_LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
_SEND = "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload"
_MARK = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
_STRETCH = "source = ANY(%(names)s) AND xid >= %(low)s::xid8 AND xid < %(high)s::xid8"
_IDS = f"SELECT event_id FROM feedback_events WHERE {_STRETCH}"
NOTES = """
SELECT e.xid::text, e.body, e."timestamp", i.source, coalesce(i.body ->> 'model_version', ''), i.body ->> 'arm',
    (i.body ->> 'propensity')::double precision, i.body ->> 'experiment_id', i."timestamp", i.user_id
FROM feedback_events e JOIN interactions i USING (interaction_id) WHERE """

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, list[Note]]).decode


class RewardLink:
    """One process's way to the others.

    Args:
        database_url: PostgreSQL.
        hub: this process's subscribers.
        names: the served model names, whose events are read again.
    """

    def __init__(self, database_url: str, hub: RewardHub, names: Callable[[], Iterable[str]]) -> None:
        self.mark = "0"  # everything below has been told to this process's subscribers
        self.listening = asyncio.Event()
        self._url = database_url
        self._hub = hub
        self._names = names
        self._origin = secrets.token_hex(8)
        self._pending: list[Note] = []
        self._flush: asyncio.Task[None] | None = None
        self._listen: asyncio.Task[None] | None = None
        self._sender: psycopg.AsyncConnection[Any] | None = None
        self._listeners, self._looked_s = 0, float("-inf")
        hub.forward_to(self.send, self._may_be_heard)

    def send(self, notes: Sequence[Note]) -> None:
        """Sends this process's notes on, together with what else comes while PostgreSQL is busy."""
        if len(self._pending) < _MOST_PENDING:  # beyond it the table tells
            self._pending += notes
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._send_all())

    def start_listening(self) -> None:
        """Tells this process's subscribers what others store, from now on; called again it changes nothing."""
        if self._listen is None:
            self._listen = asyncio.create_task(self._keep_listening())

    async def close(self) -> None:
        """Ends sending and listening."""
        self._hub.forward_to(None)
        for task in (self._flush, self._listen):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self._sender is not None:
            await self._sender.close()

    async def read_stored(self, low: str) -> AsyncIterator[list[Note]]:
        """Stored events from mark `low` to the end of what is complete, page by page.

        Raises:
            psycopg.Error: the database is away, or `low` is no mark.
        """
        async with await psycopg.AsyncConnection.connect(self._url, connect_timeout=5, autocommit=True) as connection:
            high = await _read_mark(connection)
            async for notes in self._read_stretch(connection, low, high, lambda _: True):
                yield notes

    # -- sending

    async def _send_all(self) -> None:
        while self._pending:
            notes, self._pending = self._pending, []
            try:
                if self._sender is None or self._sender.closed:
                    self._sender = await psycopg.AsyncConnection.connect(
                        self._url, connect_timeout=5, autocommit=True, application_name="flytewheel router"
                    )
                    # A notice takes a transaction of its own; nobody needs that one to survive a power cut.
                    await self._sender.execute("SET synchronous_commit = off")
                if await self._is_heard(self._sender):
                    await self._sender.execute(_SEND, (CHANNEL, list(_pack(self._origin, notes))))
            except (psycopg.Error, OSError) as error:
                logger.warning("rewards are not sent on (%s); they are read from the table later", last_line(error))
                sender, self._sender = self._sender, None
                if sender is not None:
                    await sender.close()

    def _may_be_heard(self) -> bool:
        """Whether somebody listened when it was last looked, or it is time to look again."""
        if time.monotonic() - self._looked_s > _LOOK_S:
            return True
        return self._listeners > (1 if self.listening.is_set() else 0)

    async def _is_heard(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        if time.monotonic() - self._looked_s > _LOOK_S:
            self._looked_s = time.monotonic()
            row = await (await connection.execute(_LISTENERS, (LISTENER,))).fetchone()
            self._listeners = row[0] if row else 0
        return self._may_be_heard()

    # -- listening

    async def _keep_listening(self) -> None:
        pause_s = 0.2
        while True:
            try:
                await self._listen_once()
            except (psycopg.Error, OSError) as error:
                logger.warning("rewards of others are not heard from %s: %s", describe_url(self._url), last_line(error))
            pause_s = 0.2 if self.listening.is_set() else min(5.0, pause_s * 2)
            self.listening.clear()
            await asyncio.sleep(pause_s)

    async def _listen_once(self) -> None:
        connect = psycopg.AsyncConnection.connect
        async with await connect(
            self._url, connect_timeout=5, autocommit=True, application_name=LISTENER
        ) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            if self.mark == "0":
                self.mark = await _read_mark(connection)
            self.listening.set()
            while True:
                # After the wait, not before: a stretch ends where no notice for it can still be on its way.
                high = await _read_mark(connection)
                deadline = time.monotonic() + READ_AGAIN_S
                while (left := deadline - time.monotonic()) > 0:
                    async for notice in connection.notifies(timeout=left, stop_after=1):
                        self._hear(notice.payload)
                async for notes in self._read_stretch(connection, self.mark, high, self._hub.is_news):
                    self._hub.deliver(notes)
                self.mark = high

    def _hear(self, payload: str) -> None:
        try:
            origin, notes = _decode(payload)
        except msgspec.DecodeError:  # somebody else's, or of another release: the table tells
            return
        if origin != self._origin:
            self._hub.deliver(notes)

    async def _read_stretch(
        self, connection: psycopg.AsyncConnection[Any], low: str, high: str, wanted: Callable[[str], bool]
    ) -> AsyncIterator[list[Note]]:
        """Events of a stretch that are `wanted` by their ids: these are read first, they cost little."""
        cursor = await connection.execute(_IDS, {"names": list(self._names()), "low": low, "high": high})
        ids = [name for (name,) in await cursor.fetchall() if wanted(name)]
        for start in range(0, len(ids), _PAGE):
            cursor = await connection.execute(NOTES + "e.event_id = ANY(%s)", (ids[start : start + _PAGE],))
            rows = sorted(await cursor.fetchall(), key=lambda row: int(row[0]))
            yield [read_note(self._hub.rewards, *row[1:]) for row in rows]


async def _read_mark(connection: psycopg.AsyncConnection[Any]) -> str:
    row = await (await connection.execute(_MARK)).fetchone()
    assert row is not None
    return str(row[0])


def _pack(origin: str, notes: Sequence[Note]) -> Iterator[str]:
    """Payloads that hold all notes; one that is too long by itself is left to the table."""
    head = _encode(origin)
    parts: list[bytes] = []
    size = 0
    for part in map(_encode, notes):
        if parts and size + len(part) + 1 > _PAYLOAD - len(head) - 4:
            yield (b"[" + head + b",[" + b",".join(parts) + b"]]").decode()
            parts, size = [], 0
        if len(part) <= _PAYLOAD - len(head) - 4:
            parts.append(part)
            size += len(part) + 1
    if parts:
        yield (b"[" + head + b",[" + b",".join(parts) + b"]]").decode()


def read_note(
    rewards: Rewards, body: Any, at: datetime, name: str, version: str, arm: str | None, propensity: float | None,
    experiment_id: str | None, given: datetime, user: str,
) -> Note:  # fmt: skip
    """The note of a stored event, as a row of `NOTES` behind its first column."""
    event = FeedbackEvent.model_validate(body)
    return Note(
        event.event_id,
        event.interaction_id,
        event.feedback_type.value,
        max(-1.0, min(1.0, score_event(event, rewards))),
        event.feedback_type in EXPLICIT_TYPES,
        rank_vote(event.feedback_type),
        int(at.timestamp() * 1_000_000),
        name,
        version,
        arm or "champion",
        propensity,
        experiment_id,
        int(given.timestamp() * 1000),
        user,
    )
