"""Reads feedback logs: JSON lines, plain or gzipped, one record a line. A bad line is a result, never an error.

A line is either an `Entry` (a record with the body and digest under which it is stored) or a `Fault` with a short
reason. What PostgreSQL cannot hold (NUL, lone surrogates, numbers beyond a double, deep nesting) is found here, so
that one such line cannot break the COPY of a million good ones. Only a file that cannot be read at all is an error.

Two departures from plain JSON: a line over `MAX_LINE_BYTES` is kept as its first 4 KiB with its length (a gzip bomb
is one line), and whole floats from 1e16 up in `metadata` become integers, as PostgreSQL's jsonb writes them: a body
reads back as it was.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from pydantic import ValidationError

from flytewheel.errors import FeedbackError
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction, to_jsonable

MAX_LINE_BYTES = 1 << 20
MAX_DEPTH = 32  # PostgreSQL's own limit is its stack: an error of the whole statement
YEARS = range(1970, 9999)  # a day short of what Python and PostgreSQL both print in every time zone

_CHUNK_BYTES = 1 << 16
_KEPT_BYTES = 4096
_NUL = re.compile(r"(?:^|[^\\])(?:\\\\)*\\u0000")
_AMOUNTS = {
    FeedbackType.ACCEPTED: ("seconds",),
    FeedbackType.CITATION_CLICK: ("count",),
    FeedbackType.READ_TIME: ("read_s", "expected_s"),
}

Record = TypeVar("Record", Interaction, FeedbackEvent)


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that was not understood: `digest` is of all its bytes, `line` what can be shown and stored of it."""

    reason: str
    line: str
    digest: str


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
    for number, raw, damage in _split_lines(path):
        if isinstance(raw, Fault):
            yield number, raw
        elif damage:
            yield number, make_fault(damage, raw)
        elif text := raw.strip():
            yield number, _read_line(text, model)


def check_log(path: Path) -> None:
    """Opens a log and closes it again, so that a wrong path is found before anything is done.

    Raises:
        FeedbackError: the file is missing, not readable, or named `.gz` without being gzip.
    """
    _open_log(path).close()


def encode_body(record: Interaction | FeedbackEvent) -> tuple[str, str]:
    """Gives the canonical JSON of a record as it is stored, and its SHA-256 in hex.

    Raises:
        FeedbackError: the record holds what cannot be stored or contradicts itself; the message is a short reason.
    """
    try:
        return _encode(record)
    except _BadLine as fault:
        raise FeedbackError(f"{type(record).__name__} refused: {fault}") from None


def make_fault(reason: str, raw: bytes, *, seen: str | None = None, size: int | None = None) -> Fault:
    """Makes a fault of a raw line, its text such that a file and PostgreSQL can hold it."""
    text = raw.decode("utf-8", errors="backslashreplace").replace("\x00", "\\u0000")
    if size is not None:
        text = f"{text[:_KEPT_BYTES]}… ({size:,} bytes)"
    return Fault(reason, text, seen or hashlib.sha256(raw).hexdigest())


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
    data = to_jsonable(record)
    if record.metadata:
        data["metadata"] = _settle(record.metadata, 0)
    try:
        body = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        digest = hashlib.sha256(body.encode()).hexdigest()
    except UnicodeEncodeError:
        raise _BadLine("lone surrogate") from None
    if "\\u0000" in body and _NUL.search(body):
        raise _BadLine("NUL character")
    return body, digest


def _check_event(event: FeedbackEvent) -> None:
    """What the record's types cannot say: a rating has a figure, a correction a text, an amount is a number."""
    kind = event.feedback_type
    if (event.rating is None) is (kind is FeedbackType.RATING):
        raise _BadLine("missing rating" if event.rating is None else "rating on another type")
    if kind is FeedbackType.CORRECTION:
        if not (event.corrected_response or "").strip():
            raise _BadLine("missing corrected_response")
    elif event.corrected_response is not None:
        raise _BadLine("corrected_response on another type")
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


def _open_log(path: Path) -> IO[bytes]:
    try:
        stream = path.open("rb")
        magic = stream.read(2)
        stream.seek(0)
    except OSError as error:
        raise FeedbackError(f"{path}: cannot be read ({error.strerror}); expected a .jsonl or .jsonl.gz file") from None
    if magic == b"\x1f\x8b":
        stream.close()
        return gzip.open(path)  # type: ignore[return-value]  # given the stream, it would leave that one open
    if path.suffix == ".gz":
        stream.close()
        raise FeedbackError(f"{path}: not gzip, though it is named so; rename it to .jsonl or compress it")
    return stream


def _read_chunks(path: Path) -> Iterator[bytes | str]:
    """Yields the log's bytes in chunks; a str at the end is the reason why they broke off."""
    with _open_log(path) as stream:
        while True:
            try:
                chunk = stream.read1(_CHUNK_BYTES)  # type: ignore[attr-defined]  # both kinds of stream have it
            except EOFError:
                yield "truncated gzip"
                return
            except (zlib.error, gzip.BadGzipFile):
                yield "damaged gzip"
                return
            except OSError as error:
                raise FeedbackError(f"{path}: reading broke off ({error.strerror}); nothing was stored") from None
            if not chunk:
                return
            yield chunk


def _split_lines(path: Path) -> Iterator[tuple[int, bytes | Fault, str | None]]:
    """Yields line number, line, and why the file broke off there (the last line only). A huge line comes as a fault."""
    number, pending, huge = 1, b"", _HugeLine()
    for chunk in _read_chunks(path):
        if isinstance(chunk, str):
            yield number, huge.close() if huge.size else pending, chunk
            return
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            if huge.size or len(pending) + len(part) > MAX_LINE_BYTES:
                huge.add(pending + part)
                yield number, huge.close(), None
                huge = _HugeLine()
            else:
                line = pending + part
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, None
            pending = b""
            number += 1
        pending += rest
        if huge.size or len(pending) > MAX_LINE_BYTES:
            huge.add(pending)
            pending = b""
    if huge.size:
        yield number, huge.close(), None
    elif pending:
        yield number, pending.removeprefix(b"\xef\xbb\xbf") if number == 1 else pending, None


class _HugeLine:
    """Counts and hashes a line that is too long to keep."""

    def __init__(self) -> None:
        self.size = 0
        self._head = b""
        self._hash = hashlib.sha256()

    def add(self, part: bytes) -> None:
        self.size += len(part)
        self._head = (self._head + part[:_KEPT_BYTES])[:_KEPT_BYTES]
        self._hash.update(part)

    def close(self) -> Fault:
        return make_fault("line over 1 MiB", self._head, seen=self._hash.hexdigest(), size=self.size)
