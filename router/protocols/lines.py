"""Takes a stream apart into lines, wherever it was cut: inside a character, inside JSON, between CR and LF.

Both protocols stream lines of JSON: OpenAI's are server-sent events (`data: …`), Ollama's the bare lines. Each `data:`
line is an event of its own here, as every server of OpenAI's protocol writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from router.protocols.protocol import AnswerError, ToldError

LONGEST_LINE = 8 << 20  # bytes; an event is some hundred, one with many logprobs or a whole picture some 100,000
DONE = b"[DONE]"


class LineReader:
    """Keeps what is not a whole line yet."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._longest = longest

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that end in `chunk`, without their ends.

        Raises:
            AnswerError: a line is longer than any answer's.
        """
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self._rest:
                line = b"".join(self._rest) + line
                self._rest.clear()
                self._size = 0
            self._check(len(line))
            yield line.removesuffix(b"\r")
        if rest:
            self._rest.append(rest)
            self._size += len(rest)
            self._check(self._size)

    def finish(self) -> Iterator[bytes]:
        """The last line, where the stream ended without a line break."""
        if self._rest:
            yield from self.feed(b"\n")

    def _check(self, size: int) -> None:
        if size > self._longest:
            raise AnswerError(f"a line of more than {self._longest} bytes")


def read_event(line: bytes) -> bytes | None:
    """The data of a server-sent event; None for a line that carries none.

    Raises:
        AnswerError: it says an error, as llama.cpp once did beside the data.
    """
    if line.startswith(b"data:"):
        return line[5:].strip()
    if line.startswith(b"error:"):
        raise ToldError(find_error(read_object(line[6:])) or "an error without words")
    return None


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        AnswerError: it is none.
    """
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise AnswerError("not JSON where an answer was expected") from None
    if not isinstance(content, dict):
        raise AnswerError("no JSON object where an answer was expected")
    return content


def pick_object(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under a name; empty where there is none."""
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def find_error(content: dict[str, Any]) -> str | None:
    """What an answer says went wrong: OpenAI's `error.message`, Ollama's `error`; None where it says nothing."""
    error = content.get("error")
    if not error:
        return None
    said = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(said or error).split())[:300]
