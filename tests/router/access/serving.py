"""A front door over a real socket: the shipped protocol and limits before endpoints of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from router.access.bodies import read_json
from router.access.callers import PUBLIC, SERVE, caller_of
from router.access.keys import Keys
from router.access.origins import Origins
from router.access.rates import Rates
from router.access.room import WireLimits
from router.access.wire import make_protocol
from router.asgi import read_body
from router.front import Front
from router.server import make_config

ADMIN_KEY = "root-key-of-the-tests"


@dataclass
class Seen:
    """What the endpoint was asked."""

    requests: list[tuple[str, str, bytes | None]] = field(default_factory=list)
    headers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    streamed: threading.Event = field(default_factory=threading.Event)  # the stream was written, or has no client


def make_front(seen: Seen, *, keys: Keys | None = None, rates: Rates | None = None, **options: Any) -> Front:
    """A front door with `/echo` for everybody, `/json`, `/stream` and `/chat` (serve)."""
    front = Front(
        refuse_rest,
        door=keys or Keys(ADMIN_KEY.encode()),
        meter=rates or Rates(None, b"k"),
        origins=options.pop("origins", Origins(())),
        app=None,
        **options,
    )

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        target = scope["path"] + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        seen.requests.append((scope["method"], target, body))
        seen.headers.append(list(scope["headers"]))
        if body is None:
            return
        told = b"%s %s %d %s" % (
            scope["method"].encode(), scope["path"].encode(), len(body), (caller_of(scope).key_id or "-").encode()
        )  # fmt: skip
        headers = [(b"content-length", b"%d" % len(told))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    async def take_json(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        read_json(body or b"")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        seen.streamed.set()

    front.add("/echo", ("GET", "POST"), PUBLIC, echo)
    front.add("/json", ("POST",), PUBLIC, take_json)
    front.add("/stream", ("GET",), PUBLIC, stream)
    front.add("/chat", ("POST",), SERVE, echo)
    return front


async def refuse_rest(scope: Any, receive: Any, send: Any) -> None:
    """Stands for the process that serves the rest."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@contextlib.contextmanager
def serve(
    app: Callable[..., Awaitable[None]], limits: WireLimits | None = None, *, idle_s: int | None = None
) -> Iterator[int]:
    """Serves an application in a thread; yields its port. `idle_s`: how long an idle connection is kept."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        config = make_config(app)
        config.http_protocol_class = make_protocol(limits)
        if idle_s is not None:
            config.timeout_keep_alive = idle_s
        server = uvicorn.Server(config)

        def run() -> None:
            with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                runner.run(server.serve(sockets=[listener]))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def exchange(port: int, sent: bytes, *, timeout_s: float = 5.0, end: bool = False) -> tuple[bytes, bool]:
    """Sends bytes on a connection of its own; all that comes back until it is closed or nothing comes for a while,
    and whether the server closed it."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        try:
            connection.sendall(sent)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return drain(connection, timeout_s)


def drain(connection: socket.socket, timeout_s: float) -> tuple[bytes, bool]:
    """All that comes until the connection is closed, or nothing comes for `timeout_s`."""
    connection.settimeout(timeout_s)
    parts = []
    while True:
        try:
            part = connection.recv(65536)
        except TimeoutError:
            return b"".join(parts), False
        except OSError:
            return b"".join(parts), True
        if not part:
            return b"".join(parts), True
        parts.append(part)
