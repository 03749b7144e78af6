"""Records what llama.cpp answers, byte for byte and event by event, for upstreams that say it again faster.

The bundled model answers through llama.cpp's own server, streamed and not. `{MODEL}` stands where the server wrote the
model's name: upstreams put in the one that they are asked for.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flytewheel.export.convert import write_gguf
from flytewheel.export.source import open_source
from flytewheel.llama_server import run_server
from flytewheel.models import load_tokenizer
from flytewheel.pocket.users import draw_questions
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import build_prompt, to_jsonable

MODEL = "{MODEL}"
ALIAS = "recorded-model"
POCKET = BaseModelSpec(model="pocket")


@dataclass(frozen=True, slots=True)
class Recording:
    """One answer: `events` of the stream, each with its blank line, and `whole`, the body without a stream."""

    events: tuple[str, ...]
    whole: str


def record(count: int, *, seed: int = 7, max_tokens: int = 12) -> list[Recording]:
    """Has llama.cpp answer `count` questions of the bundled world, greedily."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pocket.gguf"
        write_gguf(open_source(POCKET, None), load_tokenizer(POCKET), path, name="pocket")
        with (
            run_server(path, alias=ALIAS, threads=1, slot_tokens=2048) as url,
            httpx.Client(base_url=url, timeout=60, trust_env=False, headers={"connection": "close"}) as client,
        ):
            bodies = (
                {
                    "model": ALIAS,
                    "messages": to_jsonable(build_prompt(question.query, context=question.context)),
                    "temperature": 0,
                    "max_tokens": max_tokens,
                }
                for question in draw_questions(count, seed, users=count)
            )
            return [_record_one(client, body) for body in bodies]


def _record_one(client: httpx.Client, body: dict[str, Any]) -> Recording:
    whole = client.post("/v1/chat/completions", json=body)
    streamed = client.post("/v1/chat/completions", json=body | {"stream": True})
    for answer in (whole, streamed):
        answer.raise_for_status()
    events = [event + "\n\n" for event in _generalise(streamed.text).split("\n\n") if event]
    if events[-1].strip() != "data: [DONE]":
        raise RuntimeError(f"llama.cpp's stream ends with {events[-1]!r}, expected [DONE]")
    return Recording(tuple(events), _generalise(whole.text))


def _generalise(text: str) -> str:
    return text.replace(ALIAS, MODEL)
