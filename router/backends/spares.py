"""Which versions stay loaded although nobody needs them: previous champions, so that a rollback is instant.

A version that was left is the one that people go back to, and loading it takes the longest when it matters most. The
registry knows it as the alias `previous`, also after a restart. Each costs its memory, so there is a most; beyond it,
those that were left last are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from flytewheel.errors import FlytewheelError

Key = tuple[str, str]


class Spares:
    """`find(name)` asks, in a thread, for a model's previous champion; at most `most` stay, over all models."""

    def __init__(
        self, find: Callable[[str], str | None], most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._most = most
        self._clock = clock
        self._known: dict[str, str] = {}
        self._needed_at: dict[Key, float] = {}
        self._chosen: frozenset[Key] = frozenset()
        self._tried: set[Key] = set()

    async def choose(self, needed: frozenset[Key]) -> frozenset[Key]:
        """The spares beside what is needed; while the registry is away, by what it said last."""
        now = self._clock()
        self._needed_at |= dict.fromkeys(needed, now)
        names = {name for name, _ in needed}
        for name in names if self._most else ():
            try:
                found = await asyncio.to_thread(self._find, name)
            except FlytewheelError:
                continue
            if found is None:
                self._known.pop(name, None)
            else:
                self._known[name] = found
        spare = [(name, version) for name, version in self._known.items() if name in names]
        spare = [key for key in spare if key not in needed]
        spare.sort(key=lambda key: self._needed_at.get(key, float("-inf")), reverse=True)
        self._chosen = frozenset(spare[: self._most])
        self._tried &= self._chosen
        self._needed_at = {key: at for key, at in self._needed_at.items() if key in needed or key in self._chosen}
        return self._chosen

    def is_spare(self, key: Key) -> bool:
        """Whether nothing depends on this version, so that its failure is nobody's trouble."""
        return key in self._chosen

    def may_try(self, key: Key) -> bool:
        """Whether it is to be loaded: one that failed is not tried at every look."""
        fresh = key not in self._tried
        self._tried.add(key)
        return fresh
