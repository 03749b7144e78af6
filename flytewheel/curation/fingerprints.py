"""What is kept of every distinct prompt to find its near ones: trigrams, MinHash bands, numbers, and no text.

A context is asked about many times, so backgrounds stand in a table of their own and are hashed and signed once. A band
is a hash over the same rows of both signatures. A partition is written as plain arrays and mapped, not read, when
partitions are put together: of a million prompts with 300-word contexts only keys, numbers and one band at a time are
in memory, and the trigrams of candidates.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flytewheel.curation.prompt_parts import Part, gather
from flytewheel.curation.prompts import digest_prompt
from flytewheel.curation.shingles import (
    Floats,
    Ints,
    Shingles,
    UInts,
    count_up,
    hash_chunks,
    hash_numbers,
    measure_jaccard,
    mix,
    shingle_words,
)
from flytewheel.curation.signatures import ALGORITHM, PERMUTATIONS, choose_band_rows, sign
from flytewheel.errors import DatasetError

if TYPE_CHECKING:
    import polars as pl

FORMAT = "fingerprints-2"  # raised where the same prompts would give other arrays
_SEEDS = (0x5EED, 0xBACC)
_COMPARED_AT_ONCE = 1 << 16
_KEY = np.dtype(">u8")


@dataclass(frozen=True)
class PromptFingerprints:
    """Distinct prompts sorted by key, n of them: "place" i below is row i.

    Attributes:
        keys: (n, 2), the halves of the key `PromptText.key` spells out.
        numbers: (n,), equal where the numbers in query and background are, in their order.
        background: (n,), which distinct background.
        index: (rows,), the place of every row given, in the order of rows and, when loaded, of folders.
        similarity: the least similarity that the bands were made for.
        parts: where the arrays lie; part, row: (n,) which part holds the prompt, and where.
        background_part, background_row: (m,) the same of backgrounds.
    """

    keys: UInts
    numbers: UInts
    background: Ints
    index: Ints
    similarity: float
    parts: tuple[Part, ...]
    part: Ints
    row: Ints
    background_part: Ints
    background_row: Ints

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def bands(self) -> int:
        return PERMUTATIONS // choose_band_rows(self.similarity)

    @property
    def names(self) -> list[str]:
        """The keys as 32 hexadecimal digits each, sorted."""
        text = self.keys.astype(_KEY).tobytes().hex()
        return [text[start : start + 32] for start in range(0, len(text), 32)]

    def read_band(self, band: int) -> UInts:
        """(n,), the hash of one band of every prompt."""
        values = np.empty(len(self), dtype=np.uint64)
        for number, part in enumerate(self.parts):
            own = self.part == number
            values[own] = part.bands[band][self.row[own]]
            part.release()
        return values

    def gather_queries(self, places: Ints) -> Shingles:
        return gather([part.queries for part in self.parts], self.part[places], self.row[places])

    def gather_backgrounds(self, backgrounds: Ints) -> Shingles:
        return gather(
            [part.backgrounds for part in self.parts],
            self.background_part[backgrounds],
            self.background_row[backgrounds],
        )

    def measure(self, ones: Ints, others: Ints, least: float = 0.0) -> Floats:
        """The smaller of the Jaccard similarities of query and background, of prompts at `ones` and `others`.

        Where the queries alone are below `least`, theirs.
        """
        scores = np.empty(len(ones), dtype=np.float64)
        for start in range(0, len(ones), _COMPARED_AT_ONCE):
            one, other = ones[start : start + _COMPARED_AT_ONCE], others[start : start + _COMPARED_AT_ONCE]
            found = measure_jaccard(self.gather_queries(one), self.gather_queries(other))
            left, right = self.background[one], self.background[other]
            asked = np.flatnonzero((found >= least) & (left != right))
            # Long contexts: fewer at a time.
            for begin in range(0, len(asked), _COMPARED_AT_ONCE // 8):
                some = asked[begin : begin + _COMPARED_AT_ONCE // 8]
                rear = measure_jaccard(self.gather_backgrounds(left[some]), self.gather_backgrounds(right[some]))
                found[some] = np.minimum(found[some], rear)
            scores[start : start + _COMPARED_AT_ONCE] = found
            for part in self.parts:
                part.release()
        return scores

    def take(self, places: Ints) -> PromptFingerprints:
        """Only the prompts at `places`, which are distinct and rising; their `index` names each once."""
        return replace(
            self,
            keys=self.keys[places],
            numbers=self.numbers[places],
            background=self.background[places],
            index=np.arange(len(places)),
            part=self.part[places],
            row=self.row[places],
        )

    def find_places(self, names: Sequence[str]) -> Ints:
        """(len(names),) the place of each key, -1 where it is not there."""
        wanted = _join(np.frombuffer(bytes.fromhex("".join(names)), dtype=_KEY).astype(np.uint64).reshape(-1, 2))
        held = _join(self.keys)
        places = np.searchsorted(held, wanted)
        found = np.zeros(len(wanted), dtype=np.bool_)
        inside = places < len(held)
        found[inside] = held[places[inside]] == wanted[inside]
        return np.where(found, places, -1)

    def write(self, folder: Path) -> None:
        """Writes the arrays; `load_fingerprints` puts several such folders together.

        Raises:
            ValueError: these prompts lie in several folders already.
        """
        if len(self.parts) != 1:
            raise ValueError(f"expected the prompts of one partition to write, got {len(self.parts)}: load its folders")
        folder.mkdir(parents=True, exist_ok=True)
        (part,) = self.parts
        part.write(folder)
        (folder / "fingerprints.json").write_text(json.dumps(self._describe(), sort_keys=True), encoding="utf-8")

    def to_frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The prompts and their backgrounds as tables, to look at or to store elsewhere; all in memory."""
        import polars as pl

        def lists(shingles: Shingles) -> pl.Series:
            return pl.Series(np.split(shingles.values, shingles.offsets[1:-1]) if len(shingles) else [], dtype=nested)

        nested = pl.List(pl.UInt64)
        bands = np.stack([self.read_band(band) for band in range(self.bands)], axis=1)
        prompts = pl.DataFrame(
            {
                "key": pl.Series(self.names, dtype=pl.String),
                "numbers": self.numbers,
                "background": self.background,
                "query": lists(self.gather_queries(np.arange(len(self)))),
                "bands": pl.Series(list(bands), dtype=nested),
            }
        )
        rows = np.arange(len(self.background_row))
        backgrounds = pl.DataFrame({"background": rows, "shingles": lists(self.gather_backgrounds(rows))})
        return prompts, backgrounds

    def _describe(self) -> dict[str, Any]:
        return {"format": FORMAT, "similarity": self.similarity, "rensa": ALGORITHM}


