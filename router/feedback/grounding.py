"""A live hallucination rate: answers that were to rest on a context are checked against it as they are logged.

The check (flytewheel/evaluation/groundedness) runs in a process of its own that gives way to everything else. A queue
of bounded length lies before it: when it is full, answers are skipped and counted, so that what is checked is a sample
of what is served. Counts go to `/metrics` by model, version and arm at once, and to the table `groundedness` beside the
interaction, when that is stored, where experiments read them. No text leaves memory for it, also where none is logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psycopg
from psycopg.types.json import Jsonb

from flytewheel.database import last_line
from router.metrics import Metrics

logger = logging.getLogger("router.feedback")

MOST_WAITING = 500
LONGEST = 100_000  # characters of context and answer together
TIMEOUT_S = 10.0  # of one answer
PATIENCE_S = 120.0  # for an interaction to be stored
_AHEAD = 8  # answers in the pipe, so that the other process never waits for us
_LINE = 1 << 20
_STORE = """
INSERT INTO groundedness (interaction_id, spans, unsupported, kinds)
SELECT interaction_id, spans, unsupported, kinds
FROM unnest(%s::text[], %s::int[], %s::int[], %s::jsonb[]) AS given (interaction_id, spans, unsupported, kinds)
JOIN interactions USING (interaction_id) ON CONFLICT (interaction_id) DO NOTHING
RETURNING interaction_id
"""


class Served(NamedTuple):
    """An answer to check: whose it is, and what it may rest on."""

    interaction_id: str
    name: str
    version: str
    arm: str
    answer: str
    texts: Sequence[str]


class _Found(NamedTuple):
    interaction_id: str
    spans: int
    unsupported: int
    kinds: dict[str, int]
    at_s: float


class Grounding:
    """Checks answers beside the event loop.

    Args:
        database_url: where the counts are stored; None stores none.
        metrics: counts `flytewheel_groundedness_*`.
        most_waiting: answers that may wait for the check.
    """

    def __init__(self, database_url: str | None, metrics: Metrics, *, most_waiting: int = MOST_WAITING) -> None:
        self._url = database_url
        self._metrics = metrics
        self._most = most_waiting
        self._waiting: deque[Served] = deque()
        self._found: deque[_Found] = deque(maxlen=10_000)
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process | None = None

    @property
    def waiting(self) -> int:
        """Answers that wait for the check."""
        return len(self._waiting)

    def offer(self, served: Served) -> bool:
        """Queues an answer for its check; false where it is skipped, because too many wait or it is too long."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._check_all()), asyncio.create_task(self._store_all())]
        long = len(served.answer) + sum(map(len, served.texts)) > LONGEST
        if long or len(self._waiting) >= self._most:
            self._metrics.grounding_skipped.labels("too long" if long else "behind").inc()
            return False
        self._waiting.append(served)
        self._arrived.set()
        return True

    async def close(self) -> None:
        """Stores what is known and ends; what waits is given up."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._end_process()
        if self._found:
            with suppress(psycopg.Error, OSError):
                await self._store(list(self._found))

    # -- checking

    async def _check_all(self) -> None:
        while True:
            self._arrived.clear()
            if not self._waiting:
                await self._arrived.wait()
            batch = [self._waiting.popleft() for _ in range(min(_AHEAD, len(self._waiting)))]
            try:
                process = await self._start_process()
                assert process.stdin is not None
                process.stdin.write(b"".join(map(_ask, batch)))
                for served in batch:
                    await asyncio.wait_for(self._read_one(process, served), TIMEOUT_S)
            except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
                logger.warning("answers were not checked against their context: %s", last_line(error))
                self._metrics.grounding_skipped.labels("failed").inc(len(batch))
                await self._end_process()
                await asyncio.sleep(1.0)

    async def _read_one(self, process: asyncio.subprocess.Process, served: Served) -> None:
        assert process.stdout is not None
        told = orjson.loads(await process.stdout.readuntil(b"\n"))
        if told["id"] != served.interaction_id:
            raise ValueError(f"expected the counts of {served.interaction_id}, got those of {told['id']}")
        labels = (served.name, served.version, served.arm)
        self._metrics.grounding_checked.labels(*labels).inc()
        self._metrics.grounding_spans.labels(*labels).inc(told["spans"])
        self._metrics.grounding_unsupported.labels(*labels).inc(told["unsupported"])
        if told["unsupported"]:
            self._metrics.grounding_ungrounded.labels(*labels).inc()
        if self._url is not None:
            now = time.monotonic()
            self._found.append(_Found(served.interaction_id, told["spans"], told["unsupported"], told["kinds"], now))

    async def _start_process(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            root = str(Path(__file__).resolve().parents[2])
            path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "flytewheel.evaluation.groundedness.desk",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": path},  # and no keys
            )  # fmt: skip
        return self._process

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            await process.wait()

    # -- storing

    async def _store_all(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if not self._found:
                continue
            batch = list(self._found)
            self._found.clear()
            try:
                stored = await self._store(batch)
            except (psycopg.Error, OSError) as error:
                logger.warning("groundedness is not stored yet: %s", last_line(error))
                stored = set()
            now = time.monotonic()
            self._found.extendleft(
                one for one in batch if one.interaction_id not in stored and now - one.at_s < PATIENCE_S
            )

    async def _store(self, batch: Sequence[_Found]) -> set[str]:
        assert self._url is not None
        async with await psycopg.AsyncConnection.connect(self._url, connect_timeout=5, autocommit=True) as connection:
            columns: tuple[Any, ...] = (
                [one.interaction_id for one in batch],
                [one.spans for one in batch],
                [one.unsupported for one in batch],
                [Jsonb(one.kinds) for one in batch],
            )
            return {name for (name,) in await (await connection.execute(_STORE, columns)).fetchall()}


def _ask(served: Served) -> bytes:
    asked = {"id": served.interaction_id, "answer": served.answer, "texts": list(served.texts)}
    try:
        return orjson.dumps(asked) + b"\n"
    except TypeError:  # a lone surrogate
        clean = [text.encode(errors="replace").decode() for text in (served.answer, *served.texts)]
        return orjson.dumps({**asked, "answer": clean[0], "texts": clean[1:]}) + b"\n"
