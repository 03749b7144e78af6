"""Decides how keeper and worker talk: frames of msgpack over a pair of sockets that both were born with.

A pair has no name, so nobody else can join, and its end is seen at once on the other side however a process went. Both
sides may tell and ask. What arrives is handled in the order of sending: a handler that returns a plain value has done
its work before the next frame is looked at, one that returns an awaitable goes on beside.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

logger = logging.getLogger("router.channel")

FRAME_LIMIT = 256 << 20
_REPLY, _ERROR = "reply", "error"

Handler = Callable[[str, Any], Any]  # of a frame's kind and content; what it returns, or awaits to, is the reply


class GoneError(ConnectionError):
    """The other process has ended, or did not answer in time."""


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame; None where the other side ended between two.

    Raises:
        ConnectionError: it ended within one, or the frame is longer than any of ours.
    """
    try:
        head = await reader.readexactly(4)
        length = int.from_bytes(head, "big")
        if length > FRAME_LIMIT:
            raise ConnectionError(f"a frame of {length} bytes: at most {FRAME_LIMIT} are sent here")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        if error.partial or error.expected != 4:
            raise ConnectionError("the other side broke off within a frame") from None
        return None


def write_frame(writer: asyncio.StreamWriter, *parts: bytes) -> None:
    """Queues one frame made of these parts."""
    writer.write(b"".join((sum(map(len, parts)).to_bytes(4, "big"), *parts)))


class Channel:
    """One end of a pair of sockets; `handle` answers what the other side tells and asks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.gone = False

    @classmethod
    async def open(cls, end: socket.socket, handle: Handler) -> Channel:
        """Takes over one end of a pair."""
        end.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=end)
        return cls(reader, writer, handle)

    def tell(self, kind: str, content: Any = None) -> None:
        """Sends without waiting for anything; to a process that has gone, nothing."""
        if not self.gone:
            write_frame(self._writer, msgspec.msgpack.encode((kind, 0, content)))

    async def ask(self, kind: str, content: Any = None, *, timeout_s: float) -> Any:
        """Sends, and returns the reply.

        Raises:
            GoneError: the other process ended, or did not reply within `timeout_s` seconds, or failed at it.
        """
        if self.gone:
            raise GoneError(f"nobody is there to answer {kind!r}")
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        write_frame(self._writer, msgspec.msgpack.encode((kind, number, content)))
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise GoneError(f"no answer to {kind!r} within {timeout_s:g} s") from None
        finally:
            self._asked.pop(number, None)

    async def run(self) -> None:
        """Handles what comes until the other side has gone."""
        try:
            while (frame := await read_frame(self._reader)) is not None:
                self._take(*msgspec.msgpack.decode(frame))
        except OSError as error:
            logger.info("the other process broke off: %s", error)
        finally:
            self.close()

    def close(self) -> None:
        """Ends this side; who waits for a reply hears it."""
        self.gone = True
        for future in self._asked.values():
            if not future.done():
                future.set_exception(GoneError("the other process has ended"))
                future.exception()  # asked for: nobody may be waiting any more
        for task in self._tasks:
            task.cancel()
        self._writer.close()

    def _take(self, kind: str, number: int, content: Any) -> None:
        if kind in (_REPLY, _ERROR):
            future = self._asked.get(number)
            if future is not None and not future.done():
                if kind == _REPLY:
                    future.set_result(content)
                else:
                    future.set_exception(GoneError(str(content)))
            return
        try:
            found = self._handle(kind, content)
        except Exception as error:
            logger.exception("%r failed", kind)
            self._reply(number, _ERROR, f"{type(error).__name__}: {error}")
            return
        if isinstance(found, Awaitable):
            task = asyncio.ensure_future(self._finish(kind, number, found))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._reply(number, _REPLY, found)

    async def _finish(self, kind: str, number: int, work: Awaitable[Any]) -> None:
        try:
            self._reply(number, _REPLY, await work)
        except Exception as error:
            logger.exception("%r failed", kind)
            self._reply(number, _ERROR, f"{type(error).__name__}: {error}")

    def _reply(self, number: int, kind: str, content: Any) -> None:
        if number and not self.gone:
            with suppress(OSError):
                write_frame(self._writer, msgspec.msgpack.encode((kind, number, content)))
