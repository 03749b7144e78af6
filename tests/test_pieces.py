"""Bounds on tokens: a text's pieces lie between them, and texts of known pieces are told exactly."""

from __future__ import annotations

import re
import zlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytewheel.pieces import LONGEST, PieceCounts

BEFORE_WORD = re.compile(r"(?<=\S) (?=\S)")
WORDS = [
    "a",
    "disk",
    "x" * (LONGEST - 1),
    "x" * LONGEST,
    "x" * 40,
    "für",
    "磁盘",
    "a\nb",
    "\0",
    "a\0",
    "12",
    "é",
    "\U0001f642",
]
GAPS = [" ", " ", " ", "  ", "\n", " \n", "\u3000", " \u3000", "\x1c ", "\xa0", ""]
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=9), max_size=9).flatmap(
    lambda words: st.lists(st.sampled_from(GAPS), min_size=len(words), max_size=len(words)).map(
        lambda gaps: "".join(part for pair in zip(words, gaps, strict=True) for part in pair)
    )
)


def count(piece: str) -> int:
    """Some number of tokens that a piece may have: one to its bytes, by its letters."""
    size = len(piece.encode(errors="replace"))
    return min(size, 1 + zlib.crc32(piece.encode(errors="replace")) % max(size, 1))


def add_up(text: str) -> int:
    first, *words = BEFORE_WORD.split(text)
    return count(first) + sum(count(f" {word}") for word in words)


@settings(max_examples=400, deadline=None)
@given(st.lists(TEXTS, max_size=6), st.lists(st.sampled_from(WORDS), max_size=6, unique=True))
@example([], [])
@example(["", ""], [])
@example(["a ", " a", " ", "a", "é a", "a é", "a\u3000 é a"], ["a", "é"])
def test_texts_lie_between_their_bounds(texts: list[str], known: list[str]) -> None:
    pieces = PieceCounts()
    pieces.learn(known, [count(f" {word}") for word in known])
    least, most = pieces.bound(texts)
    assert len(least) == len(most) == len(texts)
    for text, fewest, utmost in zip(texts, least.tolist(), most.tolist(), strict=True):
        assert fewest <= add_up(text) <= utmost - 1, text
        assert fewest >= bool(text)
        assert utmost <= len(text.encode(errors="replace")) + 1


def test_known_pieces_are_told_exactly() -> None:
    pieces = PieceCounts()
    pieces.learn(["disk", "für", "x" * (LONGEST - 1), "x" * LONGEST], [3, 4, 5, 6])
    texts = ["a disk disk für", "a " + "x" * (LONGEST - 1), "a " + "x" * LONGEST, "a Disk", "a disk.", "a disk\0", ""]
    least, most = pieces.bound(texts[:5])
    assert least.tolist() == [11, 6, 2, 2, 2]
    assert most.tolist() == [12, 7, 1 + 1 + LONGEST + 1, 7, 8]
    assert [bound.tolist() for bound in pieces.bound(["a disk", "a disk\0"])] == [[2, 2], [7, 8]]


def test_no_space_parts_pieces_beside_other_white_space() -> None:
    """Ideographic spaces are white space; while a chunk has some, a space beside any such letter is left alone."""
    pieces = PieceCounts()
    pieces.learn(["a", "é"], [1, 1])
    assert [bound.tolist() for bound in pieces.bound(["a é a"])] == [[3], [4]]
    assert [bound.tolist() for bound in pieces.bound(["a é a", "\u3000 a"])] == [[1, 1], [7, 6]]


def test_words_that_find_no_room_are_not_told_wrong() -> None:
    words = [f"longword{place}" for place in range(120_000)]
    pieces = PieceCounts()
    for start in range(0, len(words), 7_000):
        pieces.learn(words[start : start + 7_000], [count(f" {word}") for word in words[start : start + 7_000]])
    texts = [" ".join(words[start : start + 500]) for start in range(0, len(words), 500)]
    least, most = pieces.bound(texts)
    for text, fewest, utmost in zip(texts, least.tolist(), most.tolist(), strict=True):
        assert fewest <= add_up(text) < utmost
    assert sum(least.tolist()) > 1.3 * len(words)  # half of them found room
