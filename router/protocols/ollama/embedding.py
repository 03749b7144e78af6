"""Ollama's two embedding paths over OpenAI's one: `/api/embed` for one text or several, `/api/embeddings` of old."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from router.protocols.lines import find_error, read_object
from router.protocols.ollama.writing import Clock, Counts
from router.protocols.protocol import AnswerError, Body, ToldError, Translation
from router.refusals import RefusedError

_KNOWN = frozenset(("model", "input", "prompt", "options", "keep_alive", "truncate", "dimensions"))


class EmbeddingTranslation(Translation):
    """Embeddings of OpenAI's for a client of Ollama's; `single` in the form of `/api/embeddings`."""

    stream_type = b"application/json"

    def __init__(self, body: Body, model: str, *, single: bool) -> None:
        self._body = body
        self._model = model
        self._single = single
        self._clock = Clock()

    def write_request(self) -> Body:
        written = {name: value for name, value in self._body.items() if name not in _KNOWN}
        if self._body.get("dimensions") is not None:
            written["dimensions"] = self._body["dimensions"]
        return written | {"input": self._body["prompt" if self._single else "input"], "encoding_format": "float"}

    def write_whole(self, answer: bytes) -> bytes:
        content = read_object(answer)
        if (error := find_error(content)) is not None:
            raise ToldError(error)
        found = [_read_embedding(each) for each in _read_data(content)]
        if self._single:
            return orjson.dumps({"embedding": found[0]})
        counts = Counts()
        counts.note(content)
        self._clock.note_whole()
        told = counts.write(self._clock)
        kept = {name: told[name] for name in ("total_duration", "load_duration", "prompt_eval_count") if name in told}
        return orjson.dumps({"model": self._model, "embeddings": found, **kept})

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        raise AnswerError("embeddings are no stream")

    def finish(self) -> Iterator[bytes]:
        raise AnswerError("embeddings are no stream")


def check_input(body: Body, name: str) -> None:
    """Refuses a request without text.

    Raises:
        RefusedError: `name` holds neither text nor texts.
    """
    given = body.get(name)
    texts = given if isinstance(given, list) and name == "input" else [given]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RefusedError(400, "invalid_request_error", f"{name} must be text{' or a list of' * (name == 'input')}")


def _read_data(content: dict[str, Any]) -> list[dict[str, Any]]:
    data = content.get("data")
    found = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    if not found:
        raise AnswerError("no embedding in the answer")
    places = [each.get("index") for each in found]
    if all(isinstance(place, int) for place in places):
        found.sort(key=lambda each: int(each["index"]))
    return found


def _read_embedding(each: dict[str, Any]) -> list[float]:
    embedding = each.get("embedding")
    if not isinstance(embedding, list) or not all(isinstance(value, int | float) for value in embedding):
        raise AnswerError("an embedding is no list of numbers")
    return embedding
