"""Writes lines of Ollama's answers: pieces of text, tool calls, and the last one with its reason, counts and times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from router.protocols.answers import count_prompt, is_count
from router.protocols.lines import pick_object, read_object
from router.protocols.protocol import AnswerError

_NS = 1_000_000_000
_LONGEST_MS = 10**9  # eleven days
_REASONS = {"tool_calls": "stop", "function_call": "stop"}  # Ollama says stop after a call


def tell_time() -> str:
    """Now, as Ollama writes it."""
    return datetime.now(UTC).isoformat()[:-6] + "Z"


@dataclass(slots=True)
class Clock:
    """When a request began and its answer did, in seconds of `now`."""

    now: Callable[[], float] = time.perf_counter
    began: float = 0.0
    first: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.now()

    def note_whole(self) -> None:
        """The answer came in one, so nobody saw when it began: all of its time counts as its own."""
        self.first = self.began

    def note_first(self) -> None:
        """The first piece is here; later ones change nothing."""
        self.first = self.first or self.now()


@dataclass(slots=True)
class Counts:
    """Tokens and times as OpenAI-like servers tell them: `usage`, and llama.cpp's `timings`, whichever came last."""

    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)

    def note(self, content: Mapping[str, Any]) -> None:
        """Takes from an event what it says."""
        if isinstance(content.get("usage"), dict):
            self.usage = content["usage"]
        if isinstance(content.get("timings"), dict):
            self.timings = content["timings"]

    def write(self, clock: Clock) -> dict[str, int]:
        """Ollama's counts, and its durations in nanoseconds; measured here where the server does not say."""
        now = clock.now()
        first = clock.first or now
        prompt = _count(self.usage.get("prompt_tokens"), count_prompt(self.timings))
        answer = _count(self.usage.get("completion_tokens"), self.timings.get("predicted_n"))
        written = {"total_duration": int((now - clock.began) * _NS), "load_duration": 0}
        if prompt is not None:
            written["prompt_eval_count"] = prompt
        written["prompt_eval_duration"] = _duration(self.timings.get("prompt_ms"), first - clock.began)
        if answer is not None:
            written["eval_count"] = answer
        written["eval_duration"] = _duration(self.timings.get("predicted_ms"), now - first)
        return written


