"""What remembering costs: µs of CPU an interaction and an event, in the worker and in PostgreSQL.

A real PostgreSQL with fsync on, on the same cores. `before` is the way that the log departs from: a pydantic record,
its dump, Python's json, one INSERT … ON CONFLICT a row through an asynchronous connection. Goals are ratios of both in
one run: beside other work (load 10 on two cores) the same code takes up to twice the CPU time.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
import uvloop

from benchmarks import Goal, report
from flytewheel.database import migrate
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.store import INSERT_EVENT, INSERT_INTERACTION
from flytewheel.local import places, postgres
from flytewheel.records import FeedbackEvent, Interaction
from router.log import EventRow, Log, encode_event
from router.log.rows import encode_interaction

_PASSWORD = "of-the-benchmark"
_BATCH = 1000
_SENDERS = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of so many rows in µs each, and the wall time in s; `loop` is the event loop's part of `worker`."""

    worker: float
    loop: float
    server: float
    wall_s: float

    @property
    def all(self) -> float:
        return self.worker + self.server

    def __str__(self) -> str:
        return f"worker {self.worker:.1f} µs (event loop {self.loop:.1f}), PostgreSQL {self.server:.1f} µs a row"


def measure(quick: bool) -> list[Goal]:
    """All figures."""
    number = 4_000 if quick else 40_000
    with started() as (url, server), tempfile.TemporaryDirectory() as spool:
        return uvloop.run(_measure(url, server, Path(spool), number))  # as the router's workers do


