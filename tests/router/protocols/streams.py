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
