"""How the router listens: one socket that all workers share, and uvicorn's limits, the same for the shipped router and
for what is measured.

The keeper makes the socket and never takes a connection from it; a connection that no worker has taken yet waits in its
queue, also while workers are replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from flytewheel.errors import RouterError
from router.access.wire import make_protocol

BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than most load balancers keep an idle connection, so that they close first
_YOUNG = 10_000  # objects more than there were, before the collector looks at them
_LOOK_S = 0.25
_TAKE_OVER_S = 10.0  # a router that ends gives its port free within moments


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its key, both PEM files."""

    chain: Path
    key: Path

    def load(self, context: ssl.SSLContext | None = None) -> ssl.SSLContext:
        """A context for servers from TLS 1.2 on, or `context` with what the files hold now.

        Raises:
            RouterError: what is wrong with them.
        """
        for path in (self.chain, self.key):
            if not path.is_file():
                raise RouterError(f"TLS: there is no file {path}; name a PEM certificate and its key")
        try:
            fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            fresh.minimum_version = ssl.TLSVersion.TLSv1_2
            fresh.load_cert_chain(self.chain, self.key, password=_refuse_password)
            if context is not None:
                context.load_cert_chain(self.chain, self.key, password=_refuse_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise RouterError(
                f"TLS: {self.chain} and {self.key} do not go together as certificate and key ({reason}); name a PEM"
                " chain, its own certificate first, and the unencrypted PEM key that belongs to it"
            ) from None
        return context or fresh

    def stamp(self) -> tuple[int, ...]:
        """Changes when one of the files does."""
        found = []
        for path in (self.chain, self.key):
            with contextlib.suppress(OSError):
                status = path.stat()
                found += [status.st_mtime_ns, status.st_ino, status.st_size]
        return tuple(found)


def _refuse_password() -> str:
    raise ValueError("the key is encrypted")


def bind(host: str, port: int) -> socket.socket:
    """The listening socket, to be inherited by workers. Port 0 takes a free one.

    Raises:
        RouterError: the address cannot be had.
    """
    deadline = time.monotonic() + _TAKE_OVER_S
    while True:
        listener = None
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            return listener
        except OSError as error:
            if listener is not None:
                listener.close()
            if time.monotonic() > deadline or "in use" not in str(error):
                raise RouterError(f"cannot listen on {host}:{port}: {error}; name another --port or --host") from None
            time.sleep(0.05)


def make_config(app: Any, *, context: ssl.SSLContext | None = None, drain_s: float = 30.0) -> uvicorn.Config:
    """uvicorn's settings for `app`; running answers have `drain_s` seconds when it is told to stop."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=make_protocol(),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=drain_s,  # type: ignore[arg-type]
    )
    config.load()
    config.ssl = context
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return config


class Server(uvicorn.Server):
    """uvicorn's server, whose process listens to signals by itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def main_loop(self) -> None:
        """Looks whether it is to end, and what the date is: four times a second, where uvicorn looks ten times, which
        was most of what an idle worker cost.
        """
        while not await self.on_tick(0):
            await asyncio.sleep(_LOOK_S)

    async def serve_on(self, listener: socket.socket) -> None:
        """Serves until `should_exit`; then takes no connection any more, and ends after the running answers.

        What is there by now stays for good: the collector of cycles need not walk over it for every few hundred
        requests (4 % of a worker's time). Nor need it look after every 700 objects: requests leave no cycles behind,
        and those that run at one time are more than that (2 %).
        """
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
        await self.serve(sockets=[listener])

    async def wait_started(self) -> None:
        """Returns when connections are taken."""
        while not self.started:
            await asyncio.sleep(0.005)
