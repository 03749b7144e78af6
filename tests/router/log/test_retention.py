"""The keeper's daily look at what is past its age."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from router.log import Log
from router.log.retention import expire_daily, keep_retention
from tests.router.log.stage import ask, record, until

NOW = datetime.now(UTC)


async def fill(url: str, folder: Path) -> None:
    log = Log(url, folder)
    for days in (1, 9, 11, 400):
        assert log.put(record(f"i-{days}", timestamp=NOW - timedelta(days=days)), "demo")
    await log.close()


def test_it_happens_once_a_day_on_one_replica(url: str, tmp_path: Path) -> None:
    asyncio.run(fill(url, tmp_path))
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(x'61676564'::int)")
        assert expire_daily(url, 10, NOW) is None  # another replica is at it
    done = expire_daily(url, 10, NOW)
    assert done is not None
    assert done.interactions == 2
    assert ask(url, "SELECT interaction_id FROM interactions ORDER BY 1") == [("i-1",), ("i-9",)]
    assert expire_daily(url, 5, datetime.now(UTC) + timedelta(hours=23)) is None
    again = expire_daily(url, 5, datetime.now(UTC) + timedelta(hours=25))
    assert again is not None
    assert again.interactions == 1


def test_the_keepers_task_outlives_a_database_that_is_away(server: object, url: str, tmp_path: Path) -> None:
    asyncio.run(fill(url, tmp_path))

    async def run() -> None:
        away = asyncio.create_task(keep_retention("postgresql://nobody@127.0.0.1:1/none", 10, lambda: NOW))
        task = asyncio.create_task(keep_retention(url, 10, lambda: NOW))
        await until(lambda: ask(url, "SELECT count(*) FROM interactions") == [(2,)], what="expired")
        assert not away.done()
        for each in (task, away):
            each.cancel()
            with suppress(asyncio.CancelledError):
                await each

    asyncio.run(run())
