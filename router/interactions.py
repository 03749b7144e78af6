"""Decides what is remembered of an answered request, and writes it without making anyone wait.

A row goes to PostgreSQL through one background task, in batches. While the database is away, or takes no rows, answers
go on and rows wait in a queue of bounded length; when that is full the newest are dropped and counted, as is a row that
could never be stored. Shutting down writes what is left. Whoever needs a row to be there (feedback comes back within a
second of the answer) waits for its id with `settled`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg

from flytewheel.database import describe_url, last_line
from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.store import INSERT_INTERACTION
from flytewheel.records import Interaction

logger = logging.getLogger("router.interactions")

_LONGEST_PAUSE_S = 5.0

Row = dict[str, Any]  # the values of INSERT_INTERACTION


class InteractionWriter:
    """Writes interactions to PostgreSQL in the background."""

    def __init__(self, database_url: str, *, limit: int = 10_000, batch: int = 200) -> None:
        self.dropped = 0
        self.written = 0
        self.failing: str | None = None
        self._url = database_url
        self._batch = batch
        self._queue: asyncio.Queue[Row] = asyncio.Queue(limit)
        self._open: dict[str, asyncio.Future[None]] = {}
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Rows in the queue."""
        return self._queue.qsize()

    def expect(self, interaction_id: str) -> None:
        """Announces a row: `settled` waits for it from now on, until `put` wrote it or `forget`."""
        self._open[interaction_id] = asyncio.get_running_loop().create_future()

    def forget(self, interaction_id: str) -> None:
        """The announced row will not come."""
        self._settle(interaction_id)

    def put(self, interaction: Interaction, source: str) -> bool:
        """Queues a row; false when it was dropped, because the queue is full or PostgreSQL could not hold it."""
        interaction_id = interaction.interaction_id
        try:
            body, digest = encode_body(interaction)
            row: Row = {"id": interaction_id, "source": source, "user_id": interaction.user_id}
            self._queue.put_nowait(row | {"timestamp": interaction.timestamp, "body": body, "digest": digest})
        except (asyncio.QueueFull, FeedbackError) as error:
            self.dropped += 1
            self._settle(interaction_id)
            logger.error("interaction %s was dropped: %s", interaction_id, error or "the queue is full")
            return False
        return True

    async def settled(self, interaction_id: str, timeout_s: float) -> bool:
        """Waits until an announced row is written or given up; true at once for an id that was never announced."""
        future = self._open.get(interaction_id)
        if future is None:
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(future), timeout_s)
        return future.done()

    async def close(self, *, timeout_s: float = 8.0) -> None:
        """Writes what is queued, for at most `timeout_s`, then ends."""
        try:
            await asyncio.wait_for(self._queue.join(), timeout_s)
        except TimeoutError:
            logger.error("%d interactions were not written: %s", self.waiting, self.failing)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._disconnect()

    async def _run(self) -> None:
        while True:
            rows = [await self._queue.get()]
            while len(rows) < self._batch and not self._queue.empty():
                rows.append(self._queue.get_nowait())
            await self._write_until_done(rows)
            for row in rows:
                self._settle(row["id"])
                self._queue.task_done()

    async def _write_until_done(self, rows: Sequence[Row]) -> None:
        pause_s = 0.1
        while True:
            try:
                await self._write(rows)
            except (psycopg.DataError, psycopg.IntegrityError) as error:  # a row's own fault
                if len(rows) > 1:
                    for row in rows:
                        await self._write_until_done([row])
                else:
                    self.dropped += 1
                    logger.error("interaction %s cannot be stored: %s", rows[0]["id"], last_line(error))
                return
            except (psycopg.Error, OSError) as error:  # away, or read-only after a failover, or without our tables
                self.failing = last_line(error)
                logger.warning("PostgreSQL at %s takes no rows (%s); retrying", describe_url(self._url), self.failing)
                await self._disconnect()
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
            else:
                self.failing = None
                return

    async def _write(self, rows: Sequence[Row]) -> None:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(self._url, connect_timeout=5)
        # In one order everywhere: who waits for another's rows (an import, a copy of ours that is still committing)
        # must not hold rows that the other waits for.
        ordered = sorted(rows, key=lambda row: str(row["id"]))
        async with self._connection.transaction(), self._connection.cursor() as cursor:
            await cursor.executemany(INSERT_INTERACTION, ordered)
        self.written += len(rows)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                await connection.close()

    def _settle(self, interaction_id: str) -> None:
        future = self._open.pop(interaction_id, None)
        if future is not None and not future.done():
            future.set_result(None)
