"""Finds answers that have degenerated into a loop.

A model that loops repeats itself exactly, side by side, to the end of its budget; an honest list, a table, a manifest
or a log repeats a frame around parts that change. So a loop is (a) a run of words repeated side by side that fills
half of the text or a long tail of it, (b) prose lines or sentences that come again and again and fill half of the
words, list numerals apart, or (c) the same within a text that is written without spaces. Code fences, tables and
aligned columns are no prose: in them only (a) counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

GRAM = 4  # words that make a run comparable
SHORT = 40  # words below which a run of three may be three lines of a log, where more follows
TIMES = 3  # so often is a repetition
SHARE = 0.5  # of the words
LINES = 4  # the same line so often …
LINES_SHARE = 0.5  # … and this share of the words
LONG_RUN = 40  # letters and digits in a row, of a text that runs on in one letter or syllable
CYCLES = 20  # times that a syllable comes in a run
LONGEST_CYCLES = 2000  # letters at the end of a text without spaces that are compared with each other
TAIL_WORDS = 40  # a loop at the end that is at least so long, whatever came before

_RUN = re.compile(r"([^\W\d_])\1{39}|(\d)\2{79}")  # a null commit is 40 zeros, a digest 64
_LONG_RUN = re.compile(rf"[^\W_]{{{LONG_RUN}}}")
_SHORT_CYCLE = re.compile(rf"([^\W\d_]{{2,8}}?)\1{{{CYCLES - 1}}}")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_NUMERAL = re.compile(r"^\s*(?:\(?\d{1,3}[.):]|[-*•+]|step \d+[:.])\s+", re.IGNORECASE)
_CODE_LINE = re.compile(r"^(?:\s{2,}|\t)|[{}\[\]|;=<>]|^[\w.-]+:(?:\s|$)|^[-+=*#_~.\s]*$|\S {2,}\S|^\d{2,}[-:.]")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_WIDE = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")


def repeats_itself(text: str) -> bool:
    """Whether a text has degenerated into a loop; see the module's text. Any of the three below is one."""
    return repeats_words(text) or runs_on(text) or (not text.isascii() and cycles_unspaced(text))


def repeats_words(text: str) -> bool:
    """A loop of words, lines or sentences."""
    words = text.lower().split()
    return _cycles(words) or (_comes_often(words) and _prose_repeats(text, len(words)))


def runs_on(text: str) -> bool:
    """A word of `LONG_RUN` letters or digits that is one letter or syllable again and again."""
    return bool(
        _LONG_RUN.search(text)
        and max(Counter(pairwise(text)).values()) >= CYCLES - 1
        and (_RUN.search(text) or _SHORT_CYCLE.search(text))
    )


def cycles_unspaced(text: str) -> bool:
    """A cycle in a script that has no spaces, which makes a third of the text."""
    if len(_WIDE.findall(text)) * 3 < len(text):
        return False
    return _cycles_of_letters("".join(text.split()))


def _cycles(words: Sequence[str]) -> bool:
    """Whether runs of words stand side by side again and again, over half of the text or a long tail of it."""
    size = len(words)
    if size < 2 * GRAM:
        return False
    # A cycle of period p over L words (L >= 3 p, L >= p + 4) repeats L - p - 3 of its runs of four, at least L / 6, and
    # of a long tail two thirds less three.
    runs = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    if len(runs) - len(set(runs)) < min(size / 12, 2 * TAIL_WORDS / 3 - 3):
        return False
    last: dict[tuple[str, ...], int] = {}
    covered, until, place = 0, 0, 0
    period = end = 0
    while place < len(runs):
        gram = runs[place]
        before = last.get(gram)
        last[gram] = place
        if before is not None:
            if place >= end or period != place - before:  # else it ends where the one before it did
                period, end = place - before, place
            while end < size and words[end] == words[end - period]:
                end += 1
            if end - before >= (TIMES if size >= SHORT or end == size else TIMES + 1) * period and any(
                _is_word(word) for word in words[before:place]
            ):
                covered += end - max(before, until)
                until = end
                if covered >= SHARE * size or (size - end <= period and end - before >= TAIL_WORDS):
                    return True
                place = end
                continue
        place += 1
    return False


def _is_word(word: str) -> bool:
    return any(letter.isalpha() for letter in word) and len(word) > 1 and not word.startswith(("|", "0x"))


def _comes_often(words: Sequence[str]) -> bool:
    """Whether three words come together `LINES` times: a line or sentence of three words or more cannot otherwise."""
    counts = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(counts.values(), default=0) >= LINES


def _prose_repeats(text: str, size: int) -> bool:
    prose = _FENCE.sub("\n", text)
    lines = [
        line for line in prose.splitlines() if line.strip() and not _CODE_LINE.search(_NUMERAL.sub("", line.rstrip()))
    ]
    for parts in (lines, _SENTENCE.split("\n".join(lines))):
        keys = Counter(_NUMERAL.sub("", part).strip().lower() for part in parts)
        often = sum(
            count * len(words) for key, count in keys.items() if count >= LINES and len(words := key.split()) > 2
        )
        if often >= LINES_SHARE * size and often:
            return True
    return False


def _cycles_of_letters(letters: str) -> bool:
    """Whether a text is one cycle, nine letters of ten, that comes at least `LINES` times.

    With a period p of at most a quarter of n letters, n - p - 1 pairs of neighbours less two for each of at most
    (n - p) / 10 letters that differ have come before: at least 0.6 n - 1, so that no more than 0.4 n differ.
    """
    letters = letters[-LONGEST_CYCLES:]
    size = len(letters)
    if size < 24 or len(set(pairwise(letters))) > 0.4 * size:
        return False
    codes = np.fromiter(map(ord, letters), dtype=np.uint32, count=size)
    longest = size // LINES
    # For every period at once: where each letter and the one a period later differ, among those all periods compare.
    shifted = np.lib.stride_tricks.sliding_window_view(codes, size - longest)[1:]
    differ = np.count_nonzero(shifted != codes[: size - longest], axis=1)
    return any(
        np.count_nonzero(codes[period:] == codes[:-period]) >= 0.9 * (size - period)
        for period in (np.flatnonzero(differ <= 0.1 * size) + 1).tolist()
    )
