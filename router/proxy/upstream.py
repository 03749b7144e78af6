"""Asks a backend: aiohttp's client without its session.

`ClientSession.post` builds each request anew (headers, URL, cookies, a task that writes the body): 145 µs of CPU a
request, measured, of which the exchange itself is 25. A proxy asks a few URLs with the same headers for ever. So the
head is made once for each, and what is left of aiohttp is what matters: its connector (pool, TLS, names, timeouts) and
its parser of answers. Redirects are not followed, cookies not kept, bodies not decompressed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from time import monotonic

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

_SWEEP_S = 0.25
_MOST_HEADS = 512  # far above the backends of one router; a restarted llama.cpp has a new port
_MADE_HERE = frozenset(("content-length", "transfer-encoding"))


class Upstream:
    """An answer that has begun: its status and headers, and the body as it comes. It must be read to its end, or
    closed.
    """

    __slots__ = ("_connection", "_ends_at", "_payload", "_silence_s", "_since", "_watched", "raw_headers", "status")

    def __init__(self, connection: Connection, watched: set[Upstream], timeout: aiohttp.ClientTimeout) -> None:
        self._connection = connection
        self._payload: StreamReader | None = None
        self._watched = watched
        self._since = now = monotonic()
        self._ends_at = now + (timeout.total or math.inf)
        self._silence_s = timeout.sock_read or math.inf
        watched.add(self)

    async def begin(self) -> None:
        """Waits for status and headers."""
        protocol = self._connection.protocol
        assert protocol is not None
        message, payload = await protocol.read()
        while 100 <= message.code < 200:
            message, payload = await protocol.read()
        self._since = math.inf
        self.status: int = message.code
        self.raw_headers: tuple[tuple[bytes, bytes], ...] = message.raw_headers
        self._payload = payload
        payload.on_eof(self._end)

    @property
    def broken(self) -> bool:
        """Whether the backend broke off its answer."""
        return self._payload is None or self._payload.exception() is not None

    def find_header(self, name: bytes) -> str | None:
        """The value of a header of this name, in lower case."""
        return next((value.decode("latin-1") for known, value in self.raw_headers if known.lower() == name), None)

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: it broke off.
        """
        assert self._payload is not None
        body = await self.read_some()
        if self._payload.at_eof():
            return body
        parts = [body]
        while part := await self.read_some():
            parts.append(part)
        return b"".join(parts)

    async def read_some(self) -> bytes:
        """What has come and was not read yet, waited for; empty at the end.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: it broke off.
        """
        assert self._payload is not None
        self._since = monotonic()
        chunk = await self._payload.readany()
        self._since = math.inf  # a client that takes nothing is no silence of the backend
        return chunk

    def wait_for_chunks(self, timeout_s: float) -> None:
        """From now on silence of so many seconds is an end."""
        self._silence_s = timeout_s

    def close(self) -> None:
        """Closes the connection, unless the answer came to its end: then it is in the pool again."""
        self._connection.close()
        self._watched.discard(self)

    def look(self, now: float) -> None:
        """Ends what has been silent for too long, or takes too long as a whole; `now` is `time.monotonic`'s."""
        if now < self._ends_at and now - self._since < self._silence_s:
            return
        error = aiohttp.SocketTimeoutError("the backend took too long")
        if (protocol := self._connection.protocol) is not None:
            protocol.set_exception(error)
        if self._payload is not None:
            self._payload.set_exception(error)
        self._watched.discard(self)

    def _end(self) -> None:
        self._connection.release()
        self._watched.discard(self)


class Client:
    """Sends requests over the connections of sessions."""

    def __init__(self) -> None:
        self._running: set[Upstream] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._heads: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[aiohttp.ClientRequest, bytes]] = {}

    async def post(
        self,
        session: aiohttp.ClientSession,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> Upstream:
        """Posts JSON and waits until the answer begins.

        Args:
            session: whose connections are used; nothing else of it is.
            url: of the path that is asked.
            body: JSON.
            headers: beside those that every request has.
            timeout: of connecting, of silence, and of the answer as a whole.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: there is no connection, or no answer.
        """
        request, head = self._find_head(url, headers)
        connector = session.connector
        if connector is None:
            raise aiohttp.ClientConnectionError("the router is closing")
        connection = await connector.connect(request, [], timeout)
        protocol = connection.protocol
        assert protocol is not None
        upstream = Upstream(connection, self._running, timeout)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._look)
        try:
            protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_bufsize=1 << 16)
            assert protocol.transport is not None
            protocol.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            await upstream.begin()
        except HttpProcessingError as error:
            upstream.close()
            raise aiohttp.ClientPayloadError(f"no HTTP answer: {error.message}") from error
        except BaseException:
            upstream.close()
            raise
        return upstream

    def _look(self) -> None:
        """Every so often while something runs: a timer for each request and chunk would cost a tenth of all."""
        self._sweep = None
        now = monotonic()
        for upstream in tuple(self._running):
            upstream.look(now)
        if self._running:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._look)

    def _find_head(self, url: str, headers: Mapping[str, str]) -> tuple[aiohttp.ClientRequest, bytes]:
        key = (url, tuple(headers.items()))
        found = self._heads.get(key)
        if found is None:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            found = self._heads[key] = _make_head(url, headers)
        return found


def _make_head(url: str, headers: Mapping[str, str]) -> tuple[aiohttp.ClientRequest, bytes]:
    """aiohttp's own request, by which its connector knows the connection, and the bytes up to the body's length."""
    given = {"content-type": "application/json", "accept-encoding": "identity", **headers}
    request = aiohttp.ClientRequest("POST", URL(url), headers=given, loop=asyncio.get_running_loop())
    lines = [f"POST {request.url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() not in _MADE_HERE]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"a line break in the headers for {url}: {', '.join(headers)}")
    return request, ("\r\n".join(lines) + "\r\ncontent-length: ").encode()
