"""One line of JSON for each request, where `FLYTEWHEEL_ACCESS_LOG` asks for it: what was asked, how it went, how long
it took, and which answer it is about.

Off by default: a line costs 75 µs of CPU, a fifth of a whole proxied request, and `/metrics` and the interactions hold
most of it. A line never holds the query, a header or a body; the path is cut. It is written when the last byte is
sent, or when the client or the router went, which `complete` tells from an end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from router.access.callers import PLACE, Caller
from router.asgi import Receive, Scope, Send
from router.loglines import FACTS, INTERACTION

logger = logging.getLogger("router.requests")

_LONGEST = 200  # characters of a path
_OWN = {b"x-flytewheel-arm": "arm", b"x-flytewheel-version": "version"}

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class RequestLines:
    """ASGI application around another one: says a line for each of its requests."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(send)
        try:
            await self._app(scope, receive, seen)
        finally:
            logger.info("request", extra={FACTS: seen.describe(scope)})


class _Seen:
    """The way of one answer to its client; counts what passes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = time.perf_counter()
        self._first_s: float | None = None
        self._status: int | None = None
        self._bytes = 0
        self._complete = False
        self._own: dict[str, str] = {}

    def __call__(self, message: Any) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            for name, value in message.get("headers", ()):
                if (known := _OWN.get(name)) is not None:
                    self._own[known] = value.decode("latin-1")
        elif message["type"] == "http.response.body":
            if (size := len(message.get("body", b""))) and self._first_s is None:
                self._first_s = time.perf_counter() - self._began
            self._bytes += size
            self._complete = not message.get("more_body")
        return self._send(message)

    def describe(self, scope: Scope) -> dict[str, Any]:
        """The line's facts."""
        caller: Caller | None = scope.get(PLACE)
        return {
            "method": scope["method"],
            "path": scope["path"][:_LONGEST],
            "status": self._status,
            "complete": self._complete,
            "latency_ms": round(1000 * (time.perf_counter() - self._began), 3),
            "first_token_ms": None if self._first_s is None else round(1000 * self._first_s, 3),
            "bytes": self._bytes,
            "interaction": scope.get(INTERACTION),
            "key": caller.key_id if caller is not None else None,
            "arm": self._own.get("arm"),
            "version": self._own.get("version"),
        }
