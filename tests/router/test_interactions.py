from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg

from flytewheel.records import Interaction
from router.interactions import InteractionWriter
from tests.router.live import free_port

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def make(number: int, **changes: object) -> Interaction:
    row = {"interaction_id": f"i-{number}", "user_id": "ada", "timestamp": NOW, "query": "?", "response": "!"}
    return Interaction.model_validate(row | changes)


def count(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM interactions").fetchone()
    return row[0] if row else 0


@asynccontextmanager
async def forwarded(database_url: str, port: int) -> AsyncIterator[None]:
    """Makes the database reachable on `port` of loopback."""
    real = urlsplit(database_url)

    open_ones: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        there, back = await asyncio.open_connection(real.hostname, real.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))
        for end in (back, writer):
            await end.wait_closed()

    server = await asyncio.start_server(forward, "127.0.0.1", port)
    async with server:
        yield
        await asyncio.wait(open_ones, timeout=10)


def test_closing_writes_what_is_queued(database_url: str) -> None:
    async def run() -> None:
        writer = InteractionWriter(database_url, batch=7)
        for number in range(50):
            assert writer.put(make(number), "demo")
        await writer.close()
        assert (writer.written, writer.waiting) == (50, 0)

    asyncio.run(run())
    assert count(database_url) == 50


def test_rows_wait_for_a_database_that_is_away_and_the_queue_is_bounded(database_url: str) -> None:
    port = free_port()
    url = database_url.replace(f":{urlsplit(database_url).port}/", f":{port}/")

    async def run() -> None:
        writer = InteractionWriter(url, limit=3, batch=1)
        for number in range(6):
            writer.expect(f"i-{number}")
            writer.put(make(number), "demo")
        # Nothing ran in between: the queue took three, the others are dropped and said.
        assert (writer.waiting, writer.dropped) == (3, 3)
        assert await writer.settled("i-5", 1.0)
        assert not await writer.settled("i-0", 0.3)
        assert writer.failing is not None
        async with forwarded(database_url, port):
            assert await writer.settled("i-0", 20.0)
            await writer.close()
        assert writer.failing is None

    asyncio.run(run())
    assert count(database_url) == 3


def test_settled_waits_for_an_announced_row_and_for_no_other(database_url: str) -> None:
    async def run() -> None:
        writer = InteractionWriter(database_url)
        assert await writer.settled("never announced", 0.0)
        writer.expect("i-1")
        assert not await writer.settled("i-1", 0.01)
        writer.put(make(1), "demo")
        assert await writer.settled("i-1", 10.0)
        assert count(database_url) == 1
        writer.expect("i-2")
        writer.forget("i-2")
        assert await writer.settled("i-2", 0.0)
        await writer.close()

    asyncio.run(run())


def test_a_row_that_postgresql_cannot_hold_is_dropped_alone(database_url: str) -> None:
    async def run() -> None:
        writer = InteractionWriter(database_url)
        assert writer.put(make(1), "demo")
        assert not writer.put(make(2, response="a\0b"), "demo")
        assert writer.put(make(3), "no\0source")
        assert writer.put(make(4), "demo")
        await writer.close()
        assert writer.dropped == 2

    asyncio.run(run())
    assert count(database_url) == 2


def test_rows_go_in_by_the_order_of_their_ids(database_url: str) -> None:
    """Two writers that share ids would wait for each other in a circle otherwise."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "CREATE TABLE arrived (place bigint GENERATED ALWAYS AS IDENTITY, id text);"
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN INSERT INTO arrived (id) VALUES (NEW.interaction_id); RETURN NEW; END $$;"
            "CREATE TRIGGER note BEFORE INSERT ON interactions FOR EACH ROW EXECUTE FUNCTION note()"
        )

    async def run() -> None:
        writer = InteractionWriter(database_url)
        for number in (3, 1, 2, 5, 4):
            assert writer.put(make(number), "demo")
        await writer.close()

    asyncio.run(run())
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT id FROM arrived ORDER BY place").fetchall()
    assert [row[0] for row in rows] == ["i-1", "i-2", "i-3", "i-4", "i-5"]


def test_rows_wait_for_a_database_that_is_read_only(database_url: str) -> None:
    """As after a failover, until the new primary is found: InternalError, no fault of the rows."""
    name = urlsplit(database_url).path[1:]

    def set_read_only(value: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}".encode())

    async def run() -> None:
        writer = InteractionWriter(database_url)
        writer.expect("i-1")
        writer.put(make(1), "demo")
        async with asyncio.timeout(20):
            while writer.failing is None:
                await asyncio.sleep(0.01)
        assert "read-only" in writer.failing
        await asyncio.to_thread(set_read_only, "off")
        assert await writer.settled("i-1", 20.0)
        assert (writer.dropped, writer.written) == (0, 1)
        await writer.close()

    set_read_only("on")
    asyncio.run(run())
    assert count(database_url) == 1
