"""A local upstream that says llama.cpp's answers again: each version answers each distinct prompt once, by llama.cpp
and from the file that is registered, and from then on what it said is replayed.

It speaks as a vLLM does, so that the router loads versions into it by name. What it serves is found by that name in the
registry, held against digests and signature as the router's own files are. Versions that `broken.json` names, which may
change while it runs, are served with a planted fault: answers stop after a few words, as by a broken stop token.

`python -m benchmarks.month.replay --port N --folder FOLDER`, with the services in the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvloop
from aiohttp import web

from benchmarks.soak.upstream import BASE, Upstream, serve
from flytewheel.errors import FlytewheelError
from flytewheel.llama_server import run_server
from flytewheel.local.services import find_services
from flytewheel.settings import read_settings
from flytewheel.signed_registry import open_registry
from registry.claims import list_versions
from router.backends.served import fetch_model

BROKEN = "broken.json"  # beside the models: names of versions whose answers stop early
CUT_WORDS = 6
SLOTS = 2


class Replay(Upstream):
    """One server; `folder` holds the versions' files, `name` is the model whose base answers as `base`."""

    def __init__(self, folder: Path, name: str, stack: ExitStack) -> None:
        super().__init__([], 0.0)
        self._folder = folder
        self._name = name
        self._stack = stack
        self._servers: dict[str, str] = {}
        self._said: dict[tuple[str, bytes], asyncio.Future[dict[str, Any]]] = {}
        self._starting = asyncio.Lock()
        self._room = asyncio.Semaphore(SLOTS)
        self._client = httpx.AsyncClient(timeout=120, trust_env=False)
        self.generated: dict[str, int] = {}

    def build(self) -> web.Application:
        """The application, with what was generated so far at `/generated`."""
        app = super().build()
        app.add_routes([web.get("/generated", self.tell)])
        return app

    async def tell(self, request: web.Request) -> web.Response:
        """How many answers each version was asked for once."""
        return web.json_response(self.generated)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Replays the answer to this prompt, or has llama.cpp give it for the first time."""
        body = orjson.loads(await request.read())
        model = body["model"]
        if model not in self._models and model not in self._adapters:
            said = {"message": f"The model `{model}` does not exist.", "type": "NotFoundError", "code": 404}
            return web.json_response({"error": said}, status=404)
        asked = {"messages": body["messages"], "temperature": 0, "max_tokens": body.get("max_tokens", 128)}
        key = (model, hashlib.sha256(orjson.dumps(asked)).digest())
        if key not in self._said:
            self._said[key] = asyncio.ensure_future(self._generate(model, asked))
        try:
            answer = await asyncio.shield(self._said[key])
        except (httpx.HTTPError, FlytewheelError) as error:
            self._said.pop(key, None)  # asked again, it is tried again
            return web.json_response({"error": {"message": str(error)}}, status=503)
        return web.json_response(self._break(answer, model) if self._is_broken(model) else answer | {"model": model})

    async def _generate(self, model: str, asked: dict[str, Any]) -> dict[str, Any]:
        async with self._starting:
            if model not in self._servers:
                self._servers[model] = await asyncio.to_thread(self._start, model)
        async with self._room:
            answer = await self._client.post(
                self._servers[model] + "/v1/chat/completions", json={"model": "replayed", **asked}
            )
        answer.raise_for_status()
        self.generated[model] = self.generated.get(model, 0) + 1
        found: dict[str, Any] = answer.json()
        return found

    def _start(self, model: str) -> str:
        registry = open_registry(find_services(read_settings()))
        version = model.partition("@")[2] or str(list_versions(registry.store, self._name)[0])
        served = fetch_model(registry, self._folder, self._name, version)
        assert served.file is not None
        return self._stack.enter_context(
            run_server(served.file, alias="replayed", threads=1, slots=SLOTS, slot_tokens=1024)
        )

    def _is_broken(self, model: str) -> bool:
        file = self._folder / BROKEN
        return file.exists() and model.partition("@")[2] in json.loads(file.read_text())

    def _break(self, answer: dict[str, Any], model: str) -> dict[str, Any]:
        choice = answer["choices"][0]
        cut = " ".join((choice["message"]["content"] or "").split()[:CUT_WORDS])
        message = choice["message"] | {"content": cut}
        return answer | {"model": model, "choices": [choice | {"message": message}]}


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    async def run(stack: ExitStack) -> None:
        await serve(options.port, Replay(options.folder, options.name, stack))

    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(stack))


if __name__ == "__main__":
    main()


__all__ = ["BASE", "BROKEN", "Replay"]
