"""Keeps the keys of this process in step with PostgreSQL: told of every change, and asking every few seconds besides.

A key that was made opens, and one that was revoked is refused, some milliseconds after the command has returned. With
the database away the last known keys go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg

from flytewheel.api_keys import CHANNEL, list_keys
from flytewheel.database import describe_url, last_line
from flytewheel.errors import FlytewheelError
from flytewheel.settings import Settings
from router.access.keys import Keys

logger = logging.getLogger("router.access")

_POLL_S = 5.0
_PAUSE_S = 1.0


async def watch_keys(settings: Settings, keys: Keys, changed: Callable[[], Awaitable[None]]) -> None:
    """Reads the keys at every change, for ever; `changed` is called after each reading."""
    url = settings.database_url or ""
    failing = None
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=5) as connection:
                await connection.execute(f"LISTEN {CHANNEL}".encode())
                while True:
                    keys.replace(await asyncio.to_thread(list_keys, url))
                    await changed()
                    failing = None
                    async for _ in connection.notifies(timeout=_POLL_S, stop_after=1):
                        pass
        except (psycopg.Error, OSError, FlytewheelError) as error:  # away, or without our tables yet
            if failing != (failing := last_line(error)):
                logger.warning("API keys cannot be read from %s (%s)", describe_url(url), failing)
            with suppress(asyncio.TimeoutError):
                await asyncio.sleep(_PAUSE_S)
