"""`python -m router.worker`: started by a keeper, which hands over a listening socket and one end of a pair of sockets.

It takes connections once it knows the table, until the keeper says that it may leave. Then it ends after its running
answers, with everything logged that was said. Where the keeper was killed it goes on by its last table, until another
keeper's workers serve (the end of the pipe `life`), or for `ORPHAN_S`: it hears of no change any more.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import ssl
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from flytewheel.settings import Settings, read_settings
from router.access import open_access
from router.access.keys import Keys
from router.access.rates import Rates
from router.access.wire import lift_file_limit
from router.backends.backend import Status
from router.backends.rules import Rules
from router.backends.view import BackendView
from router.channel import Channel
from router.front import Endpoint
from router.loglines import set_up_logging
from router.memory import share_arenas
from router.passing import PassingOn
from router.paths import name_metrics
from router.request_lines import RequestLines
from router.server import Certificate, Server, make_config
from router.state import RouterState, close_state, open_state
from router.table import Table
from router.worker.app import make_app
from router.worker.rehearsing import rehearse

logger = logging.getLogger("router.worker")

ORPHAN_S = 60.0


class Worker:
    """One process that answers; made inside the event loop."""

    def __init__(
        self, listener: socket.socket, life: int, keeper: Path, certificate: Certificate | None, drain_s: float
    ) -> None:
        self._listener = listener
        self._life = life
        self._keeper = keeper
        self._certificate = certificate
        self._drain_s = drain_s
        self._context: ssl.SSLContext | None = None
        self._informed = asyncio.Event()
        self._leave = asyncio.Event()
        self._serving = False
        self._view: BackendView
        self._settings: Settings
        self._access: tuple[Keys, Rates]
        self._state: RouterState
        self._app: Endpoint | None = None
        self._channel: Channel

    async def run(self, end: socket.socket, settings: Settings) -> None:
        """Serves until it is told to leave, or nobody is there to tell it anything."""
        if self._certificate is not None:
            self._context = self._certificate.load()
        self._settings = settings
        self._access = open_access(settings)
        self._view = BackendView(
            lambda serial, word: self._channel.tell("word", (serial, word)), Rules.of_settings(settings)
        )
        self._state = state = await open_state(settings, self._view, name_metrics(self._keeper))
        self._channel = await Channel.open(end, self._hear)
        sampling = asyncio.create_task(state.metrics.keep_sampled())
        listening = asyncio.create_task(self._channel.run())
        listening.add_done_callback(lambda _: self._go_on_alone())
        loop = asyncio.get_running_loop()
        loop.add_reader(self._life, self._end_with_guard)
        loop.add_signal_handler(signal.SIGTERM, self._leave.set)
        for each in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(each, _pass_over)
        self._channel.tell("hello")
        await _wait_either(self._informed, self._leave)
        if not self._leave.is_set():
            await self._serve(state)
        self._channel.close()
        sampling.cancel()
        await close_state(state)

    async def _serve(self, state: RouterState) -> None:
        app: Endpoint = make_app(self._settings, state, self._access, PassingOn(self._keeper))
        self._app = app
        if self._settings.access_log:
            app = RequestLines(app)
        server = Server(make_config(app, context=self._context, drain_s=self._drain_s))
        serving = asyncio.create_task(server.serve_on(self._listener))
        await server.wait_started()
        self._serving = True
        self._channel.tell("serving")
        await _wait_either(serving, self._leave)
        server.should_exit = True
        await serving

    def _go_on_alone(self) -> None:
        """The keeper has gone without a word."""
        if self._serving and not self._leave.is_set():
            logger.warning("the keeper has gone; going on by what it said last, for %g s at most", ORPHAN_S)
            asyncio.get_running_loop().call_later(ORPHAN_S, self._leave.set)
        else:
            self._leave.set()

    def _end_with_guard(self) -> None:
        asyncio.get_running_loop().remove_reader(self._life)
        self._leave.set()

    def _hear(self, kind: str, content: Any) -> Any:
        if kind == "status":
            self._view.apply(Status.from_wire(content))
        elif kind == "table":
            table = Table.from_wire(content)
            self._state.apply(table)
            self._access[1].replicas = table.replicas
            if table.keys is not None:
                self._access[0].replace(table.keys)
            self._informed.set()
        elif kind == "leave":
            self._leave.set()
        elif kind == "settled":
            return self._state.log.settled(content, 5.0)
        elif kind == "certificate" and self._certificate is not None:
            self._certificate.load(self._context)
        elif kind == "report":
            return self._report()
        elif kind == "rehearse" and self._app is not None:
            return rehearse(self._app, self._state.admin_key, content)
        return None

    def _report(self) -> dict[str, Any]:
        return {
            "inflight": {backend.model.serial: backend.inflight for backend in self._view.all() if backend.inflight},
            "log": asdict(self._state.log.state),
        }


async def _wait_either(*awaited: asyncio.Event | asyncio.Task[Any]) -> None:
    tasks = {asyncio.ensure_future(one.wait()) if isinstance(one, asyncio.Event) else one for one in awaited}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks - {one for one in awaited if isinstance(one, asyncio.Task)}:
            task.cancel()


def _pass_over() -> None:
    """It reaches the whole group of processes (Ctrl-C, a terminal that is closed); the keeper says what it means."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one worker; what it was started with is the keeper's business to have checked."""
    parser = argparse.ArgumentParser(prog="router.worker", description="a worker; started by `python -m router`")
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--life", type=int, required=True)
    parser.add_argument("--keeper", type=Path, required=True)
    parser.add_argument("--drain-s", type=float, required=True)
    parser.add_argument("--tls", type=Path, nargs=2, default=None)
    options = parser.parse_args(arguments)
    settings = read_settings()
    set_up_logging(settings)
    share_arenas()
    listener, end = (socket.socket(fileno=number) for number in (options.listener, options.channel))
    certificate = Certificate(*options.tls) if options.tls else None
    lift_file_limit()

    async def run() -> None:
        worker = Worker(listener, options.life, options.keeper, certificate, options.drain_s)
        await worker.run(end, settings)

    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
