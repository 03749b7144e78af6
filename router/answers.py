"""Reads the text out of an OpenAI-shaped answer after it was passed on: whole, or a stream's events put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's first choice. `finished` is false when its end is missing; `tokens` are counts by kind."""

    text: str
    finished: bool
    finish_reason: str | None = None
    tokens: dict[str, int] = field(default_factory=dict)


def read_plain(body: bytes) -> Answer:
    """Reads an answer that came whole."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Answer(clean(body.decode(errors="replace")), finished=False)
    choice = _first_choice(content)
    text = (choice.get("message") or {}).get("content") or choice.get("text") or ""
    return Answer(clean(text), finished=True, finish_reason=choice.get("finish_reason"), tokens=_count(content))


def read_stream(body: bytes) -> Answer:
    """Reads a stream of server-sent events; one that ended without a finish reason and `[DONE]` is not finished."""
    parts: list[str] = []
    reason: str | None = None
    done = failed = False
    tokens: dict[str, int] = {}
    for line in body.split(b"\n"):
        if line.startswith(b"error:"):
            failed = True
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            done = True
            continue
        try:
            content = orjson.loads(data)
        except orjson.JSONDecodeError:
            continue  # the line that the stream broke off in
        choice = _first_choice(content)
        parts.append((choice.get("delta") or {}).get("content") or choice.get("text") or "")
        reason = choice.get("finish_reason") or reason
        tokens |= _count(content)
        failed = failed or (isinstance(content, dict) and "error" in content)
    return Answer(clean("".join(parts)), finished=done and not failed, finish_reason=reason, tokens=tokens)


def clean(text: str) -> str:
    """Replaces NUL, which PostgreSQL keeps in neither text nor jsonb."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _first_choice(content: Any) -> dict[str, Any]:
    choices = content.get("choices") if isinstance(content, dict) else None
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    # With `n` above 1 the answers' chunks come mixed: only the first answer's are put together.
    return next((choice for choice in found if choice.get("index") in (0, None)), {})


def _count(content: Any) -> dict[str, int]:
    """Token counts: OpenAI's `usage`, or the `timings` that llama.cpp ends a stream with."""
    counts: dict[str, int] = {}
    for section, names in (
        ("timings", {"predicted_n": "completion_tokens"}),
        ("usage", {"prompt_tokens": "prompt_tokens", "completion_tokens": "completion_tokens"}),
    ):
        values = content.get(section) if isinstance(content, dict) else None
        if isinstance(values, dict):
            counts |= {ours: values[theirs] for theirs, ours in names.items() if isinstance(values.get(theirs), int)}
    return counts
