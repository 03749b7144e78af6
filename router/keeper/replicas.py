"""Counts the machines that serve behind one database, so that they divide what a key is allowed between them.

Each keeper says every few seconds that it is there, by the database's clock; who has not for `GONE_S` is gone, and its
part is the others' again. What is counted are tables of allowances (`router.access.rates`), not routers: two that share
a home share its table, and divide nothing. With the database away the last count stands.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import psycopg

from flytewheel.database import connect, last_line
from flytewheel.errors import DatabaseError

logger = logging.getLogger("router.keeper")

EVERY_S = 5.0
GONE_S = 4 * EVERY_S

_SAY = (
    "INSERT INTO router_replicas (replica_id) VALUES (%s)"
    " ON CONFLICT (replica_id) DO UPDATE SET seen_at = clock_timestamp()"
)
_FORGET = "DELETE FROM router_replicas WHERE seen_at < clock_timestamp() - make_interval(days => 1)"
_COUNT = "SELECT count(*) FROM router_replicas WHERE seen_at > clock_timestamp() - make_interval(secs => %s)"
_LEAVE = "DELETE FROM router_replicas WHERE replica_id = %s"


def name_replica(table: Path) -> str:
    """What the routers that share this table of allowances have in common, and no others: machine, disk and file."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    machine = boot.read_text().strip() if boot.exists() else socket.gethostname()
    status = table.stat()
    return hashlib.sha256(f"{machine} {status.st_dev} {status.st_ino}".encode()).hexdigest()[:32]


def count_replicas(database_url: str, replica: str) -> int:
    """Says that `replica` is there, and how many are.

    Raises:
        DatabaseError: the database is away.
        psycopg.Error: it has no such table yet.
    """
    with connect(database_url) as connection:
        connection.execute(_SAY, (replica,))
        connection.execute(_FORGET)
        row = connection.execute(_COUNT, (GONE_S,)).fetchone()
        assert row is not None
        return max(1, int(row[0]))


async def keep_counted(database_url: str, table: Path, take: Callable[[int], Awaitable[None]]) -> None:
    """Counts for ever, and hands on each new count; takes its own name back when it is cancelled."""
    replica, known = name_replica(table), 1
    try:
        while True:
            try:
                count = await asyncio.to_thread(count_replicas, database_url, replica)
            except (DatabaseError, psycopg.Error) as error:
                logger.debug("replicas are not counted: %s", last_line(error))
            else:
                if count != known:
                    logger.info("%d machines divide what keys are allowed", count)
                    known = count
                    await take(count)
            await asyncio.sleep(EVERY_S)
    finally:
        with suppress(DatabaseError, psycopg.Error, TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(_leave, database_url, replica), 1.0)


def _leave(database_url: str, replica: str) -> None:
    with connect(database_url, timeout_s=1) as connection:
        connection.execute(_LEAVE, (replica,))
