"""Reads what is remembered of an answer, after it was passed on, from the bytes of the backend: whole, or a stream's
events put together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import orjson

OLLAMA = "/api/"  # opens the paths on which a backend speaks Ollama's protocol
_COUNTS = (
    ("timings", {"predicted_n": "completion_tokens"}),
    ("usage", {"prompt_tokens": "prompt_tokens", "completion_tokens": "completion_tokens"}),
)
_OLLAMA_COUNTS = {"prompt_eval_count": "prompt_tokens", "eval_count": "completion_tokens"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's first choice.

    `finished` is false when its end is missing, `tokens` are counts by kind, `fault` says in what the bytes are not the
    protocol's, or that they say an error.
    """

    text: str
    finished: bool
    finish_reason: str | None = None
    tokens: dict[str, int] = field(default_factory=dict)
    fault: str | None = None


def read_answer(path: str, body: bytes, *, streamed: bool) -> Answer:
    """Reads the answer of a backend that was asked on `path`."""
    if path.startswith(OLLAMA):
        return read_ollama(body)
    return read_stream(body) if streamed else read_plain(body)


def read_plain(body: bytes) -> Answer:
    """Reads an answer of OpenAI's that came whole."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Answer(clean(body.decode(errors="replace")), finished=False, fault="the answer is no JSON")
    if isinstance(content, dict) and content.get("error"):
        return Answer("", finished=False, fault="the answer is an error")
    choice = _first_choice(content)
    text = _text(_mapping(choice.get("message")).get("content")) or _text(choice.get("text"))
    reason = choice.get("finish_reason")
    return Answer(clean(text), True, reason if isinstance(reason, str) else None, _count(content))


def read_stream(body: bytes) -> Answer:
    """Reads a stream of server-sent events; one that ended without a finish reason and `[DONE]` is not finished."""
    parts: list[str] = []
    reason: str | None = None
    done = False
    fault: str | None = None
    tokens: dict[str, int] = {}
    lines = body.split(b"\n")
    for line in lines:
        if line.startswith(b"error:"):
            fault = "the stream says an error"
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            done = True
            continue
        try:
            content = orjson.loads(data)
        except orjson.JSONDecodeError:
            if line is not lines[-1]:  # the last is where it broke off, which others say
                fault = "an event of the stream is no JSON"
            continue
        choice = _first_choice(content)
        parts.append(_text(_mapping(choice.get("delta")).get("content")) or _text(choice.get("text")))
        reason = _text(choice.get("finish_reason")) or reason
        tokens |= _count(content)
        if isinstance(content, dict) and content.get("error"):
            fault = "the stream says an error"
    return Answer(clean("".join(parts)), done and fault is None, reason, tokens, fault)


def read_ollama(body: bytes) -> Answer:
    """Reads an answer of Ollama's: one line of JSON, or a stream of them, of which the last is `done`."""
    parts: list[str] = []
    last: Mapping[str, Any] = {}
    fault: str | None = None
    for content in _read_lines(body):
        if not isinstance(content, dict):
            fault = "a line of the answer is no JSON object"
            continue
        if content.get("error"):
            fault = "the answer says an error"
        parts.append(_text(_mapping(content.get("message")).get("content")) or _text(content.get("response")))
        last = content if content.get("done") is True else last
    tokens = {ours: last[theirs] for theirs, ours in _OLLAMA_COUNTS.items() if is_count(last.get(theirs))}
    reason = _text(last.get("done_reason")) or None
    return Answer(clean("".join(parts)), bool(last) and fault is None, reason, tokens, fault)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a server's number can be one of tokens: 2^53 is where JSON's numbers stop being whole everywhere."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def count_prompt(timings: Mapping[str, Any]) -> int | None:
    """The tokens of a prompt in llama.cpp's `timings`: those that it read, and those that it had in its cache."""
    read, cached = timings.get("prompt_n"), timings.get("cache_n")
    return read + (cached if is_count(cached) else 0) if is_count(read) else None


def clean(text: str) -> str:
    """Replaces NUL, which PostgreSQL keeps in neither text nor jsonb."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _read_lines(body: bytes) -> Iterator[Any]:
    lines = body.split(b"\n")
    for line in lines:
        if not line.strip():
            continue
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            if line is not lines[-1]:
                yield None


def _first_choice(content: Any) -> dict[str, Any]:
    choices = content.get("choices") if isinstance(content, dict) else None
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    # With `n` above 1 the answers' chunks come mixed: only the first answer's are put together.
    return next((choice for choice in found if choice.get("index") in (0, None)), {})


def _count(content: Any) -> dict[str, int]:
    """Token counts: OpenAI's `usage`, or the `timings` that llama.cpp ends a stream with."""
    counts: dict[str, int] = {}
    for section, names in _COUNTS:
        values = content.get(section) if isinstance(content, dict) else None
        if isinstance(values, dict):
            if (prompt := count_prompt(values)) is not None:
                counts["prompt_tokens"] = prompt
            counts |= {ours: values[theirs] for theirs, ours in names.items() if is_count(values.get(theirs))}
    return counts


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
