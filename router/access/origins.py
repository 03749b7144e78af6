"""Which web sites' scripts may call: none, unless `FLYTEWHEEL_CORS_ORIGINS` lists their origin exactly.

A listed origin may chat and send feedback; what reads or changes the router says nothing to any site, whatever key its
script holds. Cookies are never allowed: a key or a receipt is sent on purpose, a cookie by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from router.access.callers import FEEDBACK, PROOF, SERVE
from router.asgi import Send

_OPEN = frozenset((SERVE, FEEDBACK, PROOF))
_EXPOSED = (
    b"x-flytewheel-interaction, x-flytewheel-version, x-flytewheel-arm, x-flytewheel-receipt, x-flytewheel-unit,"
    b" x-flytewheel-fallback, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests"
)
_ASKED = b"authorization, content-type, x-flytewheel-user, x-flytewheel-receipt"
_MAX_AGE_S = b"600"


class Origins:
    """The origins that are let in."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(origin.encode() for origin in listed)

    def answers(self, origin: bytes, scope: str | None) -> bool:
        """Whether a script of this origin may read what needs this scope."""
        return origin in self._listed and scope in _OPEN

    async def send_preflight(self, send: Send, origin: bytes) -> None:
        """Tells a browser that it may send the request it asks about."""
        headers = [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", _ASKED),
            (b"access-control-max-age", _MAX_AGE_S),
            (b"vary", b"origin"),
            (b"content-length", b"0"),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers[:-1]})
        await send({"type": "http.response.body", "body": b""})

    def mark(self, send: Send, origin: bytes) -> Send:
        """A `send` whose answer the browser gives to the script."""
        own = [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"origin"),
        ]

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        return sending
