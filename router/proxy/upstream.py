"""Asks a backend: aiohttp's client without its session.

`ClientSession.post` builds each request anew (headers, URL, cookies, a task that writes the body): 145 µs of CPU a
request, measured, of which the exchange itself is 25. A proxy asks a few URLs with the same headers for ever. So the
head is made once for each, and what is left of aiohttp is what matters: its connector (pool, TLS, names, timeouts) and
its parser of answers. Redirects are not followed, cookies not kept, bodies not decompressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

_MOST_HEADS = 512  # far above the backends of one router; a restarted llama.cpp has a new port
_MADE_HERE = frozenset(("content-length", "transfer-encoding"))


class Upstream:
    """An answer that has begun: its status and headers, and the body as it comes. It must be read to its end, or
    closed.
    """

    __slots__ = ("_connection", "_deadline", "_payload", "raw_headers", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._deadline: asyncio.TimerHandle | None = None
        self._payload: StreamReader | None = None

    def end_after(self, timeout_s: float) -> None:
        """Whatever has not come within so many seconds does not come any more."""
        self._deadline = asyncio.get_running_loop().call_later(timeout_s, self._expire)

    async def begin(self) -> None:
        """Waits for status and headers."""
        protocol = self._connection.protocol
        assert protocol is not None
        message, payload = await protocol.read()
        while 100 <= message.code < 200:
            message, payload = await protocol.read()
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
        return await self._payload.read()

    async def read_some(self) -> bytes:
        """What has come and was not read yet, waited for; empty at the end.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: it broke off.
        """
        assert self._payload is not None
        return await self._payload.readany()

    def wait_for_chunks(self, timeout_s: float) -> None:
        """From now on silence of so many seconds is an end."""
        if (protocol := self._connection.protocol) is not None:
            protocol.read_timeout = timeout_s

    def close(self) -> None:
        """Closes the connection, unless the answer came to its end: then it is in the pool again."""
        self._connection.close()
        if self._deadline is not None:
            self._deadline.cancel()

    def _expire(self) -> None:
        error = aiohttp.SocketTimeoutError("the answer took too long")
        if (protocol := self._connection.protocol) is not None:
            protocol.set_exception(error)
        if self._payload is not None:
            self._payload.set_exception(error)

    def _end(self) -> None:
        self._connection.release()
        if self._deadline is not None:
            self._deadline.cancel()


class Client:
    """Sends requests over the connections of sessions."""

    def __init__(self) -> None:
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
        upstream = Upstream(connection)
        if timeout.total is not None:
            upstream.end_after(timeout.total)
        try:
            protocol.set_response_params(
                read_until_eof=True, auto_decompress=False, read_timeout=timeout.sock_read, read_bufsize=1 << 16
            )
            assert protocol.transport is not None
            protocol.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            protocol.start_timeout()
            await upstream.begin()
        except HttpProcessingError as error:
            upstream.close()
            raise aiohttp.ClientPayloadError(f"no HTTP answer: {error.message}") from error
        except BaseException:
            upstream.close()
            raise
        return upstream

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
