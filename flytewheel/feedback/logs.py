"""Reads feedback logs: JSON lines, plain or gzipped, one record a line. A bad line is a result, never an error.

A line is either an `Entry` (a record with the body and digest under which it is stored) or a `Fault` with a short
reason. What PostgreSQL cannot hold (NUL, lone surrogates, numbers beyond a double, deep nesting) is found here, so
that one such line cannot break the COPY of a million good ones. Only a file that cannot be read at all is an error.

Two departures from plain JSON: a line over `MAX_LINE_BYTES` is kept as its first 4 KiB with its length (a gzip bomb
is one line), and whole floats from 1e16 up in `metadata` become integers, as PostgreSQL's jsonb writes them: a body
reads back as it was. A body leaves out what is null, so that a field added later, optional and null by default,
changes no digest of what is stored; `metadata` and `history` are always there, empty or not.

`flytewheel.feedback.formats` turns others' logs into ours. A row that it cannot turn goes into the log by `hold_line`,
with one of `HELD_REASONS`, and comes out of `scan_log` as the fault that it is.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from flytewheel.errors import FeedbackError
from flytewheel.feedback.lines import MAX_LINE_BYTES as MAX_LINE_BYTES
from flytewheel.feedback.lines import Fault as Fault
from flytewheel.feedback.lines import check_log as check_log
from flytewheel.feedback.lines import make_fault as make_fault
from flytewheel.feedback.lines import split_lines
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction, to_jsonable

MAX_DEPTH = 32  # PostgreSQL's own limit is its stack: an error of the whole statement
YEARS = range(1970, 9999)  # a day short of what Python and PostgreSQL both print in every time zone

HELD_REASONS = frozenset(  # a closed list: a line of a log cannot bring a reason of its own
    {
        "chosen and rejected of different prompts",
        "damaged gzip",
        "line over 16 MiB",
        "missing chosen",
        "missing messages",
        "missing prompt",
        "missing query",
        "missing rejected",
        "missing response",
        "nested too deeply",
        "not JSON",
        "not UTF-8",
        "not an object",
        "same chosen and rejected",
        "truncated gzip",
        "unknown kind of row",
        "wrong messages",
    }
)

_HELD = b"\x00"  # opens a held line; in JSON it can stand nowhere
_NUL = re.compile(r"(?:^|[^\\])(?:\\\\)*\\u0000")
_AMOUNTS = {
    FeedbackType.ACCEPTED: ("seconds",),
    FeedbackType.CITATION_CLICK: ("count",),
    FeedbackType.READ_TIME: ("read_s", "expected_s"),
}

_TEXTS = {
    "corrected_response": {FeedbackType.CORRECTION, FeedbackType.EDIT},
    "other_response": {FeedbackType.DUEL},
    "preferred": {FeedbackType.DUEL},
}

Record = TypeVar("Record", Interaction, FeedbackEvent)


@dataclass(frozen=True, slots=True)
class Entry(Generic[Record]):
    """A line that holds a record; `body` is its canonical JSON and `digest` the SHA-256 of that."""

    record: Record
    body: str
    digest: str
    line: str


class _BadLine(Exception):  # noqa: N818 - carries a reason within this module, nobody else sees it
    """The reason why a line is not a record."""


def read_log(path: Path, model: type[Record]) -> Iterator[tuple[int, Record | Fault]]:
    """Reads the records of a log.

    Args:
        path: `.jsonl` or `.jsonl.gz`.
        model: `Interaction` or `FeedbackEvent`.

    Yields:
        Line number (from 1; empty lines are counted, not yielded) and the record or the fault.

    Raises:
        FeedbackError: the file is missing, not readable, or named `.gz` without being gzip.
    """
    for number, found in scan_log(path, model):
        yield number, found if isinstance(found, Fault) else found.record


def scan_log(path: Path, model: type[Record]) -> Iterator[tuple[int, Entry[Record] | Fault]]:
    """Reads a log as `read_log` does, with the body that is stored beside each record."""
    for number, raw, damage in split_lines(path):
        if isinstance(raw, Fault):
            yield number, raw
        elif damage:
            yield number, make_fault(damage, raw)
        elif text := raw.strip():
            yield number, _read_held(text) or _read_line(text, model)


def encode_body(record: Interaction | FeedbackEvent) -> tuple[str, str]:
    """Gives the canonical JSON of a record as it is stored, and its SHA-256 in hex.

    Raises:
        FeedbackError: the record holds what cannot be stored or contradicts itself; the message is a short reason.
    """
    try:
        return _encode(record)
    except _BadLine as fault:
        raise FeedbackError(f"{type(record).__name__} refused: {fault}") from None


def hold_line(reason: str, raw: bytes) -> bytes:
    """Gives the line by which a log holds a row of another log that could not be turned into a record.

    Raises:
        ValueError: the reason is none of `HELD_REASONS`.
    """
    if reason not in HELD_REASONS:
        raise ValueError(f"expected one of HELD_REASONS, got {reason!r}; add it there")
    return _HELD + reason.encode() + _HELD + b" ".join(raw.splitlines()) + b"\n"


def _read_held(text: bytes) -> Fault | None:
    if not text.startswith(_HELD):
        return None
    reason, found, raw = text[1:].partition(_HELD)
    known = reason.decode(errors="replace")
    return make_fault(known, raw) if found and known in HELD_REASONS else None


def _read_line(raw: bytes, model: type[Record]) -> Entry[Record] | Fault:
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError:
        return make_fault("not UTF-8", raw)
    try:
        record = _parse(line, model)
        body, digest = _encode(record)
    except _BadLine as fault:
        return make_fault(str(fault), raw)
    return Entry(record, body, digest, line)


def _parse(line: str, model: type[Record]) -> Record:
    try:
        data = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        raise _BadLine("nested too deeply") from None
    except ValueError:
        raise _BadLine("not JSON") from None
    if not isinstance(data, dict):
        raise _BadLine("not an object")
    try:  # a null is a field that is not given: so most exporters write it
        return model.model_validate({key: value for key, value in data.items() if value is not None})
    except ValidationError as error:
        raise _BadLine(_describe(error)) from None


def _refuse_constant(name: str) -> float:
    raise _BadLine("number out of range")


def _describe(error: ValidationError) -> str:
    """A category of a few words: the first fault's kind and field, never its value."""
    fault = error.errors(include_url=False, include_context=False)[0]
    name, kind = str(fault["loc"][0]) if fault["loc"] else "record", fault["type"]
    if kind == "missing":
        return f"missing {name}" if len(fault["loc"]) == 1 else f"wrong {name}"
    if name == "feedback_type":
        return "unknown feedback_type"
    if kind == "string_unicode":
        return "lone surrogate"
    if kind == "timezone_aware":
        return f"naive {name}"
    if name == "rating" and kind in {"greater_than_equal", "less_than_equal"}:
        return "rating outside 1..5"
    if kind == "string_too_short":
        return f"empty {name}"
    if kind == "string_too_long":
        return f"{name} too long"
    return f"wrong {name}"


