"""Puts the backend's name for a model into a request's body, and changes no other byte of it.

Parsing and writing anew would change what the backend reads: 1.0 and 1e5 get other forms, integers beyond 64 bits lose
digits, of two equal keys one is gone. So the value of `model` is found in the bytes and replaced there. Almost every
body has one such key: it is the top one if what stands before it is an object when closed there. Where there are more
(a tool's schema, a repeated key) the whole text is walked token by token, and every top-level `model` is replaced,
since which of them a server takes is its own affair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

_MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*')  # within a string its quotes are escaped: it can only be a key
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]]')
_COLON = re.compile(rb"\s*:\s*")


def put_model(raw: bytes, asked: str, alias: str, more: Mapping[str, Any] | None = None) -> bytes:
    """The body `raw` with `alias` as its model.

    Args:
        raw: JSON, an object whose top-level `model` is the text `asked`.
        asked: what the client wrote there.
        alias: what the backend calls it.
        more: further fields, put in last: of two equal keys nearly every parser takes the later one.
    """
    value = orjson.dumps(alias)
    if more:
        raw = raw[: raw.rindex(b"}")] + b"," + orjson.dumps(dict(more))[1:]
    found = _MODEL.search(raw)
    if found is not None and _MODEL.search(raw, found.end()) is None and _opens(raw[: found.start()]):
        text = _STRING.match(raw, found.end())
        if text is not None and orjson.loads(text.group()) == asked:
            return raw[: text.start()] + value + raw[text.end() :]
    parts, at = [], 0
    for start, end in _find_all(raw):
        parts += [raw[at:start], value]
        at = end
    return b"".join((*parts, raw[at:]))


def _opens(before: bytes) -> bool:
    """Whether a body's bytes before a key are an object's beginning, so that the key is one of the top."""
    before = before.rstrip()
    if before.endswith(b","):
        before = before[:-1]
    if before == b"{":
        return True
    try:
        orjson.loads(before + b"}")
    except orjson.JSONDecodeError:
        return False
    return True


def _find_all(raw: bytes) -> list[tuple[int, int]]:
    """Where the texts of every top-level `model` stand; keys may be written with escapes."""
    found, depth, at = [], 0, 0
    while (token := _TOKEN.search(raw, at)) is not None:
        at, kind = token.end(), token.group()[:1]
        if kind in b"{[":
            depth += 1
        elif kind in b"}]":
            depth -= 1
        elif depth == 1 and (colon := _COLON.match(raw, at)) is not None:
            text = _STRING.match(raw, colon.end())
            if text is not None:
                at = text.end()
                if orjson.loads(token.group()) == "model":
                    found.append(text.span())
    return found
