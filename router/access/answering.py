"""uvicorn's cycle of one request and its answer, with the common answer written in few steps.

uvicorn searches each header's name and value by two patterns and starts a coroutine for each message: a tenth of what a
whole proxied request costs. Here a head is put together first, and held against splitting as one text: as many line
breaks as lines. Whatever is not plain (HEAD, a slow client, a client that went, names in capitals, headers that belong
to the connection) goes uvicorn's own way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, MutableMapping
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_OWN_WAY = frozenset((b"connection", b"transfer-encoding"))


@lru_cache(maxsize=4096)
def _open_line(name: bytes) -> bytes | None:
    """A header's line up to its value; None where uvicorn is to write it."""
    return None if name in _OWN_WAY or not name.islower() else name + b": "


class _Done:
    """An awaitable that is done."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


_DONE = _Done()


class QuickCycle(RequestResponseCycle):
    """Takes over a cycle of uvicorn's that has not begun its answer."""

    def send(self, message: MutableMapping[str, Any]) -> Awaitable[None]:  # type: ignore[override]
        """Sends one message of ASGI; the order of messages is uvicorn's to check."""
        if self.flow.write_paused or self.disconnected or self.response_complete or self.scope["method"] == "HEAD":
            return super().send(message)  # type: ignore[arg-type]
        if not self.response_started:
            return _DONE if self._begin(message) else super().send(message)  # type: ignore[arg-type]
        body: bytes = message.get("body", b"")
        if not body or message["type"] != "http.response.body":
            return super().send(message)  # type: ignore[arg-type]
        if message.get("more_body"):
            if not self.chunked_encoding:
                return super().send(message)  # type: ignore[arg-type]
            self.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
            return _DONE
        if self.chunked_encoding or len(body) != self.expected_content_length:
            return super().send(message)  # type: ignore[arg-type]
        self.transport.write(body)
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return _DONE

    def _begin(self, message: MutableMapping[str, Any]) -> bool:
        """Writes the head; false where that is not for here."""
        status = message.get("status")
        if message["type"] != "http.response.start" or status in (204, 304) or status not in STATUS_LINE:
            return False
        length = None
        lines = []
        for name, value in (*self.default_headers, *message.get("headers", ())):
            if (start := _open_line(name)) is None:
                return False
            if name == b"content-length":
                length = int(value)
            lines.append(b"%b%b\r\n" % (start, value))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if length is None:
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            return False  # uvicorn says which it is
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = length is None
        self.expected_content_length = length or 0
        self.transport.write(b"%b%b\r\n" % (STATUS_LINE[status], head))
        return True
