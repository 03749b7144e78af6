"""Undoes what hides an order from a filter, not from a model: base64, hexadecimal, percent, entities, rot13, mirrors.

Only what decodes to readable text counts, and only an order in it is found (`injection`); secrets, digests and
addresses decode to nothing of the kind.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import polars as pl

from flytewheel.screens.rule import touch

_ROT = ("vtaber", "qvfertneq", "sbetrg", "cerivbhf", "vafgehpgvba", "flfgrz cebzcg")
_MIRRORED = ("snoitcurtsni", "erongi", "dragersid", "tpmorp metsys")
# Of a folded text: what `decode` can undo has one of these, or one of `list_runs`, which _RUN finds in the text itself.
GATE = (
    r"%20[a-z0-9]+%20|(?:%[2-7][0-9a-f]){4}|[a-z]\+[a-z]+\+[a-z]+\+[a-z]|&#x?[0-9a-f]{2,5};|"
    r"(?:\\u00[2-7][0-9a-f]){3}|(?:\\x[2-7][0-9a-f]){3}|(?:[2-7][0-9a-f][ ,]+){8}|base64|b64|decode|"
) + "|".join((*_ROT, *_MIRRORED))
_RUN = r"[A-Za-z0-9+/_-]{24,}={0,2}"
_ENCODED = re.compile(_RUN)
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){16,}")
_SPACED_HEX = re.compile(r"(?:[2-7][0-9a-fA-F][ ,]+){8,}[2-7][0-9a-fA-F]")
_ESCAPE = re.compile(r"\\(?:u00|x)([2-7][0-9a-fA-F])")
_SPLIT = re.compile(r"[A-Za-z0-9+/]{4,}={0,2}(?:[\s\"'+,;|.-]+[A-Za-z0-9+/]{2,}={0,2}){1,40}")
_BREAK = re.compile(r"[\s\"'+,;|.-]+")
_PERCENT = re.compile(r"%20[a-z0-9]+%20|(?:%[2-7][0-9a-f]){4}|[a-z]\+[a-z]+\+[a-z]+\+[a-z]")
_ENTITY = re.compile(r"&#x?[0-9a-f]{2,5};")
_ESCAPES = re.compile(r"(?:\\u00[2-7][0-9a-f]){3}|(?:\\x[2-7][0-9a-f]){3}")
# Where `may_encode` says yes: of 24 letters with a capital, twelve stand before or behind it.
_MAY_RUN = r"[A-Z][A-Za-z0-9+/_-]{12}|[A-Za-z0-9+/_-]{12}[A-Z]|[0-9+/_-]{24}|[0-9a-f]{32}"
STARTS = 8  # words at which a split run may begin


def list_runs(text: str) -> list[str]:
    """Runs of letters and digits that may be base64 or hexadecimal: paths and names in small letters are neither."""
    return [run for run in _ENCODED.findall(text) if may_encode(run)]


def may_encode(run: str) -> bool:
    """Base64 of a text has capitals: a run of 24 has none once in 10^5 times."""
    return not run.islower() or _HEX.fullmatch(run) is not None


def find_runs(texts: Sequence[str]) -> list[int]:
    """Which of the texts hold a run of `list_runs`."""
    column = pl.Series(texts, dtype=pl.String)
    rows = touch(column, (_MAY_RUN,))
    runs = column.gather(rows).str.extract_all(_RUN).to_list()
    return [row for row, found in zip(rows.to_list(), runs, strict=True) if any(map(may_encode, found))]


def decode(text: str, plain: str) -> Iterator[str]:
    """Every reading of `text`, of which `plain` is the folded form, that is not its own."""
    if ("%" in plain or "+" in plain) and _PERCENT.search(plain):
        yield unquote(text.replace("+", " "))
    if "&#" in plain and _ENTITY.search(plain):
        yield html.unescape(text)
    if "\\" in plain and _ESCAPES.search(plain):
        yield _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    if any(word in plain for word in _ROT):
        yield codecs.encode(plain, "rot13")
    if any(word in plain for word in _MIRRORED):
        yield plain[::-1]
    for run in _SPACED_HEX.findall(text):
        yield from _read(bytes.fromhex(re.sub("[ ,]+", "", run)))
    for run in list_runs(text):
        yield from _read(_decode_base64(run))
        if _HEX.fullmatch(run):
            yield from _read(bytes.fromhex(run))
    if "base64" in plain or "b64" in plain or "decode" in plain:
        for split in _SPLIT.findall(text):
            parts = _BREAK.split(split)
            for start in range(min(STARTS, len(parts) - 1)):
                yield from _read(_decode_base64("".join(parts[start:])))


def _read(decoded: bytes) -> Iterator[str]:
    seen = sum(32 <= byte < 127 or byte in (9, 10, 13) for byte in decoded)
    if len(decoded) >= 12 and seen >= 0.95 * len(decoded):
        yield decoded.decode("ascii", "replace")


def _decode_base64(run: str) -> bytes:
    body = run.replace("=", "").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body[: len(body) - (len(body) % 4 == 1)] + "=" * (-len(body) % 4 % 3))
    except (binascii.Error, ValueError):
        return b""
