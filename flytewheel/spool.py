"""The spool on disk: segments of framed records that outlive the process that wrote them.

A segment is a magic line and frames of `length, CRC-32, payload`. It is only ever appended to, by the one process that
holds its `flock`; when that process dies, whatever killed it, the lock is free and a successor may take the segment
over. A frame that was not written whole ends a segment: it is cut off, and nothing before it is lost. A frame that is
there in full and does not fit its sum (a disk's fault, not a kill's) is set aside in `damaged/`, the rest is read on.

A payload is one row as PostgreSQL's COPY takes it: columns between tabs, with COPY's escapes. So it is written once, is
sent as it lies there, and can be read by whoever has to find a person in it. `docs/adr/0037-a-log-that-outlives.md`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("flytewheel.spool")

FOLDER = "spool"  # below the home
SUFFIX = ".seg"
INTERACTIONS, EVENTS = "interactions", "events"
HEADER = b"flytewheel spool 1\n"
_FRAME = struct.Struct("<II")
LONGEST = 64 << 20  # bytes of a frame: beyond, its length is not believed


@dataclass(slots=True)
class Segment:
    """An open and locked segment. `end` is where its last whole frame ends, in bytes."""

    path: Path
    fd: int
    end: int

    def append(self, data: bytes) -> None:
        """Writes frames at the end, all or nothing.

        Raises:
            OSError: they could not be written whole; the segment is as it was, or, where even that failed, ends in a
                torn frame that every reader cuts off.
        """
        try:
            written = os.pwrite(self.fd, data, self.end)
            if written != len(data):  # a full disk takes a part first, and refuses the rest with its reason
                os.pwrite(self.fd, data[written:], self.end + written)
                if os.fstat(self.fd).st_size < self.end + len(data):
                    raise OSError(28, os.strerror(28))
        except OSError:
            with suppress(OSError):
                os.ftruncate(self.fd, self.end)
            raise
        self.end += len(data)

    def close(self) -> None:
        """Lets go of the segment, which stays."""
        os.close(self.fd)

    def remove(self) -> None:
        """Deletes the segment: all of it is stored."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self.fd)


def frame(payload: bytes) -> bytes:
    """The payload as it lies in a segment."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def split_frames(data: bytes, place: int = 0, most: int = sys.maxsize) -> tuple[list[bytes], list[bytes], int]:
    """Takes at most `most` whole frames off `data`, from byte `place` on.

    Returns:
        The payloads, the frames that do not fit their sums, and the byte after the last whole frame.
    """
    payloads: list[bytes] = []
    damaged: list[bytes] = []
    size = len(data)
    while place + 8 <= size and len(payloads) < most:
        length, checksum = _FRAME.unpack_from(data, place)
        after = place + 8 + length
        if length > LONGEST or after > size or not length:
            break
        payload = data[place + 8 : after]
        if zlib.crc32(payload) == checksum:
            payloads.append(payload)
        else:
            damaged.append(payload)
        place = after
    return payloads, damaged, place


def length_at(head: bytes) -> int:
    """How many bytes the frame that begins with these 8 takes."""
    return 8 + int(_FRAME.unpack_from(head)[0])


def create_segment(folder: Path, kind: str, *, durable: bool) -> Segment:
    """Makes a new, locked segment, the last one by name; `durable`: its being there outlives the machine.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{kind}-{time.time_ns():020d}-{os.getpid()}{SUFFIX}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(fd, HEADER, 0)
        if durable:
            sync_folder(folder)
    except BaseException:
        os.close(fd)
        with suppress(OSError):
            path.unlink()
        raise
    return Segment(path, fd, len(HEADER))


def list_segments(folder: Path, kind: str = "") -> list[Path]:
    """The segments of a folder, the oldest first."""
    return sorted(folder.glob(f"{kind}*{SUFFIX}")) if folder.is_dir() else []


