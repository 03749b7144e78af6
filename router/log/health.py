"""Whether the database takes rows, as all threads of a log know it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from flytewheel.database import describe_url, last_line

logger = logging.getLogger("router.log")

_ALARM_S = 60.0


class Health:
    """One word on the database, and how long it has been the word. `away` says why it takes no rows."""

    def __init__(self, url: str, failed: Callable[[], None] = lambda: None) -> None:
        """`failed` is called, in any thread, when the database stops to take rows."""
        self.away: str | None = None
        self._failed = failed
        self._where = describe_url(url)
        self._lock = threading.Lock()
        self._since = 0.0

    def fail(self, error: Exception) -> None:
        """The database took no rows; whoever tries next is the thread in the background."""
        with self._lock:
            said = str(error).partition("\n\tIs the server running")[0]  # libpq's last line is a question
            first, self.away = self.away is None, last_line(Exception(said))
            if first:
                self._since = time.monotonic()
        if first:
            logger.warning("PostgreSQL at %s takes no rows (%s): what comes goes to the spool", self._where, self.away)
            self._failed()

    def recover(self) -> None:
        """The database takes rows."""
        with self._lock:
            if self.away is None:
                return
            self.away, lasted = None, time.monotonic() - self._since
        logger.warning("PostgreSQL at %s takes rows again, after %.1f s", self._where, lasted)


class Alarm:
    """Says something at once, then at most once a minute, with how often it was meant."""

    def __init__(self, said: str) -> None:
        self._said = said
        self._count, self._next, self._last = 0, 0.0, float("-inf")

    @property
    def sounding(self) -> bool:
        """Whether it was meant within the last minute."""
        return time.monotonic() - self._last < _ALARM_S

    def raise_(self, why: str) -> None:
        """Once more; `why` holds nobody's words."""
        self._count += 1
        now = self._last = time.monotonic()
        if now >= self._next:
            logger.error("%s: %d since the last word (%s)", self._said, self._count, why)
            self._count, self._next = 0, now + _ALARM_S
