"""What dealing must know of every line of a window: numbers of a fixed size, made block by block, in any process.

Lines are read in blocks of a few megabytes; a line belongs to the block in which it begins. Four numbers of 64 bits
stand for a line: two for its bytes (BLAKE2b of 128 bits, which nobody finds twice), one for the record's id and one
for what decides its place. The last two only sort: whoever finds two lines alike by them compares their names.

This module imports little, so that a process which only makes marks costs little to start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from flytewheel.errors import DatasetError

BLOCK_BYTES = 1 << 24
BUFFER_BYTES = 1 << 18
LINE_HIGH, LINE_LOW, ID, PLACE = range(4)  # columns of marks

UNREAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what `msgspec` says of a line

Marks = NDArray[np.uint64]  # (lines, 4)

_Name = Annotated[str, msgspec.Meta(max_length=200)]  # as records have them; longer ones are not to be remembered


class Asked(msgspec.Struct, gc=False):
    """An interaction's id, and the user whose place it shares."""

    id: _Name = msgspec.field(name="interaction_id")
    place: _Name = msgspec.field(name="user_id")


class Heard(msgspec.Struct, gc=False):
    """An event's id, and the interaction whose place it shares."""

    id: _Name = msgspec.field(name="event_id")
    place: _Name = msgspec.field(name="interaction_id")


Names = type[Asked] | type[Heard]


@dataclass(frozen=True, slots=True)
class Block:
    """The lines of a file that begin in `size` bytes from `start`."""

    path: Path
    start: int
    size: int

    def read_lines(self) -> Iterator[bytes]:
        """Reads the lines, without blank ones and without white space around them.

        Raises:
            DatasetError: the file cannot be read.
        """
        try:
            with self.path.open("rb", buffering=BUFFER_BYTES) as stream:
                end = self.start + self.size
                if self.start:
                    stream.seek(self.start - 1)
                    stream.readline()  # began before
                at = stream.tell()
                # One at a time: a line that takes the memory of the last one costs a third of one that is kept.
                while at < end and (line := stream.readline()):
                    at += len(line)
                    if text := line.strip():
                        yield text
        except OSError as error:
            raise _explain(self.path, error) from None


def read_lines(path: Path) -> Iterator[bytes]:
    """Reads all lines of a file, as the blocks of it do.

    Raises:
        DatasetError: the file cannot be read.
    """
    for block in list_blocks(path, needed=True):
        yield from block.read_lines()


def list_blocks(path: Path, *, needed: bool) -> list[Block]:
    """The blocks of a file; none of one that may be missing.

    Raises:
        DatasetError: the file is needed and not there, or cannot be looked at.
    """
    if not needed and not path.exists():
        return []
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _explain(path, error) from None
    return [Block(path, start, BLOCK_BYTES) for start in range(0, size, BLOCK_BYTES)]


def mark_block(block: Block, names: Names) -> Marks:
    """Marks the lines of a block.

    Raises:
        DatasetError: its file cannot be read.
    """
    return mark_lines(block.read_lines(), names)


def mark_lines(lines: Iterable[bytes], names: Names) -> Marks:
    """Marks lines: (lines, 4). One that is no JSON object with such names has only its bytes to be placed by."""
    marks = bytearray()
    read = msgspec.json.Decoder(names).decode
    for line in lines:
        own = blake2b(line, digest_size=16).digest()
        try:
            found = read(line)  # looks at nothing but two keys: a third of the time
        except UNREAD:
            named = read_names(line, names)
            marks += own + (own if named is None else _mark(named[0]) + _mark(named[1]))
        else:
            marks += own + _mark(found.id) + _mark_place(found.place)
    return np.frombuffer(marks, ">u8").reshape(-1, 4).astype(np.uint64)


def read_names(line: bytes, names: Names) -> tuple[str, str] | None:
    """The id and the place that a line names, as text whatever they are; `None`: it is no JSON object."""
    try:
        record: Any = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    own, place = (str(record.get(item.encode_name)) for item in msgspec.structs.fields(names))
    return own, place


def _mark(name: str) -> bytes:
    return blake2b(name.encode(errors="replace"), digest_size=8).digest()


_mark_place = lru_cache(maxsize=1 << 16)(_mark)  # users ask again, and one answer has several events


def _explain(path: Path, error: OSError) -> DatasetError:
    return DatasetError(f"{path}: {error.strerror}; write the window again")
