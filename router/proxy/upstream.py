"""Asks a backend: aiohttp's connector without its session.

`ClientSession.post` builds each request anew (headers, URL, cookies, a task that writes the body): 145 µs of CPU a
request, measured, of which the exchange itself is 25. A proxy asks a few URLs with the same headers for ever. So the
head is made once for each, and what is left is what matters: the connector (pool, TLS, names, timeouts), and httptools,
which reads the answer (`router.backends.connector`). Redirects are not followed, cookies not kept, bodies not
decompressed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from router.asgi import DONE
from router.backends.connector import Connector, Headers, Pipe

Pass = Callable[[bytes], Awaitable[None]]

_SWEEP_S = 0.25
_MOST_HEADS = 512  # far above the backends of one router; a restarted llama.cpp has a new port
_HIGH_WATER = 128 << 10  # bytes that wait for a reader: no more is taken from the backend
_MADE_HERE = frozenset(("content-length", "transfer-encoding"))


class Upstream:
    """An answer: its status and headers, and the body as it comes. It must be read to its end, or closed."""

    __slots__ = (
        "_connector",
        "_done",
        "_ends_at",
        "_error",
        "_held",
        "_key",
        "_loop",
        "_parts",
        "_pass",
        "_paused",
        "_pipe",
        "_silence_s",
        "_since",
        "_size",
        "_waiter",
        "_watched",
        "headed",
        "raw_headers",
        "status",
    )

    def __init__(
        self,
        connector: Connector,
        key: ConnectionKey,
        pipe: Pipe,
        watched: set[Upstream],
        timeout: aiohttp.ClientTimeout,
    ) -> None:
        self._connector, self._key = connector, key
        self._pipe: Pipe | None = pipe
        self._loop = pipe.loop
        self._watched = watched
        self._since = now = monotonic()
        self._ends_at = now + (timeout.total or math.inf)
        self._silence_s = timeout.sock_read or math.inf
        self._parts: list[bytes] = []
        self._size = 0
        self._done = self._paused = self.headed = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pass: Pass | None = None  # takes what comes, while nobody else does anything
        self._held: Awaitable[None] | None = None
        watched.add(self)

    async def begin(self) -> None:
        """Waits for status and headers."""
        while not self.headed:
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._since = math.inf

    @property
    def broken(self) -> bool:
        """Whether the backend broke off its answer."""
        return self._error is not None or not self.headed

    def find_header(self, name: bytes) -> str | None:
        """The value of a header of this name, in lower case."""
        return next((value.decode("latin-1") for known, value in self.raw_headers if known.lower() == name), None)

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: it broke off.
        """
        if self._done and self._error is None:  # it came together with the head
            return self._take() if self._parts else b""
        body = await self.read_some()
        if self._done and not self._parts:
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
        parts = self._parts
        if not parts:
            self._since = monotonic()
            while not parts:
                if self._error is not None:
                    raise self._error
                if self._done:
                    return b""
                await self._wait()
            self._since = math.inf  # a client that takes nothing is no silence of the backend
        return self._take()

    async def pass_on(self, take: Pass) -> None:
        """Gives `take` what is left of the body, as it comes; what it returns is awaited before it gets more.

        It is called where the bytes arrive, without waking the task that waits here: a third of a chunk's price.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: it broke off.
        """
        while True:
            while self._parts:
                await take(self._take())
            if self._error is not None:
                raise self._error
            if self._done:
                return
            self._since, self._pass = monotonic(), take
            try:
                await self._wait()
            finally:
                self._since, self._pass = math.inf, None
            held, self._held = self._held, None
            if held is not None:
                await held

    def _take(self) -> bytes:
        parts = self._parts
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            if self._pipe is not None:
                self._pipe.go_on()
        return chunk

    def wait_for_chunks(self, timeout_s: float) -> None:
        """From now on silence of so many seconds is an end."""
        self._silence_s = timeout_s

    def close(self) -> None:
        """Closes the connection, unless the answer came to its end: then it is in the pool again."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.answer = None
            self._watched.discard(self)
            self._connector.give(self._key, pipe)

    def look(self, now: float) -> None:
        """Ends what has been silent for too long, or takes too long as a whole; `now` is `time.monotonic`'s."""
        if now >= self._ends_at or now - self._since >= self._silence_s:
            self.fail(aiohttp.SocketTimeoutError("the backend took too long"))

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- what the connection tells (`router.backends.connector.Answering`)

    def take_head(self, status: int, headers: Headers) -> None:
        self.status, self.raw_headers, self.headed = status, headers, True
        self._wake()

    def take_body(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > _HIGH_WATER and not self._paused and self._pipe is not None:
            self._paused = True
            self._pipe.hold()
        if self._pass is None:
            self._wake()

    def flush(self) -> None:
        if self._pass is not None and self._parts:
            self._since = monotonic()
            held = self._pass(self._take())
            if held is not DONE:
                self._pass, self._held = None, held
                self._wake()

    def finish(self, reusable: bool) -> None:
        self._done = True
        self._wake()
        if reusable and self._paused and self._pipe is not None:
            self._paused = False
            self._pipe.go_on()
        self.close()

    def fail(self, error: Exception) -> None:
        if not self._done and self._error is None:
            self._error = error
        self._watched.discard(self)
        self._wake()


class Client:
    """Sends requests over the connections of sessions."""

    def __init__(self) -> None:
        self._running: set[Upstream] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._heads: dict[
            tuple[str, tuple[tuple[str, str], ...]], tuple[aiohttp.ClientRequest, ConnectionKey, bytes]
        ] = {}

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
            session: over a `Connector`, whose connections are used; nothing else of it is.
            url: of the path that is asked.
            body: JSON.
            headers: beside those that every request has.
            timeout: of connecting, of silence, and of the answer as a whole.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: there is no connection, or no answer.
        """
        request, key, head = self._find_head(url, headers)
        connector = session.connector
        if connector is None:
            raise aiohttp.ClientConnectionError("the router is closing")
        assert isinstance(connector, Connector)
        pipe = connector.take(key)
        if pipe is None:
            pipe = await connector.dial(request, timeout)
        upstream = Upstream(connector, key, pipe, self._running, timeout)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._look)
        try:
            pipe.ask(b"%b%d\r\n\r\n%b" % (head, len(body), body), upstream)
            await upstream.begin()
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

    def _find_head(self, url: str, headers: Mapping[str, str]) -> tuple[aiohttp.ClientRequest, ConnectionKey, bytes]:
        key = (url, tuple(headers.items()) if headers else ())
        found = self._heads.get(key)
        if found is None:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            request, head = _make_head(url, headers)
            found = self._heads[key] = (request, request.connection_key, head)
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
