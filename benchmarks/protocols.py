"""What Ollama's protocol costs in front of an OpenAI-like backend, and what broken streams do to the translation.

CPU time of the translation alone, an event at a time, as a stream comes. Broken streams are good ones (text, thinking,
tool calls in pieces, logprobs, usage) with bytes changed, left out, doubled or cut off; each is read twice, cut at
different places. Whatever comes of it must be the same both times, in whole lines of JSON, and no exception but the one
that becomes an error in the client's form.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import Goal, report
from router.protocols import PROTOCOLS, AnswerError, Translation

CHUNK_US = 15.0  # aiohttp itself needs 54 for passing a chunk on (FACTS)
_TIMES = re.compile(rb'"(created_at|created|id|total_duration|prompt_eval_duration|eval_duration)":("[^"]*"|\d+)')
_TEXTS = ("a", " word", "é", "\N{SNOWMAN}", '"quoted"', "\\n", "\N{WHITE SMILING FACE}" * 3, "")


def measure(quick: bool) -> list[Goal]:
    """Cost of an event in both directions, and broken streams."""
    events = 20_000 if quick else 200_000
    streams = 5_000 if quick else 100_000
    return [
        Goal("CPU µs an event, OpenAI's to Ollama's", time_events(open_chat(), write_event, events), CHUNK_US),
        Goal("CPU µs an event, Ollama's to OpenAI's", time_events(open_completion(), write_line, events), CHUNK_US),
        *break_streams(streams, random.Random(7)),
    ]


def open_chat() -> Translation:
    """From OpenAI's chat to Ollama's."""
    body = {"messages": [{"role": "user", "content": "?"}], "logprobs": True, "top_logprobs": 2}
    return PROTOCOLS["/api/chat"].translate(body, "/v1/chat/completions", "flytewheel/demo")


def open_completion() -> Translation:
    """From Ollama's generate to OpenAI's plain completion."""
    return PROTOCOLS["/v1/completions"].translate({"prompt": "?", "stream": True}, "/api/generate", "flytewheel/demo")


def write_event(**choice: Any) -> bytes:
    """An event as llama.cpp writes it."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "flytewheel/demo@v1"}
    told = {"choices": [{"index": 0, "finish_reason": None, **(choice or {"delta": {"content": " word"}})}]}
    return f"data: {json.dumps(head | told, ensure_ascii=False)}\n\n".encode()


def write_line(**fields: Any) -> bytes:
    """A line as Ollama writes it."""
    told = {"model": "m", "created_at": "2026-11-28T09:00:00Z", "response": " word", "done": False, **fields}
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def time_events(translation: Translation, write: Any, count: int) -> float:
    """Microseconds of CPU for one event."""
    chunk = write()
    began = time.process_time()
    for _ in range(count):
        for _ in translation.feed(chunk):
            pass
    return 1e6 * (time.process_time() - began) / count


def break_streams(count: int, chance: random.Random) -> list[Goal]:
    """How many broken streams were taken for good, refused, differed by their cuts, or did worse."""
    taken = refused = differed = worse = 0
    for _ in range(count):
        for opened, data in ((open_chat, write_chat(chance)), (open_completion, write_generate(chance))):
            broken = break_bytes(data, chance)
            try:
                first, second = (read(opened(), cut(broken, chance)) for _ in range(2))
            except Exception as error:
                worse += 1
                print(f"{type(error).__name__}: {error} by {broken!r}", file=sys.stderr)
                continue
            differed += first != second
            refused += first[1] is not None
            taken += first[1] is None
    print(f"{2 * count} broken streams: {refused} became errors, {taken} stayed good ones")
    return [
        Goal("broken streams that raise anything else", worse, 0),
        Goal("broken streams that depend on where they are cut", differed, 0),
        Goal("share of broken streams that are noticed", refused / (2 * count), 0.2, at_most=False),
    ]


def write_chat(chance: random.Random) -> bytes:
    """A stream of OpenAI's chat."""
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1}]}
    events = [write_event(delta={"role": "assistant", "content": None}), write_event(delta={"reasoning_content": "hm"})]
    events += [
        write_event(delta={"content": chance.choice(_TEXTS)}, logprobs={"content": [token]})
        for _ in range(chance.randrange(5))
    ]
    for piece in chance.choice(([], ['{"a": ', '"é"}'], ["", "{}"])):
        call = {"index": 0, "id": "c-1"}
        events.append(write_event(delta={"tool_calls": [call | {"function": {"name": "f", "arguments": piece}}]}))
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}
    end = [write_event(delta={}, finish_reason="stop"), f"data: {json.dumps(usage)}\n\n".encode(), b"data: [DONE]\n\n"]
    return b"".join([*events, *end])


def write_generate(chance: random.Random) -> bytes:
    """A stream of Ollama's generate."""
    lines = [write_line(response=chance.choice(_TEXTS)) for _ in range(chance.randrange(6))]
    return b"".join([*lines, write_line(response="", done=True, done_reason="stop", eval_count=3)])


def break_bytes(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four things wrong."""
    broken = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(broken) + 1), chance.randint(1, 12)
        match chance.randrange(4):
            case 0:
                broken[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del broken[at : at + length]
            case 2:
                broken[at:at] = broken[at : at + length]
            case _ if chance.random() < 0.3:
                del broken[at:]
    return bytes(broken)


def cut(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """The bytes in pieces of random length."""
    at = 0
    while at < len(data):
        length = chance.choice((1, 2, 7, 50, 400))
        yield data[at : at + length]
        at += length


def read(translation: Translation, chunks: Iterator[bytes]) -> tuple[bytes, str | None]:
    """What a client is given, times left out, and the error that it is told."""
    given, said = b"", None
    try:
        for chunk in chunks:
            for event in translation.feed(chunk):
                given += event
        given += b"".join(translation.finish())
    except AnswerError as error:
        said = str(error)
    for line in given.split(b"\n"):
        if line.strip() and line != b"data: [DONE]":
            json.loads(line.removeprefix(b"data: "))
    return _TIMES.sub(b"", given), said


if __name__ == "__main__":
    sys.exit(report(measure, __doc__ or ""))
