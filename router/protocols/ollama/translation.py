"""Translations: Ollama's chat and generate to OpenAI's paths, OpenAI's plain completion to Ollama's generate.

Each reads the backend's stream line by line as it comes and gives the client's events at once; only a tool call waits
until it is whole, because Ollama has no pieces of one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import orjson

from router.protocols.answers import is_count
from router.protocols.lines import DONE, LineReader, find_error, pick_object, read_event, read_object
from router.protocols.ollama.writing import Clock, Counts, ToolCalls, Writer, write_old_logprobs
from router.protocols.protocol import AnswerError, Body, ToldError, Translation

_CUT = "the stream ended before the answer did"


class StreamTranslation(Translation):
    """A translation that reads lines until one says that the answer is done; what comes after it is left."""

    def __init__(self, request: Body) -> None:
        self._request = request
        self._lines = LineReader()
        self._done = False

    def write_request(self) -> Body:
        return dict(self._request)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        for line in self._lines.feed(chunk):
            if line and not self._done:
                yield from self._read(line)

    def finish(self) -> Iterator[bytes]:
        for line in self._lines.finish():
            if not self._done:
                yield from self._read(line)
        if not self._done:
            raise AnswerError(_CUT)

    @abstractmethod
    def _read(self, line: bytes) -> Iterator[bytes]:
        """The client's events for one line; sets `_done` at the last."""


class OpenAiToOllama(StreamTranslation):
    """An answer of OpenAI's, chat or plain, for a client of Ollama's."""

    stream_type = b"application/x-ndjson"

    def __init__(self, request: Body, asked: Body, model: str, *, chat: bool) -> None:
        super().__init__(request)
        top = asked.get("top_logprobs")
        self._writer = Writer(model, chat=chat, top=top if isinstance(top, int) else 0)
        self._clock = Clock()
        self._counts = Counts()
        self._calls = ToolCalls()
        self._reason = "stop"

    def _read(self, line: bytes) -> Iterator[bytes]:
        data = read_event(line)
        if data == DONE:
            if self._calls:
                yield self._writer.write_calls(self._calls.write())
            self._done = True
            yield self._writer.write_last(self._reason, self._counts.write(self._clock))
        elif data:
            choice = self._note(read_object(data))
            said = pick_object(choice, "delta") or choice
            text, thinking = _read_text(said), _read_thinking(said)
            if text or thinking or choice.get("logprobs"):
                yield self._writer.write_piece(text, thinking, choice.get("logprobs"))

    def write_whole(self, answer: bytes) -> bytes:
        self._clock.note_whole()
        choice = self._note(read_object(answer))
        if not choice:
            raise AnswerError("no choice in the answer")
        said = pick_object(choice, "message") or choice
        return self._writer.write_whole(
            _read_text(said),
            self._reason,
            self._counts.write(self._clock),
            thinking=_read_thinking(said),
            calls=self._calls.write(),
            logprobs=choice.get("logprobs"),
        )

    def _note(self, content: dict[str, Any]) -> dict[str, Any]:
        """Takes what an event says of the whole answer; returns its first choice."""
        if (error := find_error(content)) is not None:
            raise ToldError(error)
        self._counts.note(content)
        choice = _find_first(content.get("choices"))
        if choice:
            self._clock.note_first()
            if isinstance(choice.get("finish_reason"), str):
                self._reason = choice["finish_reason"]
            for said in (choice.get("delta"), choice.get("message")):
                if isinstance(said, dict) and said.get("tool_calls"):
                    self._calls.note(said["tool_calls"])
        return choice


class OllamaToCompletion(StreamTranslation):
    """An answer of Ollama's generate for a client of OpenAI's plain completion; `include_usage`: counted."""

    stream_type = b"text/event-stream"

    def __init__(self, request: Body, model: str, *, completion_id: str, created: int, include_usage: bool) -> None:
        super().__init__(request)
        self._head = {"id": completion_id, "object": "text_completion", "created": created, "model": model}
        self._include_usage = include_usage
        self._said = 0  # characters before the next piece

    def _read(self, line: bytes) -> Iterator[bytes]:
        if not line.strip():
            return
        content = self._check(read_object(line))
        yield self._write_event({"choices": [self._write_choice(content)]})
        if content.get("done") is True:
            self._done = True
            if self._include_usage:
                yield self._write_event({"choices": [], "usage": _write_usage(content)})
            yield b"data: [DONE]\n\n"

    def write_whole(self, answer: bytes) -> bytes:
        content = self._check(read_object(answer))
        return orjson.dumps(self._head | {"choices": [self._write_choice(content)], "usage": _write_usage(content)})

    def _check(self, content: dict[str, Any]) -> dict[str, Any]:
        if (error := find_error(content)) is not None:
            raise ToldError(error)
        if not isinstance(content.get("response"), str):
            raise AnswerError("no response in the answer")
        return content

    def _write_choice(self, content: dict[str, Any]) -> dict[str, Any]:
        reason = content.get("done_reason") or "stop" if content.get("done") is True else None
        logprobs = write_old_logprobs(content.get("logprobs"), self._said)
        self._said += len(content["response"])
        return {"index": 0, "text": content["response"], "logprobs": logprobs, "finish_reason": reason}

    def _write_event(self, told: dict[str, Any]) -> bytes:
        return b"data: " + orjson.dumps(self._head | told) + b"\n\n"


def _find_first(choices: Any) -> dict[str, Any]:
    """The first choice; with `n` above 1 the choices' events come mixed."""
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index") in (0, None):
            return choice
    return {}


def _read_text(said: dict[str, Any]) -> str:
    """The text of a message, a delta or a plain choice; a list of parts is put together."""
    text = said.get("content", said.get("text"))
    if isinstance(text, list):
        parts = [part.get("text") for part in text if isinstance(part, dict)]
        text = "".join(part for part in parts if isinstance(part, str))
    if text is None:
        return ""
    if not isinstance(text, str):
        raise AnswerError("the content of an answer is no text")
    return text


def _read_thinking(said: dict[str, Any]) -> str:
    thinking = said.get("reasoning_content") or said.get("reasoning")
    return thinking if isinstance(thinking, str) else ""


def _write_usage(content: dict[str, Any]) -> dict[str, int]:
    counts = [content.get("prompt_eval_count"), content.get("eval_count")]
    prompt, answer = (count if is_count(count) else 0 for count in counts)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
