"""Takes personal data out of texts, in a process of its own: `flytewheel.pii` holds Python's lock for milliseconds at a
time, which no stream should wait for.

The child (`redacting`) reads one JSON array of conversations a line and answers with one; it ends with its parent,
however that ends. A batch that it does not answer in time, or dies of, is given up: its rows are kept without their
texts, since nothing unredacted may touch the disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import orjson

from flytewheel.errors import FlytewheelError

logger = logging.getLogger("router.log")

_DEADLINE_S = 30.0
_START_S = 60.0  # the child's imports, on a machine that has other things to do
_LONGEST_LINE = 1 << 30


class RedactionError(FlytewheelError):
    """A batch was not redacted; its texts must not be kept."""


class Redactor:
    """The child process, started when it is first needed. One batch at a time; others wait."""

    def __init__(self, *, deadline_s: float = _DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def redact(self, conversations: Sequence[Sequence[str]]) -> list[list[str]]:
        """Redacts texts, each conversation by itself, in their order.

        Raises:
            RedactionError: the child died of it, or took too long; it is started anew for the next batch.
        """
        line = orjson.dumps(conversations) + b"\n"
        async with self._turn:
            started = self._process is None
            try:
                async with asyncio.timeout(self._deadline_s + (_START_S if started else 0.0)):
                    process = await self._ensure()
                    assert process.stdin is not None
                    assert process.stdout is not None
                    process.stdin.write(line)
                    await process.stdin.drain()
                    answer = await process.stdout.readline()
                    redacted: list[list[str]] = orjson.loads(answer)
            except (OSError, TimeoutError, ValueError) as error:
                self.kill()
                raise RedactionError(f"{len(conversations)} texts were not redacted: {type(error).__name__}") from None
            except BaseException:  # an answer that nobody waited for would be taken for the next one's
                self.kill()
                raise
        return redacted

    def kill(self) -> None:
        """Ends the child."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()

    async def close(self) -> None:
        """Ends the child and waits until it is gone."""
        process = self._process
        self.kill()
        if process is not None:
            await process.wait()

    async def _ensure(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "router.log.redacting",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
                start_new_session=True,  # a Ctrl-C in the terminal is the router's to handle
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return self._process
