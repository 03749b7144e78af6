"""aiohttp's connector, whose connections also read answers with httptools, in few steps.

aiohttp makes a parser, a reader, a message and two kinds of header for each answer, and finds and gives back a
connection in five calls: 25 µs of CPU of which httptools and a list need 8. What matters stays aiohttp's: the pool and
its limits, names, TLS, which addresses may be asked, timeouts of connecting. A session over this connector asks as any
other does (probes, warm-up); who takes a connection with `take` or `dial` reads the answer through `Answering`, and
gives it back with `give`. These are insides of aiohttp, which is pinned: tests/router/proxy/test_upstream.py holds
them.
"""

from __future__ import annotations

import asyncio
import functools
import math
from itertools import chain
from time import monotonic
from typing import Any, Protocol

import aiohttp
import httptools
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey

MOST_FIELDS, MOST_HEAD_BYTES = 128, 64 << 10  # of an answer's head

Headers = list[tuple[bytes, bytes]]


class Answering(Protocol):
    """Takes an answer as it comes."""

    headed: bool

    def take_head(self, status: int, headers: Headers) -> None:
        """Status and headers are here."""

    def take_body(self, part: bytes) -> None:
        """A part of the body is here."""

    def flush(self) -> None:
        """All that came at one time was told."""

    def finish(self, reusable: bool) -> None:
        """The answer is complete; `reusable`: the connection may be given back."""

    def fail(self, error: Exception) -> None:
        """There will be no more of it."""


class Outbox:
    """Requests that go out together, once everybody who is ready has had a turn.

    Each alone would wake the server, which answers and sleeps again before the next is ready: sent one after the other,
    32 clients' requests cost a seventh less of our time in all.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Pipe, Answering, bytes]] = []

    def put(self, pipe: Pipe, answer: Answering, request: bytes) -> None:
        """Sends a request within this turn of the loop, unless its answer is given up before."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append((pipe, answer, request))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for pipe, answer, request in waiting:
            if pipe.answer is answer and pipe.transport is not None:
                pipe.transport.write(request)


class Pipe(ResponseHandler):
    """One connection; `answer` is what it reads for, None between two, and where a session of aiohttp's reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        super().__init__(loop)
        self.loop = loop
        self._outbox = outbox
        self.answer: Answering | None = None
        self._reader = httptools.HttpResponseParser(self)
        # What aiohttp's own parser takes from servers, too.
        self._reader.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._headers: Headers = []
        self._head_bytes = 0

    def ask(self, request: bytes, answer: Answering) -> None:
        """Sends a request; what comes from now on belongs to `answer`."""
        self.answer = answer
        self._parser = self._payload = None
        self._should_close = True  # until the answer is complete
        self._head_bytes = 0
        self._outbox.put(self, answer, request)

    def hold(self) -> None:
        """Takes nothing from the server until `go_on`."""
        self._pause_transport_reading()

    def go_on(self) -> None:
        """Takes from the server again."""
        self._resume_transport_reading()

    def data_received(self, data: bytes) -> None:
        answer = self.answer
        if answer is None:
            if self._parser is None:  # nobody asked: the next request must not take this for its answer
                self._should_close = True
                self.close()
            else:
                super().data_received(data)
            return
        if not answer.headed:
            self._head_bytes += len(data)
        try:
            self._reader.feed_data(data)
            if not answer.headed and self._head_bytes > MOST_HEAD_BYTES:
                raise httptools.HttpParserError("the head is too large")
            answer.flush()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.answer = None
            self._should_close = True
            answer.fail(aiohttp.ClientPayloadError(f"no HTTP answer: {error}"))
            self.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        answer, self.answer = self.answer, None
        if answer is not None:
            if exc is None and answer.headed and _ends_with_connection(self._headers):
                answer.finish(False)
            elif isinstance(exc, OSError):
                answer.fail(aiohttp.ClientOSError(*exc.args))
            elif answer.headed:
                answer.fail(aiohttp.ClientPayloadError("the answer broke off"))
            else:
                answer.fail(aiohttp.ServerDisconnectedError())
        super().connection_lost(exc)

    # -- what the parser tells

    def on_message_begin(self) -> None:
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))
        if len(self._headers) > MOST_FIELDS and (self.answer is None or not self.answer.headed):
            raise ValueError("the head has too many fields")

    def on_headers_complete(self) -> None:
        status = self._reader.get_status_code()
        if status >= 200:
            if self.answer is None:
                raise ValueError("more than one answer")
            if self._head_bytes > MOST_HEAD_BYTES and sum(map(len, chain(*self._headers))) > MOST_HEAD_BYTES:
                raise ValueError("the head is too large")  # it came in one piece, maybe with a large body
            self.answer.take_head(status, self._headers)

    def on_body(self, part: bytes) -> None:
        if self.answer is not None:
            self.answer.take_body(part)

    def on_message_complete(self) -> None:
        answer = self.answer
        if answer is not None and answer.headed:  # else an interim one, 1xx
            self.answer = None
            self._should_close = not self._reader.should_keep_alive()
            answer.finish(not self._should_close)


def _ends_with_connection(headers: Headers) -> bool:
    """Whether a body's end is the connection's: it says neither its length nor that it is chunked (RFC 9112, 6.3)."""
    for name, value in headers:
        known = name.lower()
        if known == b"content-length" or (known == b"transfer-encoding" and b"chunked" in value.lower()):
            return False
    return True


class Connector(aiohttp.TCPConnector):
    """Makes and keeps pipes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        make = functools.partial(Pipe, loop=self._loop, outbox=Outbox(self._loop))
        self._factory = make  # type: ignore[assignment]  # of a kind of ResponseHandler

    def take(self, key: ConnectionKey) -> Pipe | None:
        """An idle connection; None where there is none that is fit for use."""
        kept = self._conns.get(key)
        if not kept:
            return None
        now, most_s = monotonic(), self._keepalive_timeout or math.inf
        while kept:
            pipe, since = kept.popleft()
            transport = pipe.transport
            if transport is not None and not transport.is_closing() and now - since <= most_s:
                self._acquired.add(pipe)
                assert isinstance(pipe, Pipe)
                return pipe
            pipe.close()
        return None

    async def dial(self, request: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout) -> Pipe:
        """A connection, idle or new, waited for where there are as many as there may be.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: there is none.
        """
        connection = await self.connect(request, [], timeout)
        pipe, connection._protocol = connection._protocol, None  # from now on ours to give back
        assert isinstance(pipe, Pipe)
        return pipe

    def give(self, key: ConnectionKey, pipe: Pipe) -> None:
        """Takes a connection back, or closes it, where its answer is not complete."""
        if pipe._should_close or self._closed or self._waiters or self._cleanup_handle is None:
            self._release(key, pipe)
            return
        self._acquired.discard(pipe)
        self._conns[key].append((pipe, monotonic()))
