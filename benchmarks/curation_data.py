"""A window of feedback for measuring curation: realistic lengths, planted personal data, duplicates and spam.

    python -m benchmarks.curation_data FOLDER --rows 1000000 [--seed 7] [--truth]

Rows are made in chunks of `CHUNK`, each from a seed of its own, so that the number of processes changes nothing. A
chunk is a slice of the week; interactions are in the order of time, events nearly (a late one may stand a slice early).
Prompts are distinct but for planted clusters: exact copies, copies in other letters, with a word added or the last one
changed. What was planted is counted in `Planted`, and written per row to `truth.jsonl` on request.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import orjson

from benchmarks.curation_chunk import CHUNK, ChunkWriter
from benchmarks.curation_words import make_words


@dataclass(frozen=True, slots=True)
class Planted:
    """What a window holds. `clusters`: size of a cluster of near-identical prompts → how many there are."""

    interactions: int
    events: int
    bytes: int
    plants: dict[str, int]
    clusters: dict[int, int]


def write_window(
    folder: Path, rows: int, seed: int = 7, *, processes: int | None = None, truth: bool = False
) -> Planted:
    """Writes `interactions.jsonl`, `feedback.jsonl` and `window.json` with `rows` interactions.

    Args:
        folder: created where needed.
        rows: interactions, at least 100.
        seed: of everything; the same seed and rows give the same bytes.
        processes: how many make chunks; `None`: one for each core where that pays.
        truth: also write `truth.jsonl`: id, cluster and plants of every row.
    """
    if rows < 100:
        raise ValueError(f"a window needs at least 100 rows, got {rows}")
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(-(-rows // CHUNK))
    workers = processes or (os.cpu_count() or 1 if rows >= 20 * CHUNK else 1)
    events = size = 0
    plants: Counter[str] = Counter()
    clusters: Counter[str] = Counter()
    with (folder / "interactions.jsonl").open("wb") as asked, (folder / "feedback.jsonl").open("wb") as said:
        answers = (folder / "truth.jsonl").open("wb") if truth else None
        for made in _make_chunks(rows, seed, numbers, workers, truth):
            size += asked.write(made[0]) + said.write(made[1])
            if answers is not None:
                answers.write(made[2])
            events += made[3]
            plants.update(made[4])
            clusters.update(made[5])
        if answers is not None:
            answers.close()
    window = {
        "sources": ["bench"],
        "high_xid": "9",
        "interactions": rows,
        "events": events,
        "series": "bench",
        "number": 1,
        "low_xid": "0",
    }
    (folder / "window.json").write_bytes(orjson.dumps(window, option=orjson.OPT_SORT_KEYS) + b"\n")
    sizes = Counter(clusters.values())
    return Planted(rows, events, size, dict(sorted(plants.items())), dict(sorted(sizes.items())))


_Made = tuple[bytes, bytes, bytes, int, Counter[str], Counter[str]]


def _make_chunks(rows: int, seed: int, numbers: range, workers: int, truth: bool) -> Iterator[_Made]:
    if workers == 1:
        for number in numbers:
            yield _make_chunk(rows, seed, number, truth)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for first in range(0, len(numbers), 4 * workers):  # a few at a time: a finished chunk weighs 12 MB
            some = numbers[first : first + 4 * workers]
            yield from pool.map(_make_chunk, *zip(*((rows, seed, number, truth) for number in some), strict=True))


def _make_chunk(rows: int, seed: int, number: int, truth: bool) -> _Made:
    passages = max(20, rows // 500)
    chunk = ChunkWriter(rows, seed, number, make_words(seed, passages), truth).write()
    chunk.events.sort(key=lambda event: event[:2])
    lines = tuple(b"".join(part) for part in (chunk.interactions, [event[2] for event in chunk.events], chunk.truth))
    return (*lines, len(chunk.events), chunk.plants, chunk.clusters)  # type: ignore[return-value]


def main() -> None:
    """Writes a window and says what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--truth", action="store_true", help="write truth.jsonl, too")
    options = parser.parse_args()
    began, cpu = time.monotonic(), os.times()
    made = write_window(options.folder, options.rows, options.seed, processes=options.processes, truth=options.truth)
    spent = sum(os.times()[:4]) - sum(cpu[:4])
    print(
        f"{made.interactions} interactions, {made.events} events, {made.bytes / 1e6:.0f} MB in "
        f"{time.monotonic() - began:.1f} s, {spent * 1e6 / made.interactions:.0f} µs CPU a row"
    )
    print(orjson.dumps(made.plants, option=orjson.OPT_INDENT_2).decode())
    print("clusters by size:", dict(list(made.clusters.items())[:8]), "largest:", max(made.clusters))


if __name__ == "__main__":
    main()
