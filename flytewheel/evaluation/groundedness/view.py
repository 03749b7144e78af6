"""A text as the detector reads it: letters of one form, and where each stood in the text.

Decides what is the same letter: full-width forms, ligatures, composed and decomposed accents, curly apostrophes,
dashes and spaces of all widths; invisible characters are not there at all. A vulgar fraction becomes `1⁄2`, a
superscript or a circled number stays what it is (under NFKC `5²` would read 52). Positions always lead back to the
text as it was given.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

HIDDEN = "\ufffc"  # stands for what is already taken; no word, no space, no punctuation
_INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff")
_SIGNS = {
    "\u2018": "\u2018", "\u2019": "'", "\u02bc": "'", "\u2032": "'", "\u00b4": "'",
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2212": "-", "\u2014": " - ", "\u2015": " - ",
    "\u2022": "*", "\u00b7": "*", "\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\r": "\n", "\t": " ",
    "\u3002": "。", "\u3001": "、", "\u30fb": "・", "\ufffc": "?",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """`text` as it is read, and for each of its characters where the part of the original that it stands for begins
    and ends (none: the original is read as it is)."""

    text: str
    begins: tuple[int, ...] | None = None
    ends: tuple[int, ...] | None = None

    def trace(self, start: int, end: int) -> tuple[int, int]:
        """The place in the original of `text[start:end]`, which is not empty."""
        if self.begins is None or self.ends is None:
            return start, end
        return self.begins[start], self.ends[end - 1]


def read(text: str) -> View:
    """The text as the detector reads it."""
    if text.isascii():
        return View(text.replace("\t", " ").replace("\r", "\n"))
    letters: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    at, size = 0, len(text)
    while at < size:
        end = at + 1
        while end < size and unicodedata.combining(text[end]) and end - at < 8:
            end += 1
        folded = _fold(text[at:end])
        if folded[-1:] and folded[0].isdigit() and "\u2044" in folded and letters and letters[-1].isdigit():
            folded = " " + folded  # 1½ is one and a half
        letters.extend(folded)
        begins.extend([at] * len(folded))
        ends.extend([end] * len(folded))
        at = end
    return View("".join(letters), tuple(begins), tuple(ends))


def fold(text: str) -> str:
    """How texts are compared: as they are read, without case."""
    return read(text).text.casefold()


def _fold(cluster: str) -> str:
    first = cluster[0]
    if len(cluster) == 1:
        if first.isascii():
            return _SIGNS.get(first, first)
        if first in _INVISIBLE:
            return ""
        if first in _SIGNS:
            return _SIGNS[first]
        if first.isspace():
            return " "
        if first in "，．：；":  # a comma of Chinese is none of a number
            return {"，": "、", "．": ".", "：": ":", "；": ";"}[first]
        if unicodedata.category(first) == "No" and "\u2044" not in unicodedata.normalize("NFKC", first):
            return first
    return unicodedata.normalize("NFKC", cluster)


class Mask:
    """A view from which spans are taken one after the other: what is taken is hidden from those who look later."""

    def __init__(self, text: str) -> None:
        self._letters = list(text)
        self._text: str | None = text

    @property
    def text(self) -> str:
        """What is left; as long as the view."""
        if self._text is None:
            self._text = "".join(self._letters)
        return self._text

    def hide(self, start: int, end: int) -> None:
        """Takes a span away; line ends stay."""
        for at in range(start, end):
            if self._letters[at] != "\n":
                self._letters[at] = HIDDEN
        self._text = None
