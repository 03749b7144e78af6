"""What a worker does not serve itself, the keeper does: one request a connection, over a Unix socket.

Not HTTP again, but the messages of ASGI themselves: the worker's server has read the request, and nothing is to be
understood in two ways. Bodies and answers stream; each side waits for the other where it is slower. The socket lies in
a folder that only this user may enter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import orjson

from router.asgi import Receive, Scope, Send
from router.channel import read_frame, write_frame
from router.refusals import RefusedError, send_error

logger = logging.getLogger("router.passing")

_PASSED = ("method", "scheme", "http_version", "path", "raw_path", "query_string", "root_path", "headers", "client")
_READ_OUT_S = 10.0
_MORE, _LAST, _GONE, _START = b"m", b"l", b"g", b"s"


class PassingOn:
    """ASGI application: hands every request to the keeper whose socket is at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
        except OSError as error:
            logger.error("the keeper does not answer: %s", error)
            await _stand_in(scope, send)
            return
        try:
            told = {key: scope.get(key) for key in _PASSED}
            write_frame(writer, msgspec.msgpack.encode(told))
            upwards = asyncio.ensure_future(_send_up(receive, writer))
            try:
                await _send_down(reader, send)
            finally:
                upwards.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await upwards
        finally:
            writer.close()


async def _stand_in(scope: Scope, send: Send) -> None:
    """The answer where there is no keeper: this process is alive, which is what `/healthz` asks, and not well."""
    said = "the keeper does not answer"
    if scope["path"] != "/healthz":
        await send_error(send, RefusedError(503, "server_error", f"{said}; try again"))
        return
    body = orjson.dumps({"status": "degraded", "reasons": [said], "keeper": False})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def _send_up(receive: Receive, writer: asyncio.StreamWriter) -> None:
    """Passes the body on, and that the client has gone."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            write_frame(writer, _GONE)
            return
        write_frame(writer, _MORE if message.get("more_body") else _LAST, message.get("body", b""))
        await writer.drain()


async def _send_down(reader: asyncio.StreamReader, send: Send) -> None:
    """Passes the answer on; one that breaks off before its first byte is a 502."""
    begun = False
    while True:
        try:
            frame = await read_frame(reader)
        except OSError:
            frame = None
        if frame is None:
            if not begun:
                await send_error(send, RefusedError(502, "server_error", "the answer broke off before it began"))
            return  # the server closes a connection whose answer was not completed
        kind, rest = frame[:1], frame[1:]
        if kind == _START:
            status, headers = msgspec.msgpack.decode(rest)
            begun = True
            await send({"type": "http.response.start", "status": status, "headers": headers})
        else:
            await send({"type": "http.response.body", "body": rest, "more_body": kind == _MORE})
            if kind == _LAST:
                return


class PassedOn:
    """The keeper's side: runs `app` for every request that a worker hands over."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._running: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Takes requests at `path` from now on."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._take, str(path), limit=1 << 20)

    async def close(self, timeout_s: float) -> None:
        """Takes none any more; running ones have so many seconds to end."""
        if self._server is not None:
            self._server.close()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            if (frame := await read_frame(reader)) is not None:
                await _Exchange(reader, writer).run(self._app, msgspec.msgpack.decode(frame))
                await _read_out(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the worker went
        except Exception:
            logger.exception("a request failed")
        finally:
            self._running.discard(task)
            writer.close()


async def _read_out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Waits until the worker has closed, which has all then. An answer may come before its request was read (a key
    that is refused), and a Unix socket that is closed with unread bytes in it takes back what was not read yet there.
    """
    with suppress(OSError, TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(_READ_OUT_S):
            while await reader.read(1 << 16):
                pass


class _Exchange:
    """One request, as the application sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._status: tuple[int, list[Any]] | None = None

    async def run(self, app: Any, told: dict[str, Any]) -> None:
        scope = {
            **told,
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "headers": [(name, value) for name, value in told["headers"]],
            "client": tuple(told["client"]) if told["client"] else None,
            "server": None,
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> MutableMapping[str, Any]:
        frame = await read_frame(self._reader)
        if frame is None or frame[:1] == _GONE:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": frame[1:], "more_body": frame[:1] == _MORE}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", [])]
            write_frame(self._writer, _START, msgspec.msgpack.encode((message["status"], headers)))
        elif message["type"] == "http.response.body":
            write_frame(self._writer, _MORE if message.get("more_body") else _LAST, bytes(message.get("body", b"")))
        await self._writer.drain()
