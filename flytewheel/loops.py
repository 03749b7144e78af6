"""Whether an answer is caught in a loop (Holtzman et al. 2020, arXiv:1904.09751, "neural text degeneration").

A loop is a stretch that repeats itself side by side, and stretches are looked for in three views of a text: its words,
its signs (for scripts without spaces, and for "hahaha"), and its lines and sentences without their numerals ("1. Check
it. 2. Check it. …"). It counts where it fills half of the answer, where the answer ends in it, or where it is so long
that nobody wrote it. An answer that ran into its limit while repeating itself loops whatever it repeats; in one that
ended, tables, code and ruled lines may repeat, a dozen equal lines apart, and so may numbers.

Departs from `flytewheel.screens.loops`, which reads what people were served and whose every false alarm costs a row: it
cannot know whether an answer ended, and lets a loop pass that begins late in a long answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from flytewheel.unspaced import is_unspaced

TIMES = 4  # so often is a repetition …
LONG_PERIOD, LONG_TIMES = 12, 3  # … or three times, of a phrase of so many words
HALF_WORDS, TAIL_WORDS, ANY_WORDS = 8, 20, 60  # filled by a loop that is half of the text, its end, or anywhere
HALF_SIGNS, TAIL_SIGNS, ANY_SIGNS = 24, 40, 150  # the same in scripts without spaces
WORD_SIGNS = 64  # letters of one word that repeats within itself
MUTE_SIGNS = 120  # of an answer that has no letter at all
LAYOUT_LINES = 12  # equal lines of a table or of code in a row
UNENDED_TIMES, UNENDED_SIGNS = 2.5, 60  # of an answer that ran into its limit
_LONGEST_PERIOD = 128
_LONGEST_TEXT = 20_000  # signs from either end that are looked at

_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_LAYOUT = re.compile(r"^\s*\||\|\s*$|\|.*\||^\t|^ {2,}(?![-*•]|\d+[.)])|[;{}]\s*$|[}\]]\s*,\s*$|^[\w.]+\([^()]*\)\s*$")
_NUMERAL = re.compile(r"^\s*(?:\(?\d{1,4}[.):]|\d{1,4}、|[-*•+]|(?:step|point|line)\s+\d+\s*[.:)])\s*", re.IGNORECASE)
_NUMERALS = re.compile(r"(?:(?<=[.!?:])|^)\s*\(?\d{1,4}[.)](?=\s)", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_WORD_LETTERS = re.compile(rf"[^\W\d_]{{{WORD_SIGNS},}}")

Stretch = tuple[int, int, int]  # start, stop, period


def is_looping(answer: str, *, ended: bool = True) -> bool:
    """Whether an answer is a loop or runs into one.

    Args:
        answer: The text.
        ended: By an end token; not where the limit cut it.
    """
    if len(answer) > 2 * _LONGEST_TEXT:
        return any(is_looping(part, ended=end) for part, end in
                   ((answer[:_LONGEST_TEXT], True), (answer[-_LONGEST_TEXT:], ended)))  # fmt: skip
    lowered = answer.lower()
    if not ended and _cut_while_repeating(lowered):
        return True
    if not any(map(str.isalpha, lowered)):
        return _says_nothing_at_length(lowered)
    prose = _take_prose(lowered)
    return (
        _loop_of_words(prose.split())
        or _loop_of_words(_NUMERALS.sub(" ", prose).split())
        or _loop_of_signs(prose)
        or _loop_of_sentences(prose)
        or _loop_of_layout(lowered)
    )


def _loop_of_words(words: Sequence[str]) -> bool:
    """A phrase again and again. Numbers and signs alone are no phrase: columns of zeros are honest."""
    wordy = np.cumsum([0, *(any(letter.isalpha() for letter in word) for word in words)])
    total = int(wordy[-1])
    for start, stop, period in _find_stretches(words):
        if stop - start < (LONG_TIMES if period >= LONG_PERIOD else TIMES) * period:
            continue
        if wordy[start + period] - wordy[start] == 0 or "\0" in words[start : start + period]:
            continue
        filled = int(wordy[stop] - wordy[start])
        at_end = stop >= len(words) - period
        if filled >= ANY_WORDS or (filled >= HALF_WORDS and 2 * filled >= total) or (at_end and filled >= TAIL_WORDS):
            return True
    return False


def _loop_of_signs(text: str) -> bool:
    """The same in text without spaces, and within one word of any script."""
    if any(_repeats_within(word) for word in _WORD_LETTERS.findall(text)):
        return True
    signs = [sign for sign in text if not sign.isspace()]
    wide = np.cumsum([0, *map(is_unspaced, signs)])
    if wide[-1] < HALF_SIGNS / 2:
        return False
    for start, stop, period in _find_stretches(signs):
        if stop - start < TIMES * period or 2 * (wide[start + period] - wide[start]) < period:
            continue
        filled, at_end = stop - start, stop >= len(signs) - period
        if filled >= ANY_SIGNS or (filled >= HALF_SIGNS and 2 * filled >= len(signs)):
            return True
        if at_end and filled >= TAIL_SIGNS:
            return True
    return False


def _loop_of_sentences(text: str) -> bool:
    """Lines or sentences again and again, their numerals apart."""
    for parts in (text.splitlines(), _SENTENCE.split(text)):
        kept = [said for part in parts if (said := " ".join(_NUMERAL.sub("", part).split()))]
        sizes = np.cumsum([0, *(_weigh(part) for part in kept)])
        for start, stop, period in _find_stretches(kept):
            if stop - start < TIMES * period or "\0" in "".join(kept[start : start + period]):
                continue
            filled = int(sizes[stop] - sizes[start])
            at_end = stop >= len(kept) - period
            half = filled >= HALF_WORDS and 2 * filled >= sizes[-1]
            if half or filled >= ANY_WORDS or (at_end and filled >= TAIL_WORDS):
                return True
    return False


def _weigh(text: str) -> int:
    """Words that have a letter; three signs of a script without spaces are one."""
    wide = sum(map(is_unspaced, text))
    return wide // 3 if wide else sum(any(letter.isalpha() for letter in word) for word in text.split())


def _loop_of_layout(text: str) -> bool:
    """A dozen equal lines with letters, in tables and code, too."""
    lines = [line for line in text.splitlines() if line.strip()]
    return any(
        stop - start >= max(LAYOUT_LINES, TIMES * period)
        and any(letter.isalpha() for line in lines[start : start + period] for letter in line)
        for start, stop, period in _find_stretches(lines)
    )


def _cut_while_repeating(text: str) -> bool:
    """Whether the very end repeats what stands before it, in words or signs."""
    words = text.split()
    for start, stop, period in _find_stretches(words):
        if stop == len(words) and stop - start >= max(UNENDED_TIMES * period, TAIL_WORDS):
            return True
    signs = "".join(words)
    return any(
        stop == len(signs) and stop - start >= max(TIMES * period, UNENDED_SIGNS)
        for start, stop, period in _find_stretches(signs)
    )


def _says_nothing_at_length(text: str) -> bool:
    """Of an answer without a letter ("!!!!!!!!"): whether it is little but a repetition."""
    signs = "".join(_FENCE.sub(" ", text).split())
    return any(
        stop - start >= max(TIMES * period, MUTE_SIGNS, len(signs) / 2)
        for start, stop, period in _find_stretches(signs)
    )


def _repeats_within(word: str) -> bool:
    return any(
        stop - start >= max(TIMES * period, WORD_SIGNS) and period <= WORD_SIGNS // TIMES
        for start, stop, period in _find_stretches(word)
    )


def _take_prose(text: str) -> str:
    """The text with a NUL for every fence and line of a table or of code: a loop does not reach over them."""
    fenced = _FENCE.sub("\0", text.replace("\0", " "))
    return "\n".join("\0" if _LAYOUT.search(line) else line for line in fenced.split("\n"))


def _find_stretches(items: Sequence[str]) -> Iterator[Stretch]:
    """Stretches that go on with one period for twice its length or more, short periods first."""
    names: dict[str, int] = {}
    codes = np.array([names.setdefault(item, len(names)) for item in items], dtype=np.int64)
    for period in range(1, min(_LONGEST_PERIOD, len(items) // 2) + 1):
        breaks = np.flatnonzero(codes[period:] != codes[:-period])
        edges = np.concatenate([[-1], breaks, [len(items) - period]])
        for place in np.flatnonzero(np.diff(edges) > period):
            first, last = int(edges[place]) + 1, int(edges[place + 1])
            yield first, last + period, period
