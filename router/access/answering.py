"""uvicorn's cycle of one request and its answer, with the common request and answer in few steps.

uvicorn makes an event and a dozen attributes for each request, searches each header's name and value by two patterns
and starts a coroutine for each message: a sixth of what a whole proxied request costs. Here what is the same for all
requests stands in the class, and a head is put together first and held against splitting as one text: as many line
breaks as lines. Where the body follows at once (`FOLLOWS`), both go to the kernel together. Whatever is not plain
(HEAD, a slow client, a client that went, names in capitals, headers that belong to the connection) goes uvicorn's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from router.asgi import DONE, FOLLOWS, Written

Headers = list[tuple[bytes, bytes]]

_OWN_WAY = frozenset((b"connection", b"transfer-encoding"))
_MOST_NAMES = 4096
_lines: dict[bytes, bytes | None] = {}  # a header's line up to its value; None where uvicorn is to write it


def _open_line(name: bytes) -> bytes | None:
    if len(_lines) >= _MOST_NAMES:
        _lines.clear()
    line = _lines[name] = None if name in _OWN_WAY or not name.islower() else name + b": "
    return line


class QuickCycle(RequestResponseCycle):
    """One request and its answer."""

    disconnected = False
    access_log = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    _event: asyncio.Event | None = None  # made where somebody waits for more of the request
    _fresh = False  # something came that nobody has received
    _head: bytes | None = None  # of the answer, that waits for its body
    _own: tuple[Headers | None, bytes | None] = None, None  # the server's own headers, and how they are written

    def __init__(self, protocol: HttpToolsProtocol, scope: Any, *, keep_alive: bool, expects: bool) -> None:
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.logger = protocol.logger
        self.default_headers = protocol.server_state.default_headers
        self.on_response = protocol.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expects
        self.parts: list[bytes] = []

    @property
    def message_event(self) -> QuickCycle:  # type: ignore[override]
        """What uvicorn tells that something happened."""
        return self

    def set(self) -> None:
        """Wakes who waits for more of the request, or its end."""
        self._fresh = True
        if self._event is not None:
            self._event.set()

    async def receive(self) -> Any:
        """The next message of ASGI."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        while not (self._fresh or self.disconnected or self.response_complete):
            self.flow.resume_reading()
            self._event = self._event or asyncio.Event()
            await self._event.wait()
            self._event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        self.flow.resume_reading()
        parts, self.parts, self._fresh = self.parts, [], False
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def send(self, message: MutableMapping[str, Any]) -> Awaitable[None]:  # type: ignore[override]
        """Sends one message of ASGI; the order of messages is uvicorn's to check."""
        if self.flow.write_paused or self.disconnected or self.response_complete or self.scope["method"] == "HEAD":
            return self._send_slowly(message)
        if not self.response_started:
            return DONE if self._begin(message) else self._send_slowly(message)
        body: bytes = message.get("body", b"")
        if not body or message["type"] != "http.response.body":
            return self._send_slowly(message)
        head, self._head = self._head, None
        if self.chunked_encoding:
            if not message.get("more_body"):
                self._head = head
                return self._send_slowly(message)
            data = b"%x\r\n%b\r\n" % (len(body), body)
            self.transport.write(data if head is None else head + data)
            return DONE
        if message.get("more_body") or len(body) != self.expected_content_length:
            self._head = head
            return self._send_slowly(message)
        self.transport.write(body if head is None else head + body)
        self.expected_content_length = 0
        self.response_complete = True
        self.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return DONE

    def _send_slowly(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        head, self._head = self._head, None
        if head is not None:
            self.transport.write(head)
        return super().send(message)  # type: ignore[arg-type]

    def _begin(self, message: MutableMapping[str, Any]) -> bool:
        """Writes the head; false where that is not for here."""
        status = message.get("status")
        if message["type"] != "http.response.start" or status in (204, 304) or status not in STATUS_LINE:
            return False
        headers = message.get("headers", ())
        if type(headers) is Written and self.keep_alive and (own := self._write_own()) is not None:
            if (length := headers.length) is None:
                own += b"transfer-encoding: chunked\r\n"
            self._start(message, b"%b%b%b\r\n" % (STATUS_LINE[status], own, headers.lines), length)
            return True
        length = None
        lines: list[bytes] = []
        for name, value in (*self.default_headers, *headers):
            start = _lines.get(name) or _open_line(name)
            if start is None:
                return False
            if name == b"content-length":
                length = int(value)
            lines += (start, value, b"\r\n")
        count = len(lines) // 3
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
            count += 1
        if length is None:
            lines.append(b"transfer-encoding: chunked\r\n")
            count += 1
        head = b"".join(lines)
        if head.count(b"\n") != count or head.count(b"\r") != count or b"\0" in head:
            return False  # uvicorn says which it is
        self._start(message, b"%b%b\r\n" % (STATUS_LINE[status], head), length)
        return True

    def _write_own(self) -> bytes | None:
        """The server's own headers (the date), which it makes anew each second; None where uvicorn is to write them."""
        headers, known = self.default_headers, self._own
        if known[0] is not headers:
            plain = all(name.islower() and name not in _OWN_WAY for name, _ in headers)
            known = headers, b"".join(b"%b: %b\r\n" % pair for pair in headers) if plain else None
            QuickCycle._own = known
        return known[1]

    def _start(self, message: MutableMapping[str, Any], head: bytes, length: int | None) -> None:
        """The answer begins with this head; `length` of its body, None where it is sent in chunks."""
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = length is None
        self.expected_content_length = length or 0
        if FOLLOWS in message:
            self._head = head
        else:
            self.transport.write(head)
