"""Ollama's paths: native where the backend is an Ollama, OpenAI's path with a translation where it is not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection

import orjson

from router.paths import CHAT, COMPLETIONS, EMBEDDINGS, OLLAMA_EMBEDDINGS, OLLAMA_GENERATE
from router.protocols.ollama.embedding import EmbeddingTranslation, check_input
from router.protocols.ollama.options import check_options, drop_loading
from router.protocols.ollama.requests import (
    split_chat,
    split_generate,
    write_chat,
    write_completion,
    write_generate,
    write_raw,
)
from router.protocols.ollama.translation import OllamaToCompletion, OpenAiToOllama
from router.protocols.ollama.writing import tell_time
from router.protocols.openai import OpenAiCompletions
from router.protocols.protocol import NOTHING_ASKED, Body, Prompt, Protocol, Translation
from router.refusals import RefusedError


class OllamaProtocol(Protocol):
    """What all of Ollama's paths share."""

    def is_streamed(self, body: Body) -> bool:
        return body.get("stream") is not False

    def write_own(self, body: Body) -> Body | None:
        return drop_loading(body)

    def write_break(self, refused: RefusedError) -> bytes:
        return self.write_error(refused) + b"\n"


class OllamaChat(OllamaProtocol):
    """`/api/chat`."""

    def admit(self, body: Body) -> Prompt:
        check_options(body)
        return split_chat(body)

    def choose_path(self, body: Body, endpoints: Collection[str]) -> str | None:
        return CHAT if CHAT in endpoints else None

    def translate(self, body: Body, path: str, asked_model: str) -> Translation:
        return OpenAiToOllama(write_chat(body), body, asked_model, chat=True)

    def write_ready(self, body: Body, asked_model: str) -> bytes | None:
        return _write_ready(asked_model, {"message": {"role": "assistant", "content": ""}})


class OllamaGenerate(OllamaProtocol):
    """`/api/generate`."""

    def admit(self, body: Body) -> Prompt:
        check_options(body)
        return split_generate(body)

    def choose_path(self, body: Body, endpoints: Collection[str]) -> str | None:
        path = COMPLETIONS if body.get("raw") else CHAT
        return path if path in endpoints else None

    def translate(self, body: Body, path: str, asked_model: str) -> Translation:
        write = write_raw if path == COMPLETIONS else write_generate
        return OpenAiToOllama(write(body), body, asked_model, chat=False)

    def write_ready(self, body: Body, asked_model: str) -> bytes | None:
        return _write_ready(asked_model, {"response": ""})


class OllamaEmbed(OllamaProtocol):
    """`/api/embed`, and `/api/embeddings` of old."""

    remembered = False

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._single = path == OLLAMA_EMBEDDINGS

    def admit(self, body: Body) -> Prompt:
        check_options(body)
        check_input(body, "prompt" if self._single else "input")
        return NOTHING_ASKED

    def is_streamed(self, body: Body) -> bool:
        return False

    def choose_path(self, body: Body, endpoints: Collection[str]) -> str | None:
        return EMBEDDINGS if EMBEDDINGS in endpoints else None

    def translate(self, body: Body, path: str, asked_model: str) -> Translation:
        return EmbeddingTranslation(body, asked_model, single=self._single)


class Completions(OpenAiCompletions):
    """`/v1/completions`, which Ollama puts a chat template around: its own generate takes the prompt as it stands."""

    def choose_path(self, body: Body, endpoints: Collection[str]) -> str | None:
        return OLLAMA_GENERATE if OLLAMA_GENERATE in endpoints else None

    def translate(self, body: Body, path: str, asked_model: str) -> Translation:
        options = body.get("stream_options")
        return OllamaToCompletion(
            write_completion(body),
            asked_model,
            completion_id=f"cmpl-{uuid.uuid4().hex}",
            created=int(time.time()),
            include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )


def _write_ready(asked_model: str, said: Body) -> bytes:
    """To a request without a prompt: Ollama's clients load a model so, and unload it; here it is loaded for all."""
    told = {"model": asked_model, "created_at": tell_time(), **said, "done": True, "done_reason": "load"}
    return orjson.dumps(told)
