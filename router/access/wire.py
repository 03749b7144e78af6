"""What a connection may do before it is a request: how large a head, how slow, how many that only wait.

httptools reads the wire; this counts and times what it tells, and hands a request to uvicorn's cycle in few steps.
uvicorn itself has no limit on a head (one header that never ends is kept in memory for ever), none on a fresh
connection that says nothing, a body that trickles or an answer that is not taken, and it adds the trailers of a chunked
body to the headers, where a proxy before us has looked for none. Times, that of an idle connection too, are checked by
one sweep a second over all connections, so that a request costs no timer.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from router.access.answering import QuickCycle
from router.access.room import Room, WireLimits
from router.asgi import CONNECTION, HEADERS
from router.refusals import error_body

_SAID = {
    400: "this is not a request of HTTP/1.1",
    408: "the request did not come in time",
    431: "the request line and headers are too large",
}


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


_NO_REQUEST = "Invalid HTTP request received."  # kept quiet by router.loglines
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_LONGEST_KEPT = 256  # bytes of a URL whose parts are remembered
_OPENED, _HEAD, _BODY, _READ = range(4)  # what the parser waits for; _READ: the next request, or nothing


def _split_url(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, the same as it was sent, and query."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


def _expects(headers: dict[bytes, bytes]) -> bool:
    """Whether the client waits to be told that its body is wanted."""
    return b"expect" in headers and headers[b"expect"].lower() == b"100-continue"


_recall_url = lru_cache(maxsize=256)(_split_url)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `gone` is called when it is lost; who waits for that puts it in, and takes it out."""

    _room: Room
    cycle: QuickCycle
    lost = False
    gone: Callable[[], None] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stage = _OPENED
        self._most_fields = self._room.limits.fields
        self._since = self._answered = time.monotonic()
        self._stalled: float | None = None
        self._closing: float | None = None
        self._part = self._begun = self._trailers = self._trailer_fields = self._more = self._body = 0
        self._status = 400
        self._ending = False

    # -- what the transport tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        self.lost = True
        super().connection_lost(exc)
        gone, self.gone = self.gone, None
        if gone is not None:
            gone()

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, unless the connection is on its way out."""
        if self.transport.is_closing():
            return
        begun = self._stage
        self._part = len(data)
        if begun == _HEAD:
            self._more += self._part  # of a head that is not finished: a field that never ends is not told
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning(_NO_REQUEST)
            self.send_400_response(_NO_REQUEST)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
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
        self.url = b""
        self.headers = []
        self._stage, self._since = _HEAD, time.monotonic()
        self._begun = self._part
        self._trailers = self._trailer_fields = self._more = self._body = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage != _HEAD:
            self._drop_trailer(name, value)
            return
        headers = self.headers
        headers.append((name.lower(), value))
        if len(headers) > self._most_fields:
            self._refuse_head()

    def _drop_trailer(self, name: bytes, value: bytes) -> None:
        """Nobody here asked for it; it counts all the same."""
        self._trailers += len(name) + len(value) + 4
        self._trailer_fields += 1
        limits = self._room.limits
        if self._trailers > limits.head_bytes or self._trailer_fields > limits.fields:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        parser, most = self.parser, self._room.limits.head_bytes
        if self._begun + self._more > most:  # maybe of the body behind it, or of the request before
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > most:
                self._refuse_head()
        version = parser.get_http_version()
        path, raw_path, query = (_recall_url if len(self.url) < _LONGEST_KEPT else _split_url)(self.url)
        headers = dict(self.headers)
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "headers": self.headers,
            "state": {},
            "method": parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            HEADERS: headers,
            CONNECTION: self,
        }
        before = self.cycle
        upgrade = parser.should_upgrade()  # what follows is in another protocol, and no request
        keep_alive = version != "1.0" and not (upgrade or self._ending) and parser.should_keep_alive()
        self.cycle = cycle = QuickCycle(self, scope, keep_alive=keep_alive, expects=_expects(headers))
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        self._stage, self._since = _BODY, time.monotonic()
        self._room.serve(self)

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.parts.append(body)
        if self._body > HIGH_WATER_LIMIT and sum(map(len, cycle.parts)) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.set()

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.set()
        self._stage = _READ

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._answered = time.monotonic()
            self._room.wait(self)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

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
        elif self._stage == _READ and self._is_idle() and now - self._answered > self.timeout_keep_alive:
            self.transport.close()

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
