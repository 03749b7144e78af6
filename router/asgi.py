"""The bare ASGI that the hot paths are written in: a request's body, and its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEADERS = "flytewheel.headers"  # in the ASGI scope: the request's headers as a dict, names in lower case
CONNECTION = "flytewheel.connection"  # in the ASGI scope: a `Connection`
FOLLOWS = "flytewheel.follows"  # in `http.response.start`: the first of the body is sent at once, in one piece with it


class Written(list[tuple[bytes, bytes]]):
    """Headers of an answer that are also there as they go out.

    Whoever adds a header makes a plain list of them, and the server writes them itself again. Attributes: `lines`, each
    with its end, in which no value breaks a line; `length`, of the body, where it is among them.
    """

    __slots__ = ("length", "lines")

    lines: bytes
    length: int | None


class Connection(Protocol):
    """A client's connection."""

    gone: Callable[[], None] | None  # called when the client goes

    @property
    def lost(self) -> bool:
        """Whether it has gone."""


class _Done:
    """An awaitable that is done."""

    def __await__(self) -> Generator[None, None, None]:
        return _ENDED


def _end() -> Generator[None, None, None]:
    return
    yield


_ENDED = _end()
next(_ENDED, None)  # what has ended once ends at once whenever it is asked
DONE = _Done()  # what a `send` may return that has nothing left to wait for


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; None when the client went before it was all here."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


async def wait_gone(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_json(send: Send, body: bytes, status: int = 200) -> None:
    """Sends a body of JSON as the whole answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
