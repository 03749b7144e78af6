"""Tells what an answer says itself from what it quotes.

A quotation is a span in quotation marks or backticks that stands in the source, or a run of `RUN` words and more of it
without marks. White space, case and punctuation do not matter; signs of scripts without spaces are words of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

RUN = 5  # words: shorter runs are shared by any two texts about one thing

_SIGN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SIGN}]|(?:(?![{_SIGN}])\w)+")
_MARKED = re.compile(r"```.+?```|`[^`\n]+`|\"[^\"\n]+\"|“[^”\n]+”|„[^“”\n]+[“”]|«[^»\n]+»|»[^«\n]+«|「[^」\n]+」", re.S)
_GAP = "\n"


def drop_marked(answer: str, source: str) -> str:
    """The answer without its spans in quotation marks that stand in the source."""
    known = f" {' '.join(_split(source))} "

    def judge(found: re.Match[str]) -> str:
        said = " ".join(_split(found.group()))
        return _GAP if said and f" {said} " in known else found.group()

    return _MARKED.sub(judge, answer)


def drop_runs(answer: str, source: str, run: int = RUN) -> str:
    """The answer without its runs of `run` and more words that stand in the source."""
    words = _split(source)
    known = {tuple(words[start : start + run]) for start in range(len(words) - run + 1)}
    places = list(_WORD.finditer(answer))
    said = [_fold(place.group()) for place in places]
    kept, covered, end = [], 0, 0
    for start in range(len(said) - run + 1):
        if tuple(said[start : start + run]) not in known:
            continue
        first, last = places[max(start, covered)].start(), places[start + run - 1].end()
        if not 0 < start <= covered:  # else it goes on from the run before
            kept.append(answer[end:first])
        covered, end = start + run, last
    return _GAP.join([*kept, answer[end:]])


def _split(text: str) -> Sequence[str]:
    return [_fold(word) for word in _WORD.findall(text)]


def _fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()
