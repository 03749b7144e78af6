"""Streams of both protocols as servers write them, and what their clients make of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import strategies as st

from router.protocols import Translation

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)


def mostly(wanted: Any) -> Any:
    """What is wanted, or anything at all in its place."""
    return wanted | VALUES


def build(**fields: Any) -> Any:
    """An object with some of these fields, each mostly what it should be."""
    return st.fixed_dictionaries({}, optional={name: mostly(field) for name, field in fields.items()})


_COUNTS = st.integers(-5, 2**70) | st.floats()
_OTHER = build(token=TEXTS, logprob=_COUNTS)
_TOKENS = st.lists(mostly(build(token=TEXTS, logprob=_COUNTS, top_logprobs=st.lists(mostly(_OTHER)))), max_size=3)
_OLD = {"tokens": st.lists(mostly(TEXTS), max_size=3), "token_logprobs": st.lists(mostly(_COUNTS), max_size=3)}
_FUNCTION = build(name=TEXTS, arguments=TEXTS | OBJECTS | st.just("{}"))
_CALLS = st.lists(mostly(build(index=_COUNTS, id=TEXTS, function=_FUNCTION)), max_size=3)
_SAID = build(role=TEXTS, content=TEXTS | st.lists(mostly(build(text=TEXTS))), reasoning=TEXTS, tool_calls=_CALLS)
_LOGPROBS = build(content=_TOKENS, top_logprobs=st.lists(mostly(OBJECTS)), **_OLD)
_CHOICE = build(
    index=st.sampled_from([0, 1]), delta=_SAID, message=_SAID, text=TEXTS, finish_reason=TEXTS, logprobs=_LOGPROBS
)
ANSWERS = build(  # of either protocol, with anything anywhere
    choices=st.lists(mostly(_CHOICE), max_size=2),
    usage=build(prompt_tokens=_COUNTS, completion_tokens=_COUNTS),
    timings=build(prompt_n=_COUNTS, cache_n=_COUNTS, prompt_ms=_COUNTS, predicted_n=_COUNTS, predicted_ms=_COUNTS),
    error=TEXTS | build(message=TEXTS),
    response=TEXTS,
    done=st.booleans(),
    done_reason=TEXTS,
    logprobs=_TOKENS,
    message=_SAID,
    eval_count=_COUNTS,
    prompt_eval_count=_COUNTS,
    data=st.lists(mostly(build(index=_COUNTS, embedding=st.lists(mostly(_COUNTS), max_size=3))), max_size=2),
)


def write_events(events: Iterable[Any], *, ascii_only: bool = False, end: str = "\n") -> bytes:
    """Server-sent events up to [DONE]."""
    lines = [json.dumps(event, ensure_ascii=ascii_only) for event in events]
    return "".join(f"data: {line}{end}{end}" for line in [*lines, "[DONE]"]).encode()


def write_lines(events: Iterable[Any]) -> bytes:
    """Lines of JSON, as Ollama's."""
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events).encode()


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """The bytes in pieces, cut at `places`, wherever they fall."""
    at = 0
    for place in sorted({place % (len(data) + 1) for place in places}):
        if place > at:
            yield data[at:place]
            at = place
    if at < len(data):
        yield data[at:]


def pass_through(translation: Translation, chunks: Iterable[bytes]) -> bytes:
    """All that the client gets."""
    given = [event for chunk in chunks for event in translation.feed(chunk)]
    return b"".join([*given, *translation.finish()])


def read_lines(data: bytes) -> list[dict[str, Any]]:
    """Lines of JSON, each whole."""
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


def read_events(data: bytes) -> list[dict[str, Any]]:
    """The events before [DONE], which must be the last."""
    *events, last, rest = data.decode().split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]
