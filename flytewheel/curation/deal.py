"""Deals a window into hash partitions, so that each can be prepared by itself, on one machine or many.

An interaction lies in the partition of its user, and its events lie with it: sessions and conversations never cross
partitions. A window is dealt into as many buckets as keep one in memory with ease, and buckets into shares, one for
each map task. Neither number changes the data set: whatever joins rows across buckets sorts them first.

Lines are marked first (`marks`), by several processes if need be; buckets are decided for all of them at once, by their
marks alone; then the lines are read again and written, each different one once. In memory are 32 bytes a line.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from itertools import compress, repeat
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.curation.marks import (
    BUFFER_BYTES,
    ID,
    LINE_HIGH,
    LINE_LOW,
    PLACE,
    Asked,
    Block,
    Heard,
    Marks,
    Names,
    list_blocks,
    mark_block,
    read_names,
)
from flytewheel.curation.mirrors import parse_record
from flytewheel.curation.processes import open_pool
from flytewheel.errors import DatasetError
from flytewheel.records import FeedbackEvent, Interaction, canonical_json
from flytewheel.suite.snapshot import SNAPSHOT

ROWS_A_BUCKET = 40_000  # each compiles the expressions of all screens and finders anew: 0.3 s
ROWS_THAT_PAY = 10_000  # take as long as a process takes to start
MAX_BUCKETS = 200  # open files
BLOCKS_A_PROCESS = 16  # 256 MiB: marking them takes four times as long as starting a process
DEALT = "dealt.json"
INTERACTIONS, EVENTS = "interactions.jsonl", "feedback.jsonl"
# A late event's interaction, and what was said of it before, come along (`feedback.window`).
_FILES = ((INTERACTIONS, "earlier_interactions.jsonl"), (EVENTS, "earlier_feedback.jsonl"))
_RECORDS: tuple[tuple[type[Interaction] | type[FeedbackEvent], Names], ...] = (
    (Interaction, Asked),
    (FeedbackEvent, Heard),
)
_NOWHERE = -1  # the bucket of a line that stands elsewhere, too

Buckets = NDArray[np.int64]  # (lines,)


@dataclass(frozen=True, slots=True)
class Dealt:
    """What was dealt: the window's own facts, how many different lines of each kind there were, and their digest."""

    window: dict[str, Any]
    interactions: int
    events: int
    digest: str


