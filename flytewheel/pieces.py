"""Bounds on the tokens of many texts at once, from what short pieces of earlier texts were counted to have.

A piece is a word with the space in front of it; a text's first one has none. Where nothing ever merges across such a
space (`tokens` finds out), a text has as many tokens as its pieces: a piece that is known counts for what it has, any
other for at least one token and at most its bytes. A piece of up to 16 bytes is looked up by two numbers that are its
bytes; what hides behind NUL or a longer name is not looked up at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flytewheel.words import ASCII_SPACES, HEAD, MIX, WIDE_SPACES, Bools, Ints, UInts, count_up, read_heads

LONGEST = 2 * HEAD  # bytes of a piece that is looked up
_SLOTS_LOG2 = 16
_GAP = ord("\n")  # between texts, and for all white space but single spaces
_KINDS = bytes(_GAP if code in ASCII_SPACES and code != ord(" ") else code for code in range(256))
_NARROW = bytes(_GAP if code >= 128 else kind for code, kind in enumerate(_KINDS))


class PieceCounts:
    """Tokens of pieces; one that finds its slot taken is forgotten, so that the most frequent words stay."""

    def __init__(self) -> None:
        self._first = np.zeros(1 << _SLOTS_LOG2, dtype=np.uint64)
        self._second = np.zeros(1 << _SLOTS_LOG2, dtype=np.uint64)
        self._tokens = np.zeros(1 << _SLOTS_LOG2, dtype=np.int64)

    def learn(self, words: Sequence[str], tokens: Sequence[int]) -> None:
        """Notes how many tokens each word has with a space in front of it."""
        pieces = [f" {word}".encode(errors="replace") for word in words]
        short = [
            (int.from_bytes(piece[:HEAD], "little"), int.from_bytes(piece[HEAD:], "little"), count)
            for piece, count in zip(pieces, tokens, strict=True)
            if len(piece) <= LONGEST and b"\0" not in piece
        ]
        first = np.array([one for one, _, _ in short], dtype=np.uint64)
        second = np.array([two for _, two, _ in short], dtype=np.uint64)
        slots = _choose_slots(first, second)
        free = self._first[slots] == 0
        # Of two that come for one slot at once, all three arrays keep the last.
        self._first[slots[free]] = first[free]
        self._second[slots[free]] = second[free]
        self._tokens[slots[free]] = np.array([count for _, _, count in short], dtype=np.int64)[free]

    def bound(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """The fewest and the most tokens that each text may have, a prefix of one token included in the most."""
        if not texts:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        others = "".join([text for text in texts if not text.isascii()])
        spelt = [text.encode(errors="replace") for text in texts]
        joined = b"\n".join([b"", *spelt, b" " * LONGEST])
        # Beside a letter beyond ASCII no space parts pieces where some of those letters are white space themselves.
        kinds = np.frombuffer(
            joined.translate(_NARROW if any(map(others.__contains__, WIDE_SPACES)) else _KINDS), np.uint8
        )
        begins = 1 + count_up(np.fromiter(map(len, spelt), dtype=np.int64, count=len(spelt)) + 1)
        starts, offsets = _find_pieces(kinds, begins)
        sizes = np.diff(starts, append=begins[-1])
        sizes[offsets[1:] - 1] -= 1  # the gap behind a text is no part of it
        most, least = sizes, np.minimum(sizes, 1)
        if b"\0" not in joined:
            letters = np.frombuffer(joined, dtype=np.uint8)
            first = read_heads(letters, starts, sizes)
            second = read_heads(letters, starts + HEAD, np.maximum(sizes - HEAD, 0))
            slots = _choose_slots(first, second)
            known = (self._first[slots] == first) & (self._second[slots] == second) & (sizes <= LONGEST)
            tokens = self._tokens[slots]
            most, least = np.where(known, tokens, most), np.where(known, tokens, least)
        return np.add.reduceat(least, offsets[:-1]), np.add.reduceat(most, offsets[:-1]) + 1


def _find_pieces(kinds: np.ndarray, begins: Ints) -> tuple[Ints, Ints]:
    """Where pieces begin, a text's first one where the text does, and which of them is each text's first."""
    cuts: Bools = np.zeros(len(kinds), dtype=np.bool_)
    spaces = kinds == ord(" ")
    gaps = spaces | (kinds == _GAP)
    cuts[1:-1] = spaces[1:-1] & ~gaps[:-2] & ~gaps[2:]
    cuts[begins[:-1]] = True
    starts = np.flatnonzero(cuts[: begins[-1]])
    return starts, np.searchsorted(starts, begins).astype(np.int64)


def _choose_slots(first: UInts, second: UInts) -> UInts:
    mixed = first * MIX
    mixed ^= (mixed >> np.uint64(29)) + second
    mixed *= MIX
    mixed ^= mixed >> np.uint64(32)
    return (mixed * MIX) >> np.uint64(64 - _SLOTS_LOG2)
