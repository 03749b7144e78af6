"""The usual proxy, for `benchmarks.router`: `python -m benchmarks.router_child starlette PORT UPSTREAM`.

Starlette before httpx, under the same server and loop as ours, that knows, checks and remembers nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import httpx
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as WebRoute


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


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("starlette",))
    parser.add_argument("port", type=int)
    parser.add_argument("upstream")
    options = parser.parse_args()
    uvloop.run(serve_starlette(options.port, options.upstream))


if __name__ == "__main__":
    main()
