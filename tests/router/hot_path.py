"""The hot path alone over real HTTP: front door and chat proxy as a worker has them, before an upstream that records
the bytes it gets and answers as a test says.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvloop
from aiohttp import web

from flytewheel.experiment.experiments import Experiment
from router.access.callers import SERVE
from router.access.keys import Keys
from router.access.rates import Rates
from router.allocation import Allocation
from router.backends.backend import Status
from router.backends.pool import BackendPool
from router.backends.rules import Rules
from router.backends.view import BackendView
from router.duels import DuelEndpoint
from router.feedback import open_feedback
from router.front import Front
from router.log import Log
from router.metrics import Metrics
from router.paths import DUELS
from router.protocols import PROTOCOLS
from router.proxy import ChatProxy
from router.receipts import ReceiptBook
from router.refusals import RefusedError, send_error
from router.server import Server, bind, make_config
from router.state import Route, RouterState, close_state
from router.table import Table
from tests.ports import free_port
from tests.router.live import ADMIN_KEY, ASSIGNMENT_KEY, wait_until

DIGEST = "d" * 64
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HotPath:
    """A context: a server in a thread, with the model `demo` (versions v1, v2) behind it."""

    def __init__(
        self,
        database_url: str,
        folder: Path,
        answer: Answer,
        experiment: Experiment | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.database_url = database_url
        self.seen: list[tuple[Mapping[str, str], bytes]] = []  # headers and body of what the upstream was asked
        self.gone = threading.Event()  # the upstream saw somebody leave
        self.keys = Keys(ADMIN_KEY.encode(), loopback=True)
        self.state: RouterState
        self._folder = folder
        self._answer = answer
        self._rules = rules or Rules()
        self._route = Route("demo", "v1", experiment)
        self._ports = free_port(), free_port()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self._ports[0]}", timeout=30, trust_env=False)

    @property
    def port(self) -> int:
        return self._ports[0]

    def __enter__(self) -> HotPath:
        self._thread.start()
        wait_until(self._serves, what="the hot path serves")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def ask(self, body: Any = None, *, path: str = "/v1/chat/completions", **options: Any) -> httpx.Response:
        """One request; `content` in the options is sent as it is."""
        if "content" not in options:
            asked = {"model": "flytewheel/demo", "messages": [{"role": "user", "content": "?"}]}
            options["json"] = asked | (body or {})
        return self.client.post(path, **options)

    def interaction(self, answer: httpx.Response) -> dict[str, Any]:
        """The stored row of an answer, waited for."""
        query = "SELECT body FROM interactions WHERE interaction_id = %s"
        values = (answer.headers["x-flytewheel-interaction"],)

        def read() -> Any:
            with psycopg.connect(self.database_url) as connection:
                return connection.execute(query, values).fetchone()

        found: dict[str, Any] = wait_until(read, what=f"the interaction {values} is stored")[0]
        return found

    def _serves(self) -> bool:
        try:
            return self.client.get("/").status_code == 404
        except httpx.TransportError:
            return False

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.headers, await request.read()))
        try:
            return await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        upstream = web.Application(client_max_size=64 << 20)
        upstream.router.add_route("*", "/{tail:.*}", self._take)
        runner = web.AppRunner(upstream, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._ports[1]).start()
        view = BackendView(lambda serial, word: None, self._rules)
        for serial, version in enumerate(("v1", "v2")):
            view.apply(
                Status(
                    serial,
                    "demo",
                    version,
                    DIGEST,
                    "ready",
                    url=f"http://127.0.0.1:{self._ports[1]}/{version}",
                    alias=f"inner-{version}",
                    headers={"x-secret": "of-the-backend"},
                    endpoints=("/v1/chat/completions", "/v1/completions", "/v1/embeddings"),
                    generation=1,
                    own=True,
                )
            )
        self.state = state = open_hot_state(self.database_url, self._folder, view)
        state.apply(Table({"demo": self._route}, loaded=True))
        rates = Rates(None, b"key")
        front = Front(_refuse, door=self.keys, meter=rates)
        front.add(DUELS, ("POST",), SERVE, DuelEndpoint(state, ChatProxy(state, rates), rates))
        state.feedback.add_to(front)
        for path in PROTOCOLS:
            front.add(path, ("POST",), SERVE, ChatProxy(state, rates))
        server = Server(make_config(front))
        serving = asyncio.create_task(server.serve_on(bind("127.0.0.1", self._ports[0])))
        await self._stop.wait()
        server.should_exit = True
        await serving
        await close_state(state)
        await runner.cleanup()


def open_hot_state(database_url: str, folder: Path, pool: BackendView | BackendPool, key: bytes = b"") -> RouterState:
    """What the chat path needs of a worker's state."""
    key = key or ASSIGNMENT_KEY.encode()
    state = RouterState(
        database_url=database_url,
        admin_key=ADMIN_KEY.encode(),
        assignment_key=key,
        receipts=ReceiptBook(key),
        pool=pool,
        log=Log(database_url, folder / "spool"),
        metrics=Metrics(),
    )
    state.feedback = open_feedback(state, lambda: state.routes)
    state.allocation = Allocation((folder, state))
    return state


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    await send_error(send, RefusedError(404, "invalid_request_error", "nothing else is here"))
