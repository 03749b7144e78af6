"""A stand-in for a vLLM, or for somebody's OpenAI-compatible server: says recorded answers of llama.cpp again, event by
event, for the models that it was started with and for adapters that are loaded by name.

Which answer a prompt gets is decided by the number in it, so that whoever asked knows what must come back, byte for
byte. It keeps nothing: killed and started again, it knows no adapter until it is told of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

from benchmarks.soak.record import MODEL

BASE = "base"
_NUMBER = re.compile(rb"soak question (\d+)")
_STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache"}


class Upstream:
    """One server; `pause_s` lies between two events."""

    def __init__(self, answers: list[dict[str, Any]], pause_s: float, models: tuple[str, ...] = (BASE,)) -> None:
        self._answers = [
            ([event.encode() for event in answer["events"]], answer["whole"].encode()) for answer in answers
        ]
        self._pause_s = pause_s
        self._models = models
        self._adapters: dict[str, str] = {}

    def build(self) -> web.Application:
        """The application."""
        app = web.Application(client_max_size=8 << 20)
        app.add_routes(
            [
                web.get("/v1/models", self.list_models),
                web.get("/health", self.list_models),
                web.post("/v1/load_lora_adapter", self.load),
                web.post("/v1/unload_lora_adapter", self.unload),
                web.post("/v1/chat/completions", self.chat),
            ]
        )
        return app

    async def list_models(self, request: web.Request) -> web.Response:
        """Base and adapters."""
        cards: list[dict[str, Any]] = [
            {"id": name, "object": "model", "root": f"/{name}", "parent": None} for name in self._models
        ]
        cards += [
            {"id": name, "object": "model", "root": root, "parent": BASE} for name, root in self._adapters.items()
        ]
        return web.json_response({"object": "list", "data": cards})

    async def load(self, request: web.Request) -> web.Response:
        """Takes an adapter by name."""
        body = await request.json()
        self._adapters[body["lora_name"]] = body["lora_path"]
        return web.Response(text="Success: LoRA adapter added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        """Forgets one."""
        self._adapters.pop((await request.json())["lora_name"], None)
        return web.Response(text="Success: LoRA adapter removed successfully.")

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Says a recorded answer."""
        raw = await request.read()
        body = orjson.loads(raw)
        name = body["model"]
        if name not in self._models and name not in self._adapters:
            said = {"message": f"The model `{name}` does not exist.", "type": "NotFoundError", "code": 404}
            return web.json_response({"error": said}, status=404)
        found = _NUMBER.search(raw)
        events, whole = self._answers[int(found[1]) % len(self._answers) if found else 0]
        model = name.encode()
        if not body.get("stream"):
            return web.Response(body=whole.replace(MODEL.encode(), model), content_type="application/json")
        response = web.StreamResponse(headers=_STREAM)
        await response.prepare(request)
        for event in events:
            await response.write(event.replace(MODEL.encode(), model))
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
        await response.write_eof()
        return response


async def serve(port: int, upstream: Upstream) -> None:
    """Serves on loopback for ever."""
    runner = web.AppRunner(upstream.build(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


def main(arguments: list[str] | None = None) -> None:
    """Runs one upstream until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--pause-ms", type=float, default=2.0)
    parser.add_argument("--model", default=BASE, help="that it has from the start")
    options = parser.parse_args(arguments)
    answers = json.loads(options.answers.read_text(encoding="utf-8"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, Upstream(answers, options.pause_ms / 1000, (options.model,))))


if __name__ == "__main__":
    main()
