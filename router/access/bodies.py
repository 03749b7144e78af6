"""What a body may be: so large, so deep, and text that PostgreSQL can hold.

Bare endpoints read JSON with `read_json`; what FastAPI serves is screened before it gets there. Depth is found without
a parser: strings go, brackets stay, and pairs are taken away from the inside out, a level a pass, each pass in C. A
body with fewer opening brackets than the limit, which is nearly every one, costs two counts (0.3 µs for a chat of
1 kB). `orjson` itself reads up to 1,024 levels but writes no more than 254, and Python's reader ends with the stack.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from router.asgi import Receive, Send, read_body
from router.refusals import RefusedError, send_error

DEFAULT_LIMIT = 4 << 20
IMAGES_FACTOR = 5  # times the limit, for endpoints that take images in their JSON
MAX_DEPTH = 100

_STRING = re.compile(rb'"[^"]*"')
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def is_deep(raw: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether JSON nests deeper than `limit`; may say yes, too, where brackets do not match."""
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return False
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    left = _STRING.sub(b"", plain).translate(None, _NOT_BRACKETS)
    for _ in range(limit):
        if not left:
            return False
        size = len(left)
        left = left.replace(b"[]", b"").replace(b"{}", b"")
        if len(left) == size:
            break
    return bool(left)


def read_json(raw: bytes) -> Any:
    """The value of a JSON body.

    Raises:
        RefusedError: 400, it is not JSON, or nests deeper than MAX_DEPTH.
    """
    if is_deep(raw):
        raise RefusedError(400, "invalid_request_error", f"the body is not JSON of at most {MAX_DEPTH} levels")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, "invalid_request_error", f"the body is not JSON: {error}") from None


def limit_body(headers: dict[bytes, bytes], receive: Receive, send: Send, limit: int) -> tuple[Receive, Send]:
    """Refuses what announces more than `limit` bytes, and counts what announces nothing.

    Raises:
        RefusedError: 413.
    """
    announced = headers.get(b"content-length")
    if announced is not None and announced.isdigit() and len(announced) < 20 and int(announced) <= limit:
        return receive, send
    refused = RefusedError(413, "invalid_request_error", f"the body is larger than {limit} bytes")
    if announced is not None:
        raise refused
    if b"transfer-encoding" not in headers:
        return receive, send
    return _count_body(receive, send, limit, refused)


def _count_body(receive: Receive, send: Send, limit: int, refused: RefusedError) -> tuple[Receive, Send]:
    seen, begun = 0, False

    async def counted() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise refused
        return message

    async def passed(message: MutableMapping[str, Any]) -> None:
        nonlocal begun
        if seen <= limit:
            await send(message)
        elif not begun:  # whatever the application makes of the failed read is not the answer
            begun = True
            await send_error(send, refused)

    return counted, passed


async def screen_body(headers: dict[bytes, bytes], receive: Receive) -> Receive | None:
    """Reads a body, and gives it again once it is found fit for FastAPI; None: the client went.

    Raises:
        RefusedError: 400, JSON that is too deep or not Unicode; 422, it holds a NUL, which PostgreSQL cannot.
    """
    if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
        return receive
    raw = await read_body(receive)
    if raw is None:
        return None
    if raw:
        read_json(raw)
        if _NUL.search(raw):
            raise RefusedError(422, "invalid_request_error", "the body holds the character NUL, which is not storable")
    return _give(raw, receive)


def _give(raw: bytes, receive: Receive) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": raw, "more_body": False}

    return again
