"""Once a day the keeper deletes what is past its age (`flytewheel.feedback.expiry`), whichever replica comes first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from flytewheel.database import connect
from flytewheel.errors import FlytewheelError
from flytewheel.feedback.expiry import Expiry, expire, find_last

logger = logging.getLogger("router.log")

EVERY = timedelta(days=1)
_LOOK_S = 600.0
_LOCK = 0x61676564  # any constant, the same for every process


async def keep_retention(database_url: str, days: float, clock: Callable[[], datetime]) -> None:
    """Looks every ten minutes whether a day has passed since rows were expired last, for ever."""
    while True:
        try:
            done = await asyncio.to_thread(expire_daily, database_url, days, clock())
            if done is not None:
                logger.info(
                    "expired %d interactions with %d events older than %g days", done.interactions, done.events, days
                )
        except FlytewheelError as error:
            logger.warning("nothing was expired: %s", error)
        except Exception:  # an end of this loop would keep rows for ever, without a word
            logger.exception("nothing was expired")
        await asyncio.sleep(_LOOK_S)


def expire_daily(database_url: str, days: float, now: datetime) -> Expiry | None:
    """Expires rows; None where that happened within a day, or happens elsewhere this moment.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        free = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
        if free is None or not free[0]:
            return None
        last = find_last(connection)
        if last is not None and now - last < EVERY:
            return None
        return expire(database_url, days, now, by="router")
