"""Decides who is sent first to a backend that came back, where more waited for it than it takes at once.

A limit refuses at once what a backend has no room for (`limit`): it has been told to, by how late it answers. A backend
that was away has told nothing; it meets everybody who waited in the same moment, and would be "full" for all but the
first few dozen. So for as long as a first token may take after it came back, whoever it has no room for stands in a
line, first come first served, and takes the place of one that ends. Then the limit speaks for itself again: the line
is gone within that time, whether the backend kept up or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Line:
    """Those who wait for a place; `open_s` is how long it stands open after a return, `clock` gives seconds."""

    def __init__(self, open_s: float, clock: Callable[[], float]) -> None:
        self._open_s = open_s
        self._clock = clock
        self._until = float("-inf")
        self._places: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._places)

    def open(self) -> None:
        """The backend came back, and somebody waits for it."""
        self._until = self._clock() + self._open_s

    async def wait(self) -> bool:
        """Waits for a place, which is the caller's then; false where the line is closed, or closes before.

        Raises:
            GivenError: the caller was cancelled with a place in hand.
        """
        left_s = self._until - self._clock()
        if left_s <= 0:
            return False
        place = asyncio.get_running_loop().create_future()
        self._places.append(place)
        try:
            await asyncio.wait({place}, timeout=left_s)
        except asyncio.CancelledError:
            if place.done():
                raise GivenError from None
            raise
        finally:
            if not place.done():
                self._places.remove(place)
        return place.done()

    def give(self) -> bool:
        """Gives a place to whoever came first; false where nobody waits."""
        if not self._places:
            return False
        self._places.popleft().set_result(None)
        return True


class GivenError(asyncio.CancelledError):
    """Cancelled with a place in hand, which the caller gives back."""
