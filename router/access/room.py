"""All connections of a process: their limits, and which of them go when too many only wait.

Where more than `waiting` connections wait for a request, the one that has waited longest is closed for the newest: a
flood of idle connections costs itself, and a client whose idle connection goes opens another.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.access.wire import GuardedProtocol

_SWEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds of one connection, and of all that wait.

    Attributes:
        fields: headers of a request, trailers too.
        head_bytes: of the request line and the headers.
        head_s: from the first byte, or from the connection, to the end of the headers.
        body_s: that a body may take in any case.
        body_rate: bytes a second that it must bring from then on.
        stall_s: that a client may take nothing of an answer that waits for it.
        discarded: bytes of a body that is read only to be thrown away, its request being refused.
        waiting: connections without a request.
        last_s: that a request may still be on its way when the server ends.
    """

    fields: int = 100
    head_bytes: int = 32 << 10
    head_s: float = 10.0
    body_s: float = 20.0
    body_rate: int = 8 << 10
    stall_s: float = 60.0
    discarded: int = 64 << 20
    waiting: int = 4096
    last_s: float = 0.2


class Room:
    """All connections of a process."""

    def __init__(self, limits: WireLimits) -> None:
        self.limits = limits
        self._all: set[GuardedProtocol] = set()
        self._waiting: dict[GuardedProtocol, None] = {}  # in the order in which they began to wait
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, connection: GuardedProtocol) -> None:
        """A connection was opened."""
        self._all.add(connection)
        self.wait(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(_SWEEP_S, self._sweep, connection.loop)

    def wait(self, connection: GuardedProtocol) -> None:
        """A connection has no request."""
        self._waiting[connection] = None
        if len(self._waiting) > self.limits.waiting:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.transport.close()

    def serve(self, connection: GuardedProtocol) -> None:
        """A connection has one."""
        self._waiting.pop(connection, None)

    def leave(self, connection: GuardedProtocol) -> None:
        """A connection is closed."""
        self._all.discard(connection)
        self._waiting.pop(connection, None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        for connection in tuple(self._all):
            connection.check(now)
        self._timer = loop.call_later(_SWEEP_S, self._sweep, loop) if self._all else None
