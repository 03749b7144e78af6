"""Says of many texts at once which may hold a loop, so that `loops` reads those alone.

Words are numbers, equal where the words are; two that differ share one by chance so seldom that it costs nothing, and
never a loop: every count below only grows by it. What is counted bounds what `loops` counts, from above.
"""

from __future__ import annotations

import numpy as np

from flytewheel.screens.loops import GRAM, LINES, LINES_SHARE, LONG_RUN, SHARE, TAIL_WORDS, TIMES
from flytewheel.words import MIX, Bools, Ints, UInts, Words, count_up, total

_ROW_BITS = 16
_PAIRED = 8  # pairs at least, of the shortest line that comes LINES times
_TAIL_GRAMS = 2 * TAIL_WORDS // TIMES + 1 - (GRAM - 1)  # runs of four that come again in a tail of TAIL_WORDS


def may_loop(words: Words) -> Bools:
    """Whether `loops.repeats_words` may find a loop in each of at most 65,536 texts.

    A line or sentence of w >= 3 words that comes c >= LINES times has c (w - 1) >= 2 cw / 3 pairs of neighbours that
    come as often: a third of all words, where its kind fills half of them.
    """
    counts = words.counts
    if len(words.heads) < LINES:
        return np.zeros(len(counts), dtype=np.bool_)
    hashes = words.hash()
    rows = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    repeated, often = _count_pairs(hashes, rows, words)
    doubtful = repeated >= np.minimum(counts / 4, 2 * TAIL_WORDS / 3) - 1
    doubtful &= counts > GRAM
    found: Bools = doubtful & (often >= np.maximum(LINES_SHARE * 2 / 3 * counts, _PAIRED))
    left = np.flatnonzero(doubtful & ~found)
    if len(left):
        places = np.flatnonzero(np.repeat(doubtful & ~found, counts))
        found[left] = _may_cycle(hashes[places], rows[places], counts[left])
    return found


def may_run_on(words: Words) -> Bools:
    """Whether `loops.runs_on` may find a word in each text."""
    return words.total(words.sizes >= LONG_RUN) > 0


def may_cycle_unspaced(words: Words, lengths: Ints) -> Bools:
    """Whether `loops.cycles_unspaced` may find a cycle in each text, of so many characters.

    All letters that it knows have three bytes in UTF-8, the first of them E0 or E3 to E9.
    """
    wide = (words.letters >= 0xE3) & (words.letters <= 0xE9) | (words.letters == 0xE0)
    found: Bools = np.diff(np.searchsorted(np.flatnonzero(wide), words.begins)) * 3 >= np.maximum(lengths, 1)
    return found


def _count_pairs(hashes: UInts, rows: UInts, words: Words) -> tuple[Ints, Ints]:
    """Pairs of neighbours of each text that have come before, and those that come `LINES` times or more.

    A text's last word and the next text's first are taken for a pair as well: one more, at most.
    """
    keys = hashes * MIX
    keys[:-1] += hashes[1:]
    keys >>= np.uint64(_ROW_BITS)
    keys |= rows << np.uint64(64 - _ROW_BITS)
    keys.sort()
    again = np.zeros(len(keys), dtype=np.bool_)
    again[1:] = keys[1:] == keys[:-1]
    reached = np.zeros(len(keys), dtype=np.bool_)
    reached[: 1 - LINES] = keys[LINES - 1 :] == keys[: 1 - LINES]
    # The first of a group stands for LINES of it, each beyond for itself.
    return words.total(again), words.total(reached) + (LINES - 1) * words.total(reached & ~again)


def _may_cycle(hashes: UInts, rows: UInts, counts: Ints) -> Bools:
    """Whether runs of four words that come again are enough, and near enough, for cycles.

    A cycle of period p over L words (L >= TIMES p, L >= p + GRAM) has m = L - p - 3 runs of four in a row that came p
    words before: m >= L / 6, from p = 3 on m >= L / 3. None of them came last more than p words before, and as
    2 p <= L - p = m + 3, only those count that came within half of their stretch of such runs, three added.
    """
    size = len(hashes)
    inside = np.flatnonzero(rows[GRAM - 1 :] == rows[: 1 - GRAM])
    keys = rows[inside]
    for place in range(GRAM):
        keys = keys * MIX + hashes[inside + place]
    keys *= MIX
    low = np.uint64((1 << size.bit_length()) - 1)
    keys = (keys & ~low) | inside.astype(np.uint64)
    keys.sort()
    same = np.flatnonzero((keys[1:] & ~low) == (keys[:-1] & ~low))
    places = (keys & low).astype(np.int64)
    back = np.zeros(size, dtype=np.int64)
    back[places[same + 1]] = places[same + 1] - places[same]
    came = back > 0
    edges = np.flatnonzero(np.diff(came, prepend=False, append=False))
    lengths = edges[1::2] - edges[::2]
    found = np.flatnonzero(came)
    stretches = np.repeat(lengths, lengths)
    near = found[2 * back[found] <= stretches + GRAM - 1]
    weights = np.zeros(size, dtype=np.int64)
    weights[near] = np.where(back[near] <= 2, 6, 3)
    offsets = count_up(counts)
    return (total(weights, offsets) >= SHARE * counts) | (total(weights > 0, offsets) >= _TAIL_GRAMS)
