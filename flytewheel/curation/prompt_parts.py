"""The arrays of one partition's prompts, in memory or mapped from a folder, and rows out of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from pathlib import Path
from typing import Any

import numpy as np

from flytewheel.curation.shingles import Ints, Shingles, UInts, count_up

_ARRAYS = (
    "keys", "numbers", "background", "bands", "query_values", "query_offsets", "background_keys", "background_values",
    "background_offsets", "index",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """The arrays of one partition: p distinct prompts sorted by key, m distinct backgrounds, b bands.

    Attributes:
        keys: (p, 2), the halves of each prompt's key.
        numbers: (p,), hash of the words with a digit of query and background, in their order.
        background: (p,), row of the prompt's background.
        bands: (b, p).
        query_values, query_offsets: trigrams of the queries.
        background_keys: (m, 2).
        background_values, background_offsets: trigrams of the backgrounds.
        index: (rows,), the prompt of every row that was given.
    """

    keys: UInts
    numbers: UInts
    background: Ints
    bands: UInts
    query_values: UInts
    query_offsets: Ints
    background_keys: UInts
    background_values: UInts
    background_offsets: Ints
    index: Ints

    @property
    def queries(self) -> Shingles:
        return Shingles(self.query_values, self.query_offsets)

    @property
    def backgrounds(self) -> Shingles:
        return Shingles(self.background_values, self.background_offsets)

    @classmethod
    def read(cls, folder: Path) -> Part:
        """Maps the arrays in `folder`: what is not asked for is not read."""
        return cls(**{name: _map(folder / f"{name}.npy") for name in _ARRAYS})

    def write(self, folder: Path) -> None:
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    def release(self) -> None:
        """Lets go of the pages of mapped arrays that were read; the files give them again."""
        for name in ("bands", "query_values", "background_values"):
            base: object = getattr(self, name)
            while isinstance(base, np.ndarray):
                base = base.base
            if isinstance(base, mmap) and hasattr(base, "madvise"):
                base.madvise(MADV_DONTNEED)


def gather(tables: Sequence[Shingles], parts: Ints, rows: Ints) -> Shingles:
    if len(tables) == 1:
        return tables[0].take(rows)
    sizes = np.empty(len(rows), dtype=np.int64)
    for number in np.unique(parts).tolist():
        own = parts == number
        sizes[own] = np.diff(tables[number].offsets)[rows[own]]
    offsets = count_up(sizes)
    values = np.empty(int(offsets[-1]), dtype=np.uint64)
    for number in np.unique(parts).tolist():
        own = np.flatnonzero(parts == number)
        taken = tables[number].take(rows[own])
        values[np.repeat(offsets[own] - taken.offsets[:-1], taken.sizes) + np.arange(len(taken.values))] = taken.values
    return Shingles(values, offsets)


def _map(path: Path) -> Any:
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except ValueError:
        return np.load(path)  # an array of no bytes cannot be mapped
