"""Puts the backend's name for a model into a request's body, and changes no other byte of it.

Parsing and writing anew would change what the backend reads: 1.0 and 1e5 get other forms, integers beyond 64 bits lose
digits, of two equal keys one is gone. So the value of `model` is found in the bytes and replaced there. Almost every
body has one such key: it is the top one if what stands before it is an object when closed there. A few (a tool's schema
may have one, too) are judged each, and every one of the top is replaced, since which of them a server takes is its own
affair. A body with more of them, or one so large that judging costs what no honest request does, is put together anew
of its top-level values, each byte for byte; what may change is the space between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import orjson

_KEY = b'"model"'
_COLON = re.compile(rb'\s*:\s*(?=")')
_TEXT = re.compile(rb'\s*:\s*"([^"\\]*+)"')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_BACKSLASH = 0x5C
_MOST_JUDGED = 4 << 20  # bytes: 10 ms
_read_values = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def put_model(raw: bytes, asked: str, alias: str, more: Mapping[str, Any] | None = None) -> bytes:
    """The body `raw` with `alias` as its model.

    Args:
        raw: JSON, an object whose top-level `model` is the text `asked`.
        asked: what the client wrote there.
        alias: what the backend calls it.
        more: further fields, put in last: of two equal keys nearly every parser takes the later one.
    """
    if more:
        raw = raw[: raw.rindex(b"}")] + b"," + orjson.dumps(dict(more))[1:]
    start = raw.find(_KEY)
    # No other spelling of the key: this one is the top one. That there is no backslash at all is found sooner.
    if raw.find(_KEY, start + 1) < 0 and (b"\\" not in raw or b"\\u" not in raw):
        for found, put in _write_fields(asked, alias):
            if raw.startswith(found, start):
                return b"%b%b%b" % (raw[:start], put, raw[start + len(found) :])
        value, text = orjson.dumps(alias), _TEXT.match(raw, start + len(_KEY))
        if text is not None and text[1] == asked.encode():
            return b"%b%b%b" % (raw[: text.start(1) - 1], value, raw[text.end() :])
    value, spans = orjson.dumps(alias), _find(raw)
    if len(spans) == 1:
        start, end = spans[0]
        told = raw[start:end]
        if told[1:-1] == asked.encode() or orjson.loads(told) == asked:
            return b"%b%b%b" % (raw[:start], value, raw[end:])
    if not spans or orjson.loads(raw[slice(*spans[-1])]) != asked:
        values = {name: bytes(part) for name, part in _read_values(raw).items()} | {"model": value}
        return b"{" + b",".join(orjson.dumps(name) + b":" + part for name, part in values.items()) + b"}"
    parts, at = [], 0
    for start, end in spans:
        parts += [raw[at:start], value]
        at = end
    return b"".join((*parts, raw[at:]))


@lru_cache(maxsize=256)
def _write_fields(asked: str, alias: str) -> tuple[tuple[bytes, bytes], ...]:
    """The field as most clients write it, and as it is put in; a text with an escape in it stands in no body so."""
    told, value = asked.encode(errors="replace"), orjson.dumps(alias)
    return tuple((_KEY + colon + b'"' + told + b'"', _KEY + colon + value) for colon in (b":", b": "))


def _find(raw: bytes) -> list[tuple[int, int]]:
    """Where the texts of every top-level `model` stand; empty where there are too many keys of that name."""
    found, judged = [], 0
    start = raw.find(_KEY)
    while start >= 0:
        colon = _COLON.match(raw, start + len(_KEY))
        if colon is not None and raw[start - 1] != _BACKSLASH:  # within a string its quotes are escaped: it is a key
            judged += start
            if judged > _MOST_JUDGED and start != judged:  # one is always judged
                return []
            text = _STRING.match(raw, colon.end())
            if text is not None and _opens(raw, start):
                found.append(text.span())
        start = raw.find(_KEY, start + len(_KEY))
    return found


def _opens(raw: bytes, start: int) -> bool:
    """Whether a body's bytes before a key are an object's beginning, so that the key is one of the top."""
    before = raw[:start].rstrip()
    if before == b"{":
        return True
    if before.endswith(b","):
        before = before[:-1]
    try:
        orjson.loads(before + b"}")
    except orjson.JSONDecodeError:
        return False
    return True