def fingerprint_prompts(queries: Sequence[str], backgrounds: Sequence[str], similarity: float) -> PromptFingerprints:
    """Takes the fingerprint of every distinct prompt.

    Args:
        queries: normalised, one a row.
        backgrounds: normalised, one a row.
        similarity: pairs at least so near are to be found, in (0, 1].
    """
    query_rows, query_ids = _number(queries)
    background_rows, background_ids = _number(backgrounds)
    codes, first, index = np.unique(
        query_ids * max(len(background_rows), 1) + background_ids, return_index=True, return_inverse=True
    )
    digests = b"".join(digest_prompt(queries[row], backgrounds[row]) for row in first.tolist())
    keys = np.frombuffer(digests, dtype=_KEY).astype(np.uint64).reshape(-1, 2)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    query, background = query_ids[first[order]], background_ids[first[order]]

    query_shingles, query_numbers = _shingle(query_rows)
    background_shingles, background_numbers = _shingle(background_rows)
    rows = choose_band_rows(similarity)
    query_bands = sign(query_shingles, rows, _SEEDS[0])
    background_bands = sign(background_shingles, rows, _SEEDS[1])
    bands = np.empty((PERMUTATIONS // rows, len(codes)), dtype=np.uint64)
    for band in range(len(bands)):
        bands[band] = mix(query_bands[band][query] + mix(background_bands[band])[background])
    ahead, behind = query_numbers, background_numbers
    numbers = mix(
        ahead[0][query] * behind[1][background] + behind[0][background] + mix(ahead[1][query] * behind[1][background])
    )
    own = query_shingles.take(query)
    names = b"".join(digest_prompt("", text) for text in background_rows)
    part = Part(
        keys=keys[order],
        numbers=numbers,
        background=background,
        bands=bands,
        query_values=own.values,
        query_offsets=own.offsets,
        background_keys=np.frombuffer(names, dtype=_KEY).astype(np.uint64).reshape(-1, 2),
        background_values=background_shingles.values,
        background_offsets=background_shingles.offsets,
        index=np.argsort(order)[index.reshape(-1)],
    )
    return merge_parts([part], similarity)


def load_fingerprints(folders: Sequence[Path]) -> PromptFingerprints:
    """Puts written partitions together: the same places as if all rows had been given at once.

    Raises:
        DatasetError: a folder is incomplete, or was made for another similarity or by another version.
    """
    parts, described = [], []
    for folder in folders:
        try:
            described.append(json.loads((folder / "fingerprints.json").read_text(encoding="utf-8")))
            parts.append(Part.read(folder))
        except (OSError, ValueError) as error:
            raise DatasetError(f"{folder}: no readable fingerprints ({error}); prepare the partition again") from None
    if not parts:
        raise DatasetError("expected folders with fingerprints, got none: prepare the window's partitions first")
    wanted = described[0] | {"format": FORMAT, "rensa": ALGORITHM}
    for folder, found in zip(folders, described, strict=True):
        if found != wanted:
            raise DatasetError(f"{folder}: expected fingerprints of {wanted}, got {found}; prepare the partition again")
    return merge_parts(parts, float(wanted["similarity"]))


def merge_parts(parts: Sequence[Part], similarity: float) -> PromptFingerprints:
    """Makes prompts distinct over partitions; of equal ones the first partition's stands."""
    counts = np.array([len(part.keys) for part in parts])
    keys = np.concatenate([part.keys for part in parts])
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    ordered = keys[order]
    fresh = np.ones(len(order), dtype=np.bool_)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place_of = np.empty(len(order), dtype=np.int64)
    place_of[order] = np.cumsum(fresh) - 1
    kept = order[fresh]  # lexsort is stable: the first partition's

    background_counts = np.array([len(part.background_keys) for part in parts])
    background_keys = np.concatenate([part.background_keys for part in parts])
    _, background_kept, background_of = np.unique(_join(background_keys), return_index=True, return_inverse=True)
    offsets, background_offsets = count_up(counts), count_up(background_counts)
    background = np.concatenate(
        [background_of[part.background + start] for part, start in zip(parts, background_offsets, strict=False)]
    )
    numbers = np.concatenate([part.numbers for part in parts])
    part_of, background_part = (
        np.repeat(np.arange(len(parts)), counts),
        np.repeat(np.arange(len(parts)), background_counts),
    )
    return PromptFingerprints(
        keys=keys[kept],
        numbers=numbers[kept],
        background=background[kept],
        index=np.concatenate([place_of[part.index + start] for part, start in zip(parts, offsets, strict=False)]),
        similarity=similarity,
        parts=tuple(parts),
        part=part_of[kept],
        row=kept - offsets[part_of[kept]],
        background_part=background_part[background_kept],
        background_row=background_kept - background_offsets[background_part[background_kept]],
    )


def chain(front: PromptFingerprints, rear: PromptFingerprints) -> PromptFingerprints:
    """Both, one after the other, equal prompts twice: places of `rear` begin at `len(front)`.

    Raises:
        ValueError: they were made for different similarities.
    """
    if front.similarity != rear.similarity:
        raise ValueError(
            f"expected fingerprints for one similarity, got {front.similarity} and {rear.similarity}: take one of them "
            "again"
        )
    keys = np.concatenate([_background_keys(front), _background_keys(rear)])
    _, kept, numbered = np.unique(_join(keys), return_index=True, return_inverse=True)
    held = len(front.background_row)
    background_part = np.concatenate([front.background_part, rear.background_part + len(front.parts)])
    return replace(
        front,
        keys=np.concatenate([front.keys, rear.keys]),
        numbers=np.concatenate([front.numbers, rear.numbers]),
        background=numbered[np.concatenate([front.background, rear.background + held])],
        index=np.concatenate([front.index, rear.index + len(front)]),
        parts=(*front.parts, *rear.parts),
        part=np.concatenate([front.part, rear.part + len(front.parts)]),
        row=np.concatenate([front.row, rear.row]),
        background_part=background_part[kept],
        background_row=np.concatenate([front.background_row, rear.background_row])[kept],
    )


def _background_keys(prompts: PromptFingerprints) -> UInts:
    keys = np.empty((len(prompts.background_row), 2), dtype=np.uint64)
    for number, part in enumerate(prompts.parts):
        own = prompts.background_part == number
        keys[own] = part.background_keys[prompts.background_row[own]]
    return keys


def _join(keys: UInts) -> npt.NDArray[np.bytes_]:
    """(n,) 16 bytes each, without numpy's habit of dropping zeros at the end of a string."""
    return np.ascontiguousarray(keys.astype(_KEY)).view("V16").reshape(-1).astype("V16")


def _number(texts: Sequence[str]) -> tuple[list[str], Ints]:
    ids: dict[str, int] = {}
    numbers = [ids.setdefault(text, len(ids)) for text in texts]
    return list(ids), np.array(numbers, dtype=np.int64)


def _shingle(texts: Sequence[str]) -> tuple[Shingles, tuple[UInts, UInts]]:
    parts, sums, powers = [], [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.uint64)]
    for words in hash_chunks(texts):
        parts.append(shingle_words(words))
        total, power = hash_numbers(words)
        sums.append(total)
        powers.append(power)
    values = np.concatenate([np.zeros(0, dtype=np.uint64), *(part.values for part in parts)])
    sizes = np.concatenate([np.zeros(0, dtype=np.int64), *(part.sizes for part in parts)])
    return Shingles(values, count_up(sizes)), (np.concatenate(sums), np.concatenate(powers))
