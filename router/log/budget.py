"""How much of the disk the spool may take, over all processes that share it.

What is shed when it is full is the newest, and of the interactions: what is in the spool was promised to somebody, and
an event is worth nothing without the older interaction that it is about. The last eighth is kept for events: they are
a tenth of an interaction's size, and each is something that a person said.
"""

from __future__ import annotations

import time
from pathlib import Path

from flytewheel.spool import measure

LIMIT_BYTES = 1 << 30
_RESERVED = 8  # one part in so many is for events alone
_STEP_BYTES = 256 << 10  # written by one process before the folder is measured again
_WRITERS = 16  # so many processes may each be a step ahead of what was measured
_AGAIN_S = 0.5
_NEVER = float("-inf")
_LOOK_S = 2.0


class Budget:
    """The room that is left in one folder. Safe to share between two threads: its figures are single numbers."""

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES) -> None:
        self.limit = limit
        self._folder = folder
        self._step = min(_STEP_BYTES, limit // (4 * _WRITERS))
        self._used, self._since, self._at = 0, 0, _NEVER
        self._room = limit - _WRITERS * self._step
        self._room_of_all = self._room - limit // _RESERVED

    @property
    def used(self) -> int:
        """Bytes in the spool when it was measured last, and what this process wrote since."""
        return self._used + self._since

    def look(self) -> int:
        """Bytes in the spool, measured within the last seconds."""
        return self.refresh() if time.monotonic() - self._at > _LOOK_S else self.used

    def takes(self, size: int, *, reserved: bool = False) -> bool:
        """Whether there is room for `size` bytes more, which are counted as written then.

        Args:
            size: in bytes.
            reserved: what may also go into the last eighth.
        """
        room = (self._room if reserved else self._room_of_all) - size
        if self._since >= self._step or self._at == _NEVER:
            self.refresh()
        if self._used + self._since > room:
            if time.monotonic() - self._at >= _AGAIN_S:
                self.refresh()
            if self._used + self._since > room:
                return False
        self._since += size
        return True

    def refresh(self) -> int:
        """Measures the folder; gives the bytes in it."""
        self._since, self._at = 0, time.monotonic()
        self._used = measure(self._folder)
        return self._used