def take_segment(path: Path) -> Segment | None:
    """Locks a segment that nobody holds; None where somebody does, or it is gone.

    A torn end is cut off; frames that do not fit their sums go to `damaged/`.

    Raises:
        OSError: it cannot be opened or mended.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino != path.stat().st_ino:  # replaced between the two calls
                raise FileNotFoundError
        except (BlockingIOError, FileNotFoundError):
            os.close(fd)
            return None
        return Segment(path, fd, _mend(path, fd))
    except OSError:
        with suppress(OSError):
            os.close(fd)
        raise


def try_segment(path: Path) -> Segment | None:
    """As `take_segment`; None also for a file that cannot be opened, which must not keep others from being stored."""
    try:
        return take_segment(path)
    except OSError as error:
        logger.error("%s cannot be taken over: %s", path, error.strerror)
        return None


def read_payloads(segment: Segment) -> list[bytes]:
    """Every record of a segment."""
    data = os.pread(segment.fd, segment.end, 0)
    return split_frames(data, len(HEADER))[0]


def replace_segment(segment: Segment, payloads: Iterable[bytes]) -> Segment | None:
    """Writes a held segment anew with these records, or deletes it where there are none; gives the new one, held.

    Raises:
        OSError: it cannot be written; the old one stays as it is.
    """
    kept = list(payloads)
    if not kept:
        segment.remove()
        return None
    part = segment.path.with_suffix(f".{os.getpid()}.part")
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    fresh = Segment(segment.path, fd, 0)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.append(HEADER + b"".join(map(frame, kept)))
        os.fsync(fd)
        part.replace(segment.path)
        sync_folder(segment.path.parent)
    except BaseException:
        os.close(fd)
        with suppress(OSError):
            part.unlink()
        raise
    segment.close()
    return fresh


def clear_parts(folder: Path) -> None:
    """Removes what writers that were killed in `replace_segment` left: the old segments are whole.

    By the lock, not by the process id in the name, which may be another process's by now. A writer that has not got as
    far as its lock loses its file, fails, and does it again.
    """
    for path in folder.glob("*.part"):
        with suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(fd)


def sync_folder(folder: Path) -> None:
    """Makes a file's being there as durable as its content."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def join_columns(columns: Iterable[bytes]) -> bytes:
    """Columns as one line of COPY's text form, without its line feed."""
    return b"\t".join(map(escape, columns))


def join_row(head: tuple[str, ...], body: bytes, *tail: bytes) -> bytes:
    """As `join_columns`, in a third of the time: `head` are short texts, `body` and `tail` JSON or hexadecimal digits,
    in which neither tabs nor line feeds can stand.
    """
    line = "\t".join(head)
    if "\\" in line or "\n" in line or "\r" in line or line.count("\t") != len(head) - 1:
        start = join_columns(value.encode() for value in head)
    else:
        start = line.encode()
    rest = b"\t".join((body, *tail))
    return start + b"\t" + (rest.replace(b"\\", b"\\\\") if b"\\" in rest else rest)


def escape(value: bytes) -> bytes:
    """A column's value with COPY's escapes. NUL cannot be stored; whoever encodes a row refuses it."""
    value = value.replace(b"\\", b"\\\\")
    if b"\n" in value or b"\t" in value or b"\r" in value:
        value = value.replace(b"\n", b"\\n").replace(b"\t", b"\\t").replace(b"\r", b"\\r")
    return value


def split_columns(line: bytes) -> list[bytes]:
    """The values of a line that `join_columns` made."""
    return [_unescape(column) for column in line.split(b"\t")]


def measure(folder: Path) -> int:
    """Bytes of everything in the spool."""
    return sum(size for size in _sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for top, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield os.stat(os.path.join(top, name)).st_size


def _unescape(value: bytes) -> bytes:
    if b"\\" not in value:
        return value
    parts = value.split(b"\\\\")
    return b"\\".join(p.replace(b"\\n", b"\n").replace(b"\\t", b"\t").replace(b"\\r", b"\r") for p in parts)


def _mend(path: Path, fd: int) -> int:
    """Cuts a torn end off, sets damaged frames aside; gives where the last whole frame ends."""
    size = os.fstat(fd).st_size
    data = os.pread(fd, size, 0)
    if not data.startswith(HEADER):
        if not HEADER.startswith(data):
            _set_aside(path, data)
        os.ftruncate(fd, 0)
        os.pwrite(fd, HEADER, 0)
        return len(HEADER)
    _, damaged, end = split_frames(data, len(HEADER))
    if damaged:
        _set_aside(path, b"\n".join(damaged))
    if end < size:
        rest = data[end:]
        torn = len(rest) < 8 or len(rest) < length_at(rest) <= LONGEST
        if not torn and rest.strip(b"\0"):  # zeros: what a file system leaves where it had grown and not yet written
            _set_aside(path, rest)
        os.ftruncate(fd, end)
    return end


def _set_aside(path: Path, data: bytes) -> None:
    folder = path.parent / "damaged"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / f"{path.stem}.bin").write_bytes(data)