@dataclass(frozen=True, slots=True)
class _Lines:
    """All lines of one kind: in which blocks they stand, how many in each, and their marks."""

    kind: int
    blocks: list[Block]
    counts: list[int]
    marks: Marks

    def pick(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, bytes]]:
        """Reads the lines that are `wanted`, (lines,), each with its number."""
        done = 0
        for block, count in zip(self.blocks, self.counts, strict=True):
            if wanted[done : done + count].any():
                own = enumerate(block.read_lines(), done)
                yield from compress(own, wanted[done : done + count].tolist())
            done += count


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where lines lie, (lines,): `disputed` marks of ids had come into several buckets, and `settled` is where theirs
    were put, by the ids themselves.
    """

    buckets: Buckets
    disputed: NDArray[np.uint64]
    settled: dict[str, int]


def deal_window(window_dir: Path, out: Path, *, shares: int = 1, workers: int = 1) -> list[Path]:
    """Deals the window in `window_dir` into `shares` folders under `out`.

    Each share holds `dealt.json`, the suite that came with the window (`suite.snapshot`), and folders of buckets
    (`0000`, …) with `interactions.jsonl` and `feedback.jsonl`.

    Args:
        window_dir: the window (`feedback.window`).
        out: a new folder.
        shares: folders to deal into.
        workers: processes that read the window; how many buckets there are may follow them, the data set never does.

    Raises:
        DatasetError: the window cannot be read.
    """
    window = _read_facts(window_dir)
    asked, heard = _mark_window(window_dir, workers)
    buckets = count_buckets(len(asked.marks), shares, workers)
    places = [out / f"share-{bucket % shares:03d}" / f"{bucket:04d}" for bucket in range(buckets)]
    for place in places:
        place.mkdir(parents=True)
    homes = _gather(asked, _draw(asked, buckets))
    visits = _gather(heard, _follow(heard, asked, homes, buckets))
    seen = []
    for lines, placed in ((asked, homes), (heard, visits)):
        copies, different = _find_copies(lines.marks)
        seen.append(different)
        placed.buckets[copies] = _NOWHERE
        _write(lines, placed.buckets, places)
    digest = hashlib.sha256(b"\n".join(map(_to_bytes, seen))).hexdigest()
    dealt = Dealt(window, len(seen[0]), len(seen[1]), digest)
    folders = [out / f"share-{share:03d}" for share in range(shares)]
    for folder in folders:
        folder.mkdir(exist_ok=True)  # more shares than buckets
        (folder / DEALT).write_bytes(canonical_json(dealt))
        if (window_dir / SNAPSHOT).is_file():
            shutil.copyfile(window_dir / SNAPSHOT, folder / SNAPSHOT)
    return folders


def count_buckets(rows: int, shares: int, workers: int) -> int:
    """As many buckets as hold `rows`, at least one a share, and as many for each of the workers where it pays."""
    needed = max(shares, 1, -(-rows // ROWS_A_BUCKET))
    even = -(-needed // workers) * workers
    return min(MAX_BUCKETS, even if rows >= even * ROWS_THAT_PAY else needed)


def read_dealt(share: Path) -> Dealt:
    """Reads what `deal_window` says of the window in each share."""
    return Dealt(**json.loads((share / DEALT).read_text(encoding="utf-8")))


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        window = json.loads((folder / "window.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder}: no readable window.json ({error}); write the window again") from None
    if not isinstance(window, dict):
        raise DatasetError(f"{folder}/window.json: expected an object; write the window again")
    return window


def _mark_window(window_dir: Path, workers: int) -> list[_Lines]:
    blocks = [
        [block for name in files for block in list_blocks(window_dir / name, needed=name == files[0])]
        for files in _FILES
    ]
    processes = min(workers, sum(map(len, blocks)) // BLOCKS_A_PROCESS)
    with open_pool(processes) if processes > 1 else nullcontext() as pool:
        run = pool.map if pool else map
        marked = [run(mark_block, own, repeat(names)) for own, (_, names) in zip(blocks, _RECORDS, strict=True)]
        return [_join(kind, own, found) for kind, (own, found) in enumerate(zip(blocks, marked, strict=True))]


def _join(kind: int, blocks: list[Block], marked: Iterable[Marks]) -> _Lines:
    marks = [*marked]
    return _Lines(kind, blocks, [len(one) for one in marks], np.concatenate([np.empty((0, 4), np.uint64), *marks]))


def _draw(lines: _Lines, buckets: int) -> Buckets:
    return (lines.marks[:, PLACE] % buckets).astype(np.int64)


def _gather(lines: _Lines, drawn: Buckets) -> _Placed:
    """Brings all lines of an id to where the one that counts lies, so that the others are counted there, whatever the
    order of lines: of those that can be read, it is the smallest.
    """
    marks = lines.marks[:, ID]
    order = np.lexsort((drawn, marks))
    ids, where = marks[order], drawn[order]
    disputed = np.unique(ids[1:][(ids[1:] == ids[:-1]) & (where[1:] != where[:-1])])
    placed = drawn.copy()
    if not len(disputed):
        return _Placed(placed, disputed, {})
    model, names = _RECORDS[lines.kind]
    best: dict[str, tuple[bytes, int]] = {}
    bodies: dict[str, list[int]] = defaultdict(list)
    for number, line in lines.pick(np.isin(marks, disputed)):
        named = read_names(line, names)
        if named is None:
            continue
        name = named[0]
        bodies[name].append(number)
        if name not in best or line < best[name][0]:
            with suppress(ValueError):
                parse_record(line, model)
                best[name] = line, int(drawn[number])
    for name, (_, bucket) in best.items():
        placed[bodies[name]] = bucket
    return _Placed(placed, disputed, {name: bucket for name, (_, bucket) in best.items()})


def _follow(heard: _Lines, asked: _Lines, homes: _Placed, buckets: int) -> Buckets:
    """Where the interactions of events lie; where an event of none goes, its name decides."""
    order = np.lexsort((homes.buckets, asked.marks[:, ID]))
    ids, about = asked.marks[order, ID], heard.marks[:, PLACE]
    at = np.searchsorted(ids, about)
    known = at < len(ids)
    known[known] = ids[at[known]] == about[known]
    found = _draw(heard, buckets)
    found[known] = homes.buckets[order[at[known]]]
    if homes.settled:  # two names may share a mark
        for number, line in heard.pick(np.isin(about, homes.disputed)):
            named = read_names(line, Heard)
            if named is not None and named[1] in homes.settled:
                found[number] = homes.settled[named[1]]
    return found


def _find_copies(marks: Marks) -> tuple[NDArray[np.int64], Marks]:
    """Which lines stand before them already, and the marks of the different lines, (lines, 2), sorted."""
    order = np.lexsort((marks[:, LINE_LOW], marks[:, LINE_HIGH]))
    bodies = marks[order][:, [LINE_HIGH, LINE_LOW]]
    again = np.zeros(len(bodies), bool)
    again[1:] = (bodies[1:] == bodies[:-1]).all(axis=1)
    return order[again], bodies[~again]


def _to_bytes(marks: Marks) -> bytes:
    return marks.astype(">u8").tobytes()


def _write(lines: _Lines, buckets: Buckets, places: Sequence[Path]) -> None:
    done = 0
    with ExitStack() as stack:
        streams: list[IO[bytes]] = [
            stack.enter_context((place / _FILES[lines.kind][0]).open("wb", buffering=BUFFER_BYTES)) for place in places
        ]
        for block, count in zip(lines.blocks, lines.counts, strict=True):
            for line, bucket in zip(block.read_lines(), buckets[done : done + count].tolist(), strict=True):
                if bucket != _NOWHERE:
                    streams[bucket].write(line + b"\n")
            done += count