class Writer:
    """Lines of one answer; `chat` with a message, else with a response. `model` is the client's name for it."""

    def __init__(self, model: str, *, chat: bool, top: int) -> None:
        self._model = model
        self._chat = chat
        self._top = top
        # Nine of ten lines are a piece of text: what stands around it and the time is written once.
        self._before = b'{"model":' + orjson.dumps(model) + b',"created_at":"'
        self._between = b'","message":{"role":"assistant","content":' if chat else b'","response":'
        self._after = b'},"done":false}\n' if chat else b',"done":false}\n'

    def write_piece(self, text: str, thinking: str = "", logprobs: Any = None) -> bytes:
        """A piece of the answer, as a line."""
        if not thinking and logprobs is None:
            return b"".join((self._before, tell_time().encode(), self._between, orjson.dumps(text), self._after))
        return self._write(self._say(text, thinking), {"done": False}, logprobs) + b"\n"

    def write_calls(self, calls: list[dict[str, Any]]) -> bytes:
        """Tool calls, as a line."""
        return self._write(self._say("", "", calls), {"done": False}) + b"\n"

    def write_last(self, reason: str, counts: Mapping[str, int]) -> bytes:
        """The end of a stream, as a line."""
        return self.write_whole("", reason, counts) + b"\n"

    def write_whole(
        self,
        text: str,
        reason: str,
        counts: Mapping[str, int],
        *,
        thinking: str = "",
        calls: list[dict[str, Any]] | None = None,
        logprobs: Any = None,
    ) -> bytes:
        """An answer in one."""
        ended = {"done": True, "done_reason": _REASONS.get(reason, reason), **counts}
        return self._write(self._say(text, thinking, calls), ended, logprobs)

    def _say(self, text: str, thinking: str, calls: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        told: dict[str, Any] = {"thinking": thinking} if thinking else {}
        if not self._chat:
            return {"response": text, **told}
        if calls:
            told["tool_calls"] = calls
        return {"message": {"role": "assistant", "content": text, **told}}

    def _write(self, said: dict[str, Any], state: dict[str, Any], logprobs: Any = None) -> bytes:
        line = {"model": self._model, "created_at": tell_time(), **said, **state}
        if told := write_logprobs(logprobs, self._top):
            line["logprobs"] = told
        return orjson.dumps(line)


class ToolCalls:
    """Tool calls put together from the pieces that OpenAI streams them in."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def note(self, pieces: Any) -> None:
        """Takes the `tool_calls` of a message, or of a stream's delta.

        Raises:
            AnswerError: they are none.
        """
        for place, piece in enumerate(pieces if isinstance(pieces, list) else [pieces]):
            if not isinstance(piece, dict):
                raise AnswerError("a tool call is no object")
            index = piece.get("index", place)
            call = self._calls.setdefault(index if isinstance(index, int) else place, {"name": "", "arguments": []})
            function = pick_object(piece, "function")
            if isinstance(piece.get("id"), str) and piece["id"]:
                call["id"] = piece["id"]
            if isinstance(function.get("name"), str):
                call["name"] += function["name"]
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # some servers send them as an object
                arguments = orjson.dumps(arguments).decode()
            if isinstance(arguments, str):
                call["arguments"].append(arguments)

    def write(self) -> list[dict[str, Any]]:
        """The calls in Ollama's form.

        Raises:
            AnswerError: one has no name, or arguments that are no JSON object.
        """
        written = []
        for index, call in sorted(self._calls.items()):
            told = "".join(call["arguments"]).strip() or "{}"
            try:
                arguments = read_object(told.encode())
            except AnswerError:
                raise AnswerError(f"the arguments of tool call {call['name']!r} are no JSON object") from None
            if not call["name"]:
                raise AnswerError("a tool call has no name")
            function = {"index": index, "name": call["name"], "arguments": arguments}
            written.append({"id": call["id"], "function": function} if "id" in call else {"function": function})
        return written


def write_logprobs(logprobs: Any, top: int) -> list[dict[str, Any]]:
    """Ollama's list of tokens, each with at most `top` alternatives, from either form that OpenAI has for them."""
    if not isinstance(logprobs, dict):
        return []
    if isinstance(logprobs.get("content"), list):
        return [_write_token(token, top) for token in _list_objects(logprobs["content"])]
    tokens, found = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(found, list):
        return []
    others = logprobs.get("top_logprobs")
    others = others if isinstance(others, list) else []
    written = []
    for place, (token, logprob) in enumerate(zip(tokens, found, strict=False)):
        told = {"token": token, "logprob": logprob}
        each = others[place] if place < len(others) else None
        if top and isinstance(each, dict):
            told["top_logprobs"] = [{"token": name, "logprob": value} for name, value in list(each.items())[:top]]
        written.append(told)
    return written


def write_old_logprobs(tokens: Any, offset: int) -> dict[str, Any] | None:
    """Ollama's list of tokens as OpenAI's plain completions have it; `offset` is where they begin, in characters."""
    found = _list_objects(tokens)
    if not found:
        return None
    names = [str(token.get("token", "")) for token in found]
    others = [_list_objects(token.get("top_logprobs")) for token in found]
    return {
        "tokens": names,
        "token_logprobs": [token.get("logprob") for token in found],
        "top_logprobs": [{str(each.get("token")): each.get("logprob") for each in top} for top in others],
        "text_offset": [offset + sum(map(len, names[:place])) for place in range(len(names))],
    }


def _list_objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _write_token(token: Mapping[str, Any], top: int) -> dict[str, Any]:
    told = {name: token[name] for name in ("token", "logprob", "bytes") if name in token}
    others = token.get("top_logprobs")
    if top and isinstance(others, list):
        told["top_logprobs"] = [_write_token(other, 0) for other in _list_objects(others)[:top]]
    return told


def _count(*found: Any) -> int | None:
    return next((value for value in found if is_count(value)), None)


def _duration(told_ms: Any, measured_s: float) -> int:
    if isinstance(told_ms, int | float) and 0 <= told_ms < _LONGEST_MS:
        return int(told_ms * 1_000_000)
    return max(0, int(measured_s * _NS))
