"""Reads what is remembered of an answer, after it was passed on, from the bytes of the backend: whole, or a stream's
events put together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeGuard, TypeVar

import msgspec
import orjson
from msgspec import Struct

from router.paths import EMBEDDINGS

NO_TOKENS: Mapping[str, int] = MappingProxyType({})
_MOST = 1 << 53  # tokens: where JSON's numbers stop being whole everywhere
_SAID = frozenset(("the answer is an error", "the stream says an error", "the answer says an error"))
OLLAMA = "/api/"  # opens the paths on which a backend speaks Ollama's protocol
_OLLAMA_COUNTS = {"prompt_eval_count": "prompt_tokens", "eval_count": "completion_tokens"}


class _Said(Struct, gc=False):
    content: str | None = None


class _Choice(Struct):
    index: int | None = None
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None

    def text_of(self, said: _Said | None) -> str:
        """What a chat said, or else a plain completion."""
        return (said.content if said is not None else None) or self.text or ""


class _Usage(Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Timings(Struct, gc=False):
    prompt_n: int | None = None
    cache_n: int | None = None
    predicted_n: int | None = None


class _Event(Struct):
    """What is read of an answer, or of one event: of what is not as it should be, nothing."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    timings: _Timings | None = None  # llama.cpp ends a stream with them
    error: Any = None


Part = TypeVar("Part", _Said, _Usage, _Timings)
_decode = msgspec.json.Decoder(_Event).decode
_NONE = _Choice()


class Answer(Struct, frozen=True):
    """An answer's first choice.

    `finished` is false when its end is missing, `tokens` are counts by kind, `fault` says in what the bytes are not the
    protocol's, or that they say an error.
    """

    text: str
    finished: bool
    finish_reason: str | None = None
    tokens: Mapping[str, int] = NO_TOKENS
    fault: str | None = None

    @property
    def says_error(self) -> bool:
        """Whether the fault is an error that the backend told."""
        return self.fault in _SAID


def read_answer(path: str, body: bytes, *, streamed: bool) -> Answer:
    """Reads the answer of a backend that was asked on `path`."""
    if path.startswith(OLLAMA):
        return read_ollama(body)
    return read_stream(body) if streamed else read_plain(body, chooses=path != EMBEDDINGS)


def read_plain(body: bytes, *, chooses: bool = True) -> Answer:
    """Reads an answer of OpenAI's that came whole; `chooses`: to a question, so that it has choices."""
    try:
        told = _read_event(body)
    except orjson.JSONDecodeError:
        return Answer(clean(body.decode(errors="replace")), finished=False, fault="the answer is no JSON")
    if told.error:
        return Answer("", finished=False, fault="the answer is an error")
    if chooses and not told.choices:
        return Answer("", False, None, _count(told), "the answer has no choices")
    choice = _first_choice(told)
    return Answer(clean(choice.text_of(choice.message)), True, choice.finish_reason, _count(told))


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
            told = _read_event(data)
        except orjson.JSONDecodeError:
            if line is not lines[-1]:  # the last is where it broke off, which others say
                fault = "an event of the stream is no JSON"
            continue
        choice = _first_choice(told)
        parts.append(choice.text_of(choice.delta))
        reason = choice.finish_reason or reason
        if told.usage is not None or told.timings is not None:
            tokens |= _count(told)
        if told.error:
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
    """Whether a server's number can be one of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def count_prompt(timings: Mapping[str, Any]) -> int | None:
    """The tokens of a prompt in llama.cpp's `timings`: those that it read, and those that it had in its cache."""
    read, cached = timings.get("prompt_n"), timings.get("cache_n")
    return read + (cached if is_count(cached) else 0) if is_count(read) else None


def clean(text: str) -> str:
    """Replaces NUL, which PostgreSQL keeps in neither text nor jsonb."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text


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


def _read_event(data: bytes) -> _Event:
    """One JSON text of a backend, in one pass over its bytes (a fifth of the time that reading all of it takes).

    Raises:
        orjson.JSONDecodeError: it is none.
    """
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a field of another kind than it should be, or no JSON
        return _make_event(orjson.loads(data))


def _make_event(content: Any) -> _Event:
    """Field by field, leaving out what is odd."""
    given = _mapping(content)
    choices = given.get("choices")
    return _Event(
        [_make_choice(choice) for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else None,
        _pick(_Usage, given.get("usage"), int),
        _pick(_Timings, given.get("timings"), int),
        given.get("error"),
    )


def _make_choice(choice: dict[str, Any]) -> _Choice:
    index = choice.get("index")
    return _Choice(
        index if type(index) is int else None if index is None else -1,
        _pick(_Said, choice.get("delta"), str),
        _pick(_Said, choice.get("message"), str),
        _text(choice.get("text")),
        _text(choice.get("finish_reason")) or None,
    )


def _pick(kind: type[Part], given: Any, wanted: type) -> Part | None:
    if not isinstance(given, dict):
        return None
    return kind(**{name: given[name] for name in kind.__struct_fields__ if type(given.get(name)) is wanted})


def _first_choice(told: _Event) -> _Choice:
    # With `n` above 1 the answers' chunks come mixed: only the first answer's are put together.
    for choice in told.choices or ():
        if not choice.index:
            return choice
    return _NONE


def _count(told: _Event) -> dict[str, int]:
    """Token counts: OpenAI's `usage` outweighs the `timings` of llama.cpp."""
    usage, timings = told.usage, told.timings
    prompt = completion = None
    if usage is not None:
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
    counts: dict[str, int] = {}
    if prompt is not None and 0 <= prompt < _MOST:
        counts["prompt_tokens"] = prompt
    elif timings is not None and is_count(timings.prompt_n):  # without those that it had in its cache
        counts["prompt_tokens"] = timings.prompt_n + (timings.cache_n if is_count(timings.cache_n) else 0)
    if completion is not None and 0 <= completion < _MOST:
        counts["completion_tokens"] = completion
    elif timings is not None and is_count(timings.predicted_n):
        counts["completion_tokens"] = timings.predicted_n
    return counts


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