def _encode(record: Interaction | FeedbackEvent) -> tuple[str, str]:
    if record.timestamp.year not in YEARS:
        raise _BadLine("timestamp out of range")
    if isinstance(record, FeedbackEvent):
        _check_event(record)
    try:
        data = {key: value for key, value in to_jsonable(record).items() if value is not None}  # reads keys as UTF-8
        if record.metadata:
            data["metadata"] = _settle(record.metadata, 0)
        body = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        digest = hashlib.sha256(body.encode()).hexdigest()
    except UnicodeEncodeError:
        raise _BadLine("lone surrogate") from None
    if "\\u0000" in body and _NUL.search(body):
        raise _BadLine("NUL character")
    return body, digest


def _check_event(event: FeedbackEvent) -> None:
    """What the types cannot say: a rating has a figure, a correction a text, a duel both, an amount is a number."""
    kind = event.feedback_type
    if (event.rating is None) is (kind is FeedbackType.RATING):
        raise _BadLine("missing rating" if event.rating is None else "rating on another type")
    for name, kinds in _TEXTS.items():
        text = getattr(event, name)
        if kind in kinds:
            if not (text or "").strip():
                raise _BadLine(f"missing {name}")
        elif text is not None:
            raise _BadLine(f"{name} on another type")
    for name in _AMOUNTS.get(kind, ()):
        amount = event.metadata.get(name)
        if amount is not None and (isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0):
            raise _BadLine(f"wrong metadata.{name}")


def _settle(value: Any, depth: int) -> Any:
    """Gives `value` with numbers as jsonb gives them back, and refuses what it cannot hold."""
    if depth > MAX_DEPTH:
        raise _BadLine("nested too deeply")
    if isinstance(value, dict):
        return {key: _settle(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_settle(item, depth + 1) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _BadLine("number out of range")
        if abs(value) >= 1e16 or value == 0:  # jsonb has neither exponents nor a negative zero
            return int(value) if value else 0.0
    return value
