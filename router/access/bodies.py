"""What a body may be: so large, so deep, so dense, and text that PostgreSQL can hold.

Bare endpoints read JSON with `read_json`; what FastAPI serves is screened before it gets there. Depth needs no parser
of ours: orjson reads 1,024 levels and writes 254, so what it can write again is not too deep for anybody behind us.
20 MiB of `[],` would be 7 million lists: 4.5 s in which nobody else is served, and 400 MiB. Both questions are asked
only of a body with more than 254 brackets, and those are counted by jumping from one to the next: bytes.count looks at
each byte (4 µs for a chat of 1 kB, as much as reading it), bytes.split jumps (0.3 µs), and an image has no brackets.
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
MAX_DEPTH = 254
MAX_BRACKETS = 200_000
_PARTS = MAX_DEPTH + 2  # that two kinds of brackets cut a body into, where it has MAX_DEPTH of them

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def read_json(raw: bytes) -> Any:
    """The value of a JSON body.

    Raises:
        RefusedError: 400, it is not JSON, is deeper than MAX_DEPTH or has more lists and objects than MAX_BRACKETS.
    """
    many = len(raw.split(b"{", _PARTS)) + len(raw.split(b"[", _PARTS)) > _PARTS
    if many and _holds_more(raw, MAX_BRACKETS):
        raise _refuse(f"the body holds more than {MAX_BRACKETS} lists or objects")
    try:
        value = orjson.loads(raw)
        if many:
            orjson.dumps(value)
    except orjson.JSONDecodeError as error:
        raise _refuse(f"the body is not JSON: {error}") from None
    except orjson.JSONEncodeError:
        raise _refuse(f"the body is not JSON of at most {MAX_DEPTH} levels") from None
    return value


def _holds_more(raw: bytes, limit: int) -> bool:
    """Whether there are more than `limit` opening brackets, those within texts too."""
    found = 0
    for bracket in (b"[", b"{"):
        place = raw.find(bracket)
        while place >= 0:
            found += 1
            if found > limit:
                return True
            place = raw.find(bracket, place + 1)
    return False


def _refuse(message: str) -> RefusedError:
    return RefusedError(400, "invalid_request_error", message)


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
