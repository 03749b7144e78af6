"""What is checked of an answer that somebody corrected, or disliked.

Of a correction a short last line, or a line with a command, that the answer did not say: longer lines can be put in
many right ways. An expectation that ends in a digit is searched with a boundary ("A: 6" is not in "A: 60"). Where there
is no such line, the likeness to the whole correction, when a threshold can tell it from the answer that was corrected:
at least `MARGIN` above that answer's own likeness, at least `LEAST` (unrelated English texts reach 0.2 to 0.3), and
`MARGIN` below a perfect answer's.

Of an answer that was only disliked, the line that is most its own: a line that neither the champion's answers nor
liked ones say, made of the words that they use least.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flytewheel.pii import KINDS
from flytewheel.suite.similarity import measure_similarity

MAX_WORDS = 12
MIN_WORDS = 3  # of what is forbidden: fewer may be said in a good answer to another question
MARGIN = 0.1
LEAST = 0.4

_PLACEHOLDER = re.compile(rf"<(?:{'|'.join(KINDS)})_\d+>")
_SENTENCES = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Expectation:
    """How an answer is checked: the fields of a case of these names."""

    check: Literal["contains", "regex", "similarity", "forbidden"]
    expected: str
    threshold: float = 0.0
    ignore_case: bool = False


def expect_correction(correction: str, response: str) -> Expectation | None:
    """The check that `correction` passes and `response` fails; `None` where nothing tells them apart."""
    line = derive_expected(correction, response)
    if line is not None:
        if line[-1].isdigit():
            return Expectation("regex", rf"(?<!\w){re.escape(line)}(?!\w|[.,]\d)")
        return Expectation("contains", line)
    if not correction.strip() or _PLACEHOLDER.search(correction):
        return None
    likeness = measure_similarity(response, correction)
    threshold = math.ceil(max(likeness + MARGIN, LEAST) * 1000) / 1000
    return Expectation("similarity", correction, threshold) if threshold <= 1 - MARGIN else None


def derive_expected(correction: str, response: str) -> str | None:
    """The line of a correction that tells it from the answer: the last one, else the last one with a `command`."""
    lines = [line.strip() for line in correction.splitlines() if line.strip()]
    for place, line in enumerate(reversed(lines)):
        if place and "`" not in line:
            continue
        fits = len(line) >= 3 and len(line.split()) <= MAX_WORDS and not _PLACEHOLDER.search(line)
        pattern = re.escape(line) + (r"(?!\w|[.,]\d)" if line[-1:].isdigit() else "")
        if fits and not re.search(pattern, response):
            return line
    return None


@dataclass(slots=True)
class Background:
    """What may be said: the champion's answers, and what people liked."""

    texts: list[str] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, answers: Iterable[str]) -> Background:
        made = cls()
        for answer in answers:
            made.texts.append(_flatten(answer))
            made.words.update(set(_WORD.findall(made.texts[-1])))
        return made

    def weigh(self, words: Sequence[str]) -> float:
        """Mean surprise of the words, in nats."""
        return sum(math.log((1 + len(self.texts)) / (1 + self.words[word])) for word in words) / len(words)


def expect_otherwise(response: str, prompt: str, may_be_said: Background) -> Expectation | None:
    """What of a disliked answer must not be said again; `None` where nothing of it is its own.

    Args:
        response: the answer.
        prompt: all that stood before it: quoting the question or the context is no fault.
        may_be_said: other answers; with none there is nothing to tell it from.
    """
    if not may_be_said.texts:
        return None
    asked = _flatten(prompt)
    best: tuple[float, int, str] | None = None
    for place, line in enumerate(_list_lines(response)):
        flat = _flatten(line)
        words = _WORD.findall(flat)
        if len(words) < MIN_WORDS or _PLACEHOLDER.search(line) or flat in asked:
            continue
        if any(flat in text for text in may_be_said.texts):
            continue
        found = (may_be_said.weigh(words), -place, line)
        best = found if best is None or found[:2] > best[:2] else best
    if best is None or best[0] <= 0:
        return None
    return Expectation("forbidden", best[2], ignore_case=True)


def _list_lines(text: str) -> Iterable[str]:
    """Sentences and lines of at most `MAX_WORDS` words; of longer ones the windows of so many words."""
    for line in _SENTENCES.split(text):
        words = line.split()
        if len(words) <= MAX_WORDS:
            yield " ".join(words)
        else:
            for start in range(0, len(words) - MAX_WORDS + 1, MAX_WORDS // 2):
                yield " ".join(words[start : start + MAX_WORDS])


def _flatten(text: str) -> str:
    return " ".join(text.split()).casefold()