async def _measure(url: str, server: psutil.Process, spool: Path, number: int) -> list[Goal]:
    records = [make_record() for _ in range(number)]
    begun = time.thread_time()
    for record in records[:2000]:
        encode_interaction(record, "demo")
    encoding = (time.thread_time() - begun) / min(number, 2000) * 1e6
    before = await _measure_before(url, server, [make_record() for _ in range(number // 10)])
    log = Log(url, spool)

    async def put() -> None:
        for place, record in enumerate(records):
            assert log.put(record, "demo")
            if place % 10 == 0:
                await asyncio.sleep(0)
        while log.state.waiting:
            await asyncio.sleep(0.005)

    interactions = await cost(server, number, put)
    ids = [record["interaction_id"] for record in records]
    before_batched = await _measure_events_before(url, server, ids[: number // 10], 200)
    rows, encoding_event = _encode_events(ids)

    async def batches() -> None:
        waiting = [log.store_events(rows[start : start + _BATCH]) for start in range(0, number, _BATCH)]
        for told in await asyncio.gather(*waiting):
            assert set(told) == {"stored"}

    batched = await cost(server, number, batches)
    before_single = await _measure_events_before(url, server, ids[: number // 20], 1)
    singles, _ = _encode_events(ids[: number // 2])

    async def single() -> None:
        left = iter(singles)

        async def sender() -> None:
            for row in left:
                assert await log.store_events([row]) == ["stored"]

        await asyncio.gather(*(sender() for _ in range(_SENDERS)))

    alone = await cost(server, len(singles), single)
    await log.close()
    print(f"an interaction of {len(encode_interaction(records[0], 'demo'))} bytes: encoding {encoding:.1f} µs")
    print(f"interactions: {interactions}; before: {before}")
    print(f"events, encoding {encoding_event:.1f} µs; batches of {_BATCH}: {batched}; before: {before_batched}")
    print(f"events, {_SENDERS} senders: {alone}; {len(singles) / alone.wall_s:,.0f}/s; before: {before_single}")
    return [
        Goal("event loop's CPU of an interaction before, times ours", before.loop / interactions.loop, 2.5, False),
        Goal("the worker's CPU of an interaction before, times ours", before.worker / interactions.worker, 2, False),
        Goal(
            "CPU of an event in batches with PostgreSQL's before, times ours",
            before_batched.all / (batched.all + encoding_event),
            3,
            False,
        ),
        Goal(
            "CPU of a durable event by itself with PostgreSQL's before, times ours",
            before_single.all / (alone.all + encoding_event),
            3,
            False,
        ),
    ]


def _encode_events(ids: list[str]) -> tuple[list[EventRow], float]:
    """A thumb for each interaction, and the µs of CPU that one takes."""
    fields = [make_fields(name) for name in ids]
    begun = time.thread_time()
    rows = [encode_event(each, proven=True, source="demo") for each in fields]
    return rows, 1e6 * (time.thread_time() - begun) / len(ids)


async def _measure_before(url: str, server: psutil.Process, records: list[dict[str, Any]]) -> Cost:
    def values(record: dict[str, Any]) -> dict[str, Any]:
        interaction = Interaction(**record)
        body, digest = encode_body(interaction)
        value = {"id": interaction.interaction_id, "source": "demo", "user_id": interaction.user_id}
        return value | {"timestamp": interaction.timestamp, "body": body, "digest": digest}

    return await _insert(url, server, INSERT_INTERACTION, [partial(values, record) for record in records], 200)


async def _measure_events_before(url: str, server: psutil.Process, ids: list[str], group: int) -> Cost:
    def values(name: str) -> dict[str, Any]:
        event = FeedbackEvent(**make_fields(name))
        body, digest = encode_body(event)
        value = {"id": event.event_id, "interaction_id": name, "user_id": event.user_id, "body": body}
        said = {"feedback_type": event.feedback_type, "timestamp": event.timestamp, "digest": digest}
        return value | said

    return await _insert(url, server, INSERT_EVENT, [partial(values, name) for name in ids], group)


async def _insert(
    url: str, server: psutil.Process, query: str, rows: Sequence[Callable[[], dict[str, Any]]], group: int
) -> Cost:
    """Makes rows and inserts them, so many in a transaction."""
    async with await psycopg.AsyncConnection.connect(url) as connection:

        async def run() -> None:
            for start in range(0, len(rows), group):
                async with connection.transaction(), connection.cursor() as cursor:
                    await cursor.executemany(query.encode(), [make() for make in rows[start : start + group]])

        return await cost(server, len(rows), run)


async def cost(server: psutil.Process, number: int, work: Callable[[], Awaitable[None]]) -> Cost:
    """Runs `work`, which handles so many rows, and gives what it took."""
    before = _server_cpu_s(server), time.process_time(), time.thread_time(), time.perf_counter()
    await work()
    after = _server_cpu_s(server), time.process_time(), time.thread_time(), time.perf_counter()
    served, worker, loop, wall_s = (end - start for start, end in zip(before, after, strict=True))
    return Cost(1e6 * worker / number, 1e6 * loop / number, 1e6 * served / number, wall_s)


def make_record() -> dict[str, Any]:
    """A turn as the proxy hands it over."""
    return {
        "interaction_id": uuid.uuid4().hex,
        "user_id": "ada@example.org",
        "timestamp": datetime.now(UTC),
        "query": "How do I drain a node before the deploy? " * 6,
        "response": "Cordon it first, then evict what runs there, one by one. " * 14,
        "history": [{"role": "system", "content": "You answer briefly. " * 8}],
        "model_version": "v1.202647.1",
        "latency_ms": 812.125,
        "arm": "control",
        "propensity": 0.9,
        "metadata": {"endpoint": "/v1/chat/completions", "stream": True, "first_token_ms": 31.5, "prompt_tokens": 140},
    }


def make_fields(interaction_id: str) -> dict[str, Any]:
    """A thumb as the feedback call hands it over."""
    fields = {"event_id": uuid.uuid4().hex, "interaction_id": interaction_id, "user_id": "ada@example.org"}
    said = {"feedback_type": "thumbs_up", "metadata": {"client": "web", "tier": "free"}}
    return fields | said | {"timestamp": datetime.now(UTC)}


@contextmanager
def started() -> Iterator[tuple[str, psutil.Process]]:
    """A PostgreSQL of its own, durable, and its process."""
    folder = Path(tempfile.mkdtemp(prefix="flytewheel-bench-"))
    folder.chmod(0o711)
    data_dir = places.choose_place(folder, places.unprivileged_account())
    process, port = postgres.start(data_dir, password=_PASSWORD, log=folder / "postgres.log")
    try:
        url = postgres.server_url(port, _PASSWORD, postgres.DATABASE)
        migrate(url)
        yield url, psutil.Process(process.pid)
    finally:
        postgres.stop(process)
        places.remove_place(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _server_cpu_s(server: psutil.Process) -> float:
    times = [server.cpu_times(), *(child.cpu_times() for child in server.children())]
    return sum(each.user + each.system for each in times)


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
