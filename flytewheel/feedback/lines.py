"""Lines of a file, plain or gzipped, in bounded memory; what cannot be kept whole is a `Fault` with a short reason.

A line over the limit is kept as its first 4 KiB with its length and the digest of all its bytes (a gzip bomb is one
line). A gzip file that breaks off gives what came through, and says so in its last line.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flytewheel.errors import FeedbackError

MAX_LINE_BYTES = 1 << 20

_CHUNK_BYTES = 1 << 16
_KEPT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that was not understood: `digest` is of all its bytes, `line` what can be shown and stored of it."""

    reason: str
    line: str
    digest: str


def check_log(path: Path) -> None:
    """Opens a log and closes it again, so that a wrong path is found before anything is done.

    Raises:
        FeedbackError: the file is missing, not readable, or named `.gz` without being gzip.
    """
    _open_log(path).close()


def make_fault(reason: str, raw: bytes, *, seen: str | None = None, size: int | None = None) -> Fault:
    """Makes a fault of a raw line, its text such that a file and PostgreSQL can hold it."""
    text = raw.decode("utf-8", errors="backslashreplace").replace("\x00", "\\u0000")
    if size is not None:
        text = f"{text[:_KEPT_BYTES]}… ({size:,} bytes)"
    return Fault(reason, text, seen or hashlib.sha256(raw).hexdigest())


def read_chunks(path: Path) -> Iterator[bytes | str]:
    """Yields a file's bytes in chunks, unpacked; a str at the end is the reason why they broke off.

    Raises:
        FeedbackError: as `check_log`.
    """
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


def split_lines(path: Path, *, limit: int = MAX_LINE_BYTES) -> Iterator[tuple[int, bytes | Fault, str | None]]:
    """Splits a file, plain or gzipped, into lines.

    Yields:
        Line number, line (over `limit` bytes: a fault), and why the file broke off there (the last line only).

    Raises:
        FeedbackError: the file is missing, not readable, or named `.gz` without being gzip.
    """
    number, pending, huge = 1, b"", _HugeLine(limit)
    for chunk in read_chunks(path):
        if isinstance(chunk, str):
            yield number, huge.close() if huge.size else pending, chunk
            return
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            if huge.size or len(pending) + len(part) > limit:
                huge.add(pending + part)
                yield number, huge.close(), None
                huge = _HugeLine(limit)
            else:
                line = pending + part
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, None
            pending = b""
            number += 1
        pending += rest
        if huge.size or len(pending) > limit:
            huge.add(pending)
            pending = b""
    if huge.size:
        yield number, huge.close(), None
    elif pending:
        yield number, pending.removeprefix(b"\xef\xbb\xbf") if number == 1 else pending, None


class _HugeLine:
    """Counts and hashes a line that is too long to keep."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._reason = f"line over {limit >> 20} MiB"
        self._head = b""
        self._hash = hashlib.sha256()

    def add(self, part: bytes) -> None:
        self.size += len(part)
        self._head = (self._head + part[:_KEPT_BYTES])[:_KEPT_BYTES]
        self._hash.update(part)

    def close(self) -> Fault:
        return make_fault(self._reason, self._head, seen=self._hash.hexdigest(), size=self.size)


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
