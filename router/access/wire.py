"""What a connection may do before it is a request: how large a head, how slow, how many that only wait.

uvicorn and httptools read the wire; this only counts and times what they tell. uvicorn itself has no limit on a head
(one header that never ends is kept in memory for ever), none on a fresh connection that says nothing, a body that
trickles or an answer that is not taken, and it adds the trailers of a chunked body to the headers, where a proxy before
us has looked for none. Times are checked by one sweep a second over all connections, so that a request costs no timer.

Where more than `waiting` connections wait for a request, the one that has waited longest is closed for the newest: a
flood of idle connections costs itself, and a client whose idle connection goes opens another.
"""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from router.access.answering import QuickCycle
from router.refusals import error_body

_SWEEP_S = 1.0
_SAID = {
    400: "this is not a request of HTTP/1.1",
    408: "the request did not come in time",
    431: "the request line and headers are too large",
}


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds of one connection, and of all that wait.

    Attributes:
        fields: headers of a request, trailers too.
        head_bytes: of the request line and the headers.
        head_s: from the first byte, or from the connection, to the end of the headers.
        body_s: that a body may take in any case.
        body_rate: bytes a second that it must bring from then on.
        stall_s: that a client may take nothing of an answer that waits for it.
        discarded: bytes of a body that is read only to be thrown away, its request being refused.
        waiting: connections without a request.
        last_s: that a request may still be on its way when the server ends.
    """

    fields: int = 100
    head_bytes: int = 32 << 10
    head_s: float = 10.0
    body_s: float = 20.0
    body_rate: int = 8 << 10
    stall_s: float = 60.0
    discarded: int = 64 << 20
    waiting: int = 4096
    last_s: float = 0.2


def make_protocol(limits: WireLimits | None = None) -> type[HttpToolsProtocol]:
    """uvicorn's protocol with limits, for `uvicorn.Config(http=…)`; one for each process."""
    room = Room(limits or WireLimits())

    class Bound(GuardedProtocol):
        _room = room

    return Bound


def lift_file_limit() -> int:
    """Lets this process open as many files as it may, and says how many: a connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


class Room:
    """All connections of a process."""

    def __init__(self, limits: WireLimits) -> None:
        self.limits = limits
        self._all: set[GuardedProtocol] = set()
        self._waiting: dict[GuardedProtocol, None] = {}  # in the order in which they began to wait
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, connection: GuardedProtocol) -> None:
        """A connection was opened."""
        self._all.add(connection)
        self.wait(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(_SWEEP_S, self._sweep, connection.loop)

    def wait(self, connection: GuardedProtocol) -> None:
        """A connection has no request."""
        self._waiting[connection] = None
        if len(self._waiting) > self.limits.waiting:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.transport.close()

    def serve(self, connection: GuardedProtocol) -> None:
        """A connection has one."""
        self._waiting.pop(connection, None)

    def leave(self, connection: GuardedProtocol) -> None:
        """A connection is closed."""
        self._all.discard(connection)
        self._waiting.pop(connection, None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        for connection in tuple(self._all):
            connection.check(now)
        self._timer = loop.call_later(_SWEEP_S, self._sweep, loop) if self._all else None


_OPENED, _HEAD, _BODY, _READ = range(4)  # what the parser waits for; _READ: the next request, or nothing


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _room: Room

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stage = _OPENED
        self._since = time.monotonic()
        self._stalled: float | None = None
        self._closing: float | None = None
        self._fields = self._head = self._more = self._body = 0
        self._status = 400
        self._ending = False

    # -- what the transport tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, unless the connection is on its way out."""
        if self.transport.is_closing():
            return
        begun = self._stage
        if begun == _HEAD:
            self._more += len(data)  # of a head that is not finished: a field that never ends is not told
        super().data_received(data)
        if self._stage == _HEAD and self._more > self._room.limits.head_bytes:
            self._end(431)
        elif self._stage == begun == _READ and self._is_idle():  # empty lines
            self._stage, self._since = _OPENED, time.monotonic()

    def pause_writing(self) -> None:
        self._stalled = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled = None
        super().resume_writing()

    # -- what the parser tells

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage, self._since = _HEAD, time.monotonic()
        self._fields = self._head = self._more = self._body = 0

    def on_url(self, url: bytes) -> None:
        self._head += len(url)
        if self._head > self._room.limits.head_bytes:
            self._refuse_head()
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._head += len(name) + len(value) + 4
        if self._head > self._room.limits.head_bytes or self._fields > self._room.limits.fields:
            self._refuse_head()
        if self._stage != _HEAD:  # a trailer, which nobody here asked for
            return
        name = name.lower()
        if name == b"expect":
            super().on_header(name, value)
        else:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.__class__ = QuickCycle  # its task has not begun: uvicorn only schedules it
        self._stage, self._since = _BODY, time.monotonic()
        self._room.serve(self)
        if self.cycle is not None and self.parser.should_upgrade():
            self.cycle.keep_alive = False  # what follows is in another protocol, and no request
        if self.cycle is not None and self._ending:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stage = _READ

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._room.wait(self)

    # -- the end

    def shutdown(self) -> None:
        """The server ends. A connection without a request is kept for a moment: one may be on its way, which would be
        lost; its answer says that no other is taken here.
        """
        self._ending = True
        if self._is_idle():
            self.loop.call_later(self._room.limits.last_s, self._close_idle)
        else:
            super().shutdown()

    def _close_idle(self) -> None:
        if self._stage in (_OPENED, _READ) and self._is_idle():
            self.transport.close()

    # -- limits

    def check(self, now: float) -> None:
        """Closes the connection if it has been too slow."""
        limits, waited = self._room.limits, now - self._since
        if self.transport.is_closing():  # with bytes that nobody takes
            self._closing = self._closing or now
            if now - self._closing > limits.stall_s:
                self.transport.abort()
        elif self._stalled is not None and now - self._stalled > limits.stall_s:
            self.transport.abort()
        elif self._stage == _OPENED:
            if waited > limits.head_s:
                self.transport.close()
        elif self._stage == _HEAD:
            if waited > limits.head_s:
                self._end(408)
        elif self._stage == _BODY and not self.flow.read_paused:
            slow = waited > limits.body_s + self._body / limits.body_rate
            if slow or (self._body > limits.discarded and self.cycle.response_complete):
                self._end(408)

    def send_400_response(self, msg: str) -> None:
        """Ends the connection of what the parser, or a limit, refused."""
        self._end(self._status)

    def _refuse_head(self) -> None:
        self._status = 431
        raise ValueError(_SAID[431])  # the parser ends with an error, and uvicorn asks for the answer to it

    def _end(self, status: int) -> None:
        """Says why, where no answer is under way that it would cut into, and closes."""
        if self.transport.is_closing():
            return
        if self._is_idle() or not self._answering():
            body = error_body("invalid_request_error", _SAID[status])
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        if self.cycle is not None:
            self.cycle.disconnected = True
        self.transport.close()

    def _is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _answering(self) -> bool:
        """Whether an answer has begun, or a request before this one is still to be answered."""
        return self.cycle.response_started or bool(self.pipeline) or self._stage == _HEAD
