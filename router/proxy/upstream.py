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
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

_MOST_HEADS = 512  # far above the backends of one router; a restarted llama.cpp has a new port
_MADE_HERE = frozenset(("content-length", "transfer-encoding"))


class Upstream:
    """An answer that has begun: its status and headers, and the body as it comes. It must be read to its end, or
    closed.
    """

    __slots__ = ("_connection", "_payload", "raw_headers", "status")

    def __init__(self, connection: Connection, message: RawResponseMessage, payload: StreamReader) -> None:
        self.status: int = message.code
        self.raw_headers: tuple[tuple[bytes, bytes], ...] = message.raw_headers
        self._connection = connection
        self._payload = payload
        payload.on_eof(connection.release)

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            aiohttp.ClientError, OSError: it broke off.
        """
        return await self._payload.read()

    async def read_some(self) -> bytes:
        """What has come and was not read yet, waited for; empty at the end.

        Raises:
            aiohttp.ClientError, OSError: it broke off.
        """
        return await self._payload.readany()

    def close(self) -> None:
        """Closes the connection, unless the answer came to its end: then it is in the pool again."""
        self._connection.close()


class Client:
    """Sends requests over a session's connections, by its timeouts."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._heads: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[aiohttp.ClientRequest, bytes]] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Upstream:
        """Posts JSON and waits until the answer begins.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: there is no connection, or no answer.
        """
        request, head = self._find_head(url, headers)
        connector, timeout = self._session.connector, self._session.timeout
        if connector is None:
            raise aiohttp.ClientConnectionError("the router is closing")
        connection = await connector.connect(request, [], timeout)
        try:
            protocol = connection.protocol
            assert protocol is not None
            assert protocol.transport is not None
            protocol.set_response_params(
                read_until_eof=True, auto_decompress=False, read_timeout=timeout.sock_read, read_bufsize=1 << 16
            )
            protocol.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            protocol.start_timeout()
            message, payload = await protocol.read()
            while 100 <= message.code < 200:
                message, payload = await protocol.read()
        except HttpProcessingError as error:
            connection.close()
            raise aiohttp.ClientPayloadError(f"no HTTP answer: {error.message}") from error
        except BaseException:
            connection.close()
            raise
        return Upstream(connection, message, payload)

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
