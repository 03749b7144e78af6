"""ROUGE-1, ROUGE-2 and ROUGE-L of answers against their references (Lin 2004), many pairs at a time.

Equal to rouge-score 0.1.2 without a stemmer: tokens are runs of [a-z0-9] after lower-casing, so it is blind to other
scripts and says 0 there for both models. Departs from it in how: every text is cut into tokens once, a token is a
number, common n-grams are counted for all pairs of a chunk by one sort, and the longest common subsequence is
rapidfuzz's (bit-parallel) over strings that have one sign a token. `python -m benchmarks.metrics` compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

ROUGE = ("rouge_1", "rouge_2", "rouge_l")
PRECISION, RECALL, F1 = range(3)

Numbers: TypeAlias = NDArray[np.uint64]
Counts: TypeAlias = NDArray[np.int64]

_TABLE = bytes(code if chr(code) in "abcdefghijklmnopqrstuvwxyz0123456789" else 32 for code in range(256))
_ROW_BITS, _TOKEN_BITS = 12, 25  # a row, two tokens and a side share 64 bits
_CHUNK_ROWS = 1 << _ROW_BITS
_CHUNK_LETTERS = 1 << 18
_SURROGATES = 0xD800
_SIGNS = 0x110000 - 0x800


def score_rouge(answers: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """Scores each answer against its reference.

    Args:
        answers: n texts.
        references: n texts in the same order.

    Returns:
        (n, 3, 3) in [0, 1]: ROUGE-1, -2, -L by precision, recall, F1; 0 where either text has no token.

    Raises:
        ValueError: the two are not of one length.
    """
    if len(answers) != len(references):
        raise ValueError(f"expected an answer a reference, got {len(answers)} answers and {len(references)} references")
    scores = np.zeros((len(answers), len(ROUGE), 3))
    for start, stop in _cut(answers, references):
        said, wanted = _spell(answers[start:stop], references[start:stop])
        longest = np.fromiter(map(LCSseq.similarity, said.texts, wanted.texts), dtype=np.int64, count=stop - start)
        sizes = said.sizes, wanted.sizes
        pairs = tuple(np.maximum(size - 1, 0) for size in sizes)
        scores[start:stop, 0] = _rate(_count_common(said, wanted, 1), *sizes)
        scores[start:stop, 1] = _rate(_count_common(said, wanted, 2), *pairs)
        scores[start:stop, 2] = _rate(longest, *sizes)
    return scores


def _rate(common: Counts, said: Counts, wanted: Counts) -> NDArray[np.float64]:
    precision, recall = common / np.maximum(said, 1), common / np.maximum(wanted, 1)
    with np.errstate(invalid="ignore"):
        f1 = np.where(common > 0, 2 * precision * recall / (precision + recall), 0.0)
    return np.stack([precision, recall, f1], axis=1)


def _tokenize(text: str) -> list[bytes]:
    """Runs of [a-z0-9] of the lower-cased text: what is beyond ASCII is bytes that all become spaces."""
    return text.lower().encode("utf-8", "surrogatepass").translate(_TABLE).split()


@dataclass(frozen=True, slots=True)
class _Side:
    """The texts of one side of a chunk, each as a string with one sign a token; n of them.

    `tokens` are the numbers of all texts' tokens, `sizes` (n,) how many each text has.
    """

    texts: list[str]
    tokens: Numbers
    sizes: Counts


def _spell(answers: Sequence[str], references: Sequence[str]) -> tuple[_Side, _Side]:
    """Both sides in one alphabet: equal tokens have the same sign."""
    known: defaultdict[bytes, str] = defaultdict(map(_choose_sign, count()).__next__)
    sides = []
    for texts in (answers, references):
        # One after the other: a list of all tokens would leave the cache and take half as long again.
        spelt = ["".join(map(known.__getitem__, _tokenize(text))) for text in texts]
        tokens = np.frombuffer("".join(spelt).encode("utf-32-le"), dtype="<u4").astype(np.uint64)
        sides.append(_Side(spelt, tokens, np.fromiter(map(len, spelt), dtype=np.int64, count=len(spelt))))
    return sides[0], sides[1]


def _choose_sign(number: int) -> str:
    if number >= _SIGNS:
        raise ValueError(f"expected at most {_SIGNS:,} different tokens in a text and its reference; leave the row out")
    return chr(number if number < _SURROGATES else number + 0x800)


def _count_common(said: _Side, wanted: _Side, order: int) -> Counts:
    """n-grams that both texts of a pair have, each as often as the text that has it less often.

    Of both sides' n-grams, sorted, those of one pair that are equal stand together, and the lowest bit says whose.
    """
    keyed = np.concatenate([_key(one, order, side) for side, one in enumerate((said, wanted))])
    keyed.sort()
    if not len(keyed):
        return np.zeros(len(said.texts), dtype=np.int64)
    gram = keyed >> np.uint64(1)
    starts = np.flatnonzero(np.concatenate([[True], gram[1:] != gram[:-1]]))
    sizes = np.diff(starts, append=len(keyed))
    theirs = np.add.reduceat((keyed & np.uint64(1)).astype(np.int64), starts)
    row = (gram[starts] >> np.uint64(2 * _TOKEN_BITS)).astype(np.int64)
    common = np.bincount(row, weights=np.minimum(sizes - theirs, theirs), minlength=len(said.texts))
    return np.asarray(common, dtype=np.int64)


def _key(one: _Side, order: int, side: int) -> Numbers:
    row = np.repeat(np.arange(len(one.sizes), dtype=np.uint64), one.sizes)
    grams = one.tokens
    if order == 2:
        inside = row[1:] == row[:-1]
        grams, row = (grams[:-1] << np.uint64(_TOKEN_BITS) | grams[1:])[inside], row[1:][inside]
    return row << np.uint64(2 * _TOKEN_BITS + 1) | grams << np.uint64(1) | np.uint64(side)


def _cut(answers: Sequence[str], references: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ranges of pairs that fit a chunk."""
    start = letters = 0
    for place, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        size = len(answer) + len(reference)
        if place > start and (letters + size > _CHUNK_LETTERS or place - start == _CHUNK_ROWS):
            yield start, place
            start, letters = place, 0
        letters += size
    if answers:
        yield start, len(answers)
