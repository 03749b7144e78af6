"""Hears at once what other routers and commands changed: PostgreSQL's NOTIFY, on a connection of its own.

A notification only says where to look; what is true is read from the tables. Whatever was missed while nobody listened
is found by the reading that follows each new connection, and by the poll.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg
from psycopg.conninfo import make_conninfo

from flytewheel.database import CHANGES, last_line

logger = logging.getLogger("router.keeper")

LONGEST_PAUSE_S = 5.0
_ALIVE = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}  # seconds


async def listen(database_url: str, hear: Callable[[str, str], None]) -> None:
    """Calls `hear(kind, name)` for every change, and `hear("all", "")` after each new connection; runs for ever."""
    pause_s = 0.1
    while True:
        try:
            url = make_conninfo(database_url, **_ALIVE)
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANGES}".encode())
                hear("all", "")
                pause_s = 0.1
                async for notice in connection.notifies():
                    kind, _, name = notice.payload.partition(" ")
                    hear(kind, name)
        except (psycopg.Error, OSError) as error:
            logger.info("nobody tells of changes (%s); asking again", last_line(error))
        await asyncio.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
