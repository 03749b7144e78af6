"""Contestants of `benchmarks.router`, each in a process of its own: `python -m benchmarks.router_child KIND PORT …`.

`ours` is a worker's hot path with everything on: the shipped server settings, front door with a key from PostgreSQL, a
running experiment, the log to a real PostgreSQL, metrics. `starlette` is the usual proxy: Starlette before httpx, under
the same server and loop, that knows, checks and remembers nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as WebRoute

from flytewheel.api_keys import list_keys
from flytewheel.experiment.experiments import Experiment
from router.access.callers import SERVE
from router.access.keys import Keys
from router.access.rates import Rates
from router.backends.backend import Status
from router.backends.view import BackendView
from router.feedback import open_feedback
from router.front import Front
from router.log import Log
from router.metrics import Metrics
from router.protocols import PROTOCOLS
from router.proxy import ChatProxy
from router.receipts import ReceiptBook
from router.server import Server, bind, make_config
from router.state import Route, RouterState, close_state

KEY = b"the assignment key of this benchmark"
NAME = "demo"


async def serve_ours(port: int, upstream: str, database_url: str, folder: Path) -> None:
    """A worker's hot path before one upstream, which stands for both arms of an experiment."""
    view = BackendView(lambda serial, word: None)
    for serial, version in enumerate(("v1", "v2")):
        view.apply(
            Status(
                serial,
                NAME,
                version,
                "d" * 64,
                "ready",
                url=upstream,
                alias=f"flytewheel/{NAME}@{version}",
                generation=1,
                own=True,
            )
        )
    state = RouterState(
        database_url=database_url,
        admin_key=b"admin",
        assignment_key=KEY,
        receipts=ReceiptBook(KEY),
        pool=view,
        log=Log(database_url, folder / "spool"),
        metrics=Metrics(folder / "metrics"),
        routes={NAME: Route(NAME, "v1", Experiment("exp-benchmark", NAME, "running", "v1", "v2", 0.3))},
    )
    state.feedback = open_feedback(state, lambda: state.routes)
    state.loaded.set()
    keys = Keys(b"admin")
    keys.replace(list_keys(database_url))
    rates = Rates(folder / "rates", KEY)
    front = Front(_serve_nothing, door=keys, meter=rates)
    proxy = ChatProxy(state, rates)
    for path in PROTOCOLS:
        front.add(path, ("POST",), SERVE, proxy)
    try:
        server = Server(make_config(front))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
        await server.serve_on(bind("127.0.0.1", port))
    finally:
        await close_state(state)


async def serve_starlette(port: int, upstream: str) -> None:
    """What a team writes in an afternoon: pooled httpx, streams passed on, headers and statuses too."""

    async def chat(request: Request) -> Response:
        client: httpx.AsyncClient = request.app.state.client
        asked = client.build_request(
            "POST", request.url.path, content=await request.body(), headers={"content-type": "application/json"}
        )
        answer = await client.send(asked, stream=True)
        return StreamingResponse(
            answer.aiter_raw(),
            answer.status_code,
            {"content-type": answer.headers["content-type"]},
            background=BackgroundTask(answer.aclose),
        )

    @contextlib.asynccontextmanager
    async def run(app: Starlette) -> AsyncIterator[None]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=upstream, limits=limits, timeout=600, trust_env=False) as client:
            app.state.client = client
            yield

    app = Starlette(routes=[WebRoute("/v1/chat/completions", chat, methods=["POST"])], lifespan=run)
    await _serve(
        uvicorn.Config(
            app,
            port=port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            log_level="warning",
        )
    )


async def _serve(config: uvicorn.Config) -> None:
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
    await server.serve()


async def _serve_nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("ours", "starlette"))
    parser.add_argument("port", type=int)
    parser.add_argument("upstream")
    parser.add_argument("--database-url", default="")
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    if options.kind == "ours":
        uvloop.run(serve_ours(options.port, options.upstream, options.database_url, options.folder))
    else:
        uvloop.run(serve_starlette(options.port, options.upstream))


if __name__ == "__main__":
    main()
