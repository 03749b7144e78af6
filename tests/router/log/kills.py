"""A log in a process of its own that is killed (-9) before, in the middle of, or after its n-th write.

Writes are those to the disk and to the database. What was acknowledged is written to a file of its own, by the system
call itself, as a client would have seen it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from router.log import Log
from router.log.database import Session
from tests.router.log.stage import event, record

When = Literal["before", "torn", "after"]
_FILES: tuple[tuple[Any, str], ...] = (
    (os, "fsync"),
    (os, "ftruncate"),
    (os, "unlink"),
    (os, "replace"),
    (os, "open"),
)


def fork(work: Callable[[], None]) -> int:
    """Runs `work` in a fork; gives how that ended: 0, or minus the signal."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def arm(place: int, when: When) -> None:
    """Lets this process be killed at its write number `place` from now on."""
    left = place

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def armed(write: Any, torn: Callable[..., Any] | None = None) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                if when == "after":
                    write(*args, **kwargs)
                elif when == "torn" and torn is not None:
                    torn(*args, **kwargs)
                die()
            return write(*args, **kwargs)

        return counted

    pwrite = os.pwrite
    os.pwrite = armed(pwrite, lambda fd, data, at: pwrite(fd, data[: len(data) // 2], at))
    for module, name in _FILES:
        setattr(module, name, armed(getattr(module, name)))
    for name in ("copy", "ask", "quarantine"):
        setattr(Session, name, armed(getattr(Session, name)))


def write_through(url: str, folder: Path, acknowledged: Path, place: int, when: When, number: int) -> int:
    """A log that takes interactions and events one by one and is killed at a write; gives how it ended."""

    async def run() -> None:
        log = Log(url, folder)
        fd = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        arm(place, when)
        for turn in range(number):
            name = f"i-{folder.name}-{place:03}{when}-{turn}"
            if log.put(record(name), "demo"):
                os.write(fd, f"{name}\n".encode())
            if turn % 2:
                (said,) = await log.store_events([event(f"e-{name}", name)])
                assert said == "stored", said
                os.write(fd, f"e-{name}\n".encode())
        await log.close(timeout_s=2.0)

    return fork(lambda: asyncio.run(run()))


def replay(url: str, folder: Path, place: int, when: When) -> int:
    """A successor that is killed at a write of its replay; gives how it ended."""

    async def run() -> None:
        arm(place, when)
        log = Log(url, folder)
        async with asyncio.timeout(20):
            while list(folder.glob("*.seg")):
                await asyncio.sleep(0.01)
        await log.close(timeout_s=2.0)

    return fork(lambda: asyncio.run(run()))
