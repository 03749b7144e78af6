"""Decides who may rate which answer: whoever holds its receipt, or a key with the scope `feedback`.

A receipt says all that is needed; nobody asks the database. With a key alone the interaction is looked up, many
requests' in one query; an answer that is not stored yet is waited for. The event belongs to the user that the
interaction belongs to, whoever sends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from flytewheel.database import describe_url, last_line
from router.receipts import Receipt, ReceiptBook, ReceiptError
from router.refusals import RefusedError

logger = logging.getLogger("router.feedback")

SETTLE_S = 5.0
_PATIENCE_S = (0.1, 0.4)
_FIND = """
SELECT interaction_id, user_id, source, "timestamp", coalesce(body ->> 'model_version', ''), body ->> 'arm',
    (body ->> 'propensity')::double precision, body ->> 'experiment_id', left(body ->> 'query', 2000)
FROM interactions WHERE interaction_id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A stored interaction as far as feedback needs it."""

    given: Receipt
    question: str


class Interactions:
    """Looks interactions up; requests that come while one query is under way share the next.

    Args:
        database_url: PostgreSQL.
        settled: waits until an announced interaction is written (`Log.settled`).
    """

    def __init__(self, database_url: str, settled: Callable[[str, float], Awaitable[bool]]) -> None:
        self._url = database_url
        self._settled = settled
        self._wanted: dict[str, asyncio.Future[Known | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def find(self, interaction_ids: Iterable[str]) -> Mapping[str, Known]:
        """Those that are stored.

        Raises:
            RefusedError: 503, the database is away, or an answer is not stored within SETTLE_S.
        """
        missing = [name for name in dict.fromkeys(interaction_ids) if "\0" not in name]
        settled = await asyncio.gather(*(self._settled(name, SETTLE_S) for name in missing))
        if not all(settled):
            raise RefusedError(503, "server_error", "the interaction is not stored yet; send the feedback again")
        found: dict[str, Known] = {}
        for pause_s in (*_PATIENCE_S, 0.0):
            known = await asyncio.gather(*(self._wait_for(name) for name in missing))
            found |= {name: one for name, one in zip(missing, known, strict=True) if one is not None}
            missing = [name for name in missing if name not in found]
            if not missing:
                break
            await asyncio.sleep(pause_s)  # another process may be about to store it
        return found

    async def close(self) -> None:
        """Closes the connection."""
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._disconnect()

    def _wait_for(self, name: str) -> asyncio.Future[Known | None]:
        future = self._wanted.get(name)
        if future is None:
            future = self._wanted[name] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_look_at)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._work())
        return future

    async def _work(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            try:
                rows = {known.given.interaction_id: known for known in await self._query(list(wanted))}
            except (psycopg.Error, OSError) as error:
                logger.warning("interactions cannot be looked up at %s: %s", describe_url(self._url), last_line(error))
                await self._disconnect()
                for future in wanted.values():
                    if not future.done():
                        future.set_exception(
                            RefusedError(503, "server_error", "the database is away; send the answer's receipt instead")
                        )
                continue
            for name, future in wanted.items():
                if not future.done():
                    future.set_result(rows.get(name))

    async def _query(self, names: list[str]) -> list[Known]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(self._url, connect_timeout=5, autocommit=True)
        cursor = await self._connection.execute(_FIND, (names,))
        return [_read_row(*row) for row in await cursor.fetchall()]

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def prove(book: ReceiptBook, interaction_id: str, receipt: str | None, *, keyed: bool, now_s: float) -> Receipt | None:
    """What the receipt says; None where a key opens the door instead.

    Raises:
        RefusedError: 401, neither was given; 403, the receipt is not this answer's, or has expired.
    """
    if receipt is None:
        if keyed:
            return None
        raise RefusedError(
            401,
            "invalid_request_error",
            "expected `receipt`: the x-flytewheel-receipt header of the answer, or a key with the scope 'feedback'",
        )
    try:
        return book.read(interaction_id, receipt, now_s)
    except ReceiptError as error:
        raise RefusedError(403, "permission_error", str(error)) from None


def _read_row(
    name: str, user: str, source: str, at: datetime, version: str, arm: str | None, propensity: float | None,
    experiment_id: str | None, question: str | None,
) -> Known:  # fmt: skip
    given_ms = int(at.timestamp() * 1000)
    receipt = Receipt(name, user, source, version, arm or "champion", propensity, experiment_id, given_ms)
    return Known(receipt, question or "")


def _look_at(future: asyncio.Future[Known | None]) -> None:
    """Takes note of an error that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
