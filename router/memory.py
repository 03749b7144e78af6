"""Keeps a process's memory what it uses: glibc gives back what it holds, and threads share what they allocate from.

glibc gives each new thread an arena of its own, up to eight a core, and keeps what was freed in the middle of one. The
keeper starts a thread for every look at a server and every reading of a source: what these leave free counts as
resident for ever, although nothing is leaked. Two arenas are one for the loop and one for the threads; a trim gives
whole free pages back to the kernel (2 ms at 150 MiB).
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
_ARENAS = 2
TRIM_EVERY_S = 30.0


def share_arenas() -> None:
    """Has threads that are started from now on allocate from few arenas; nothing where the C library is not glibc."""
    if (mallopt := _find("mallopt")) is not None:
        mallopt(_ARENA_MAX, _ARENAS)


async def keep_trimmed(every_s: float = TRIM_EVERY_S) -> None:
    """Gives free pages back, for ever."""
    trim = _find("malloc_trim")
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, 0)  # ctypes lets go of the interpreter meanwhile


def _find(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)  # musl has neither
