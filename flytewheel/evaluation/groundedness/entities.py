"""Names in a text: of people, teams, products, places, by their capitals.

Decides what a capital means. Inside a sentence it makes a name, of as many words as follow each other. A single word at
the beginning of a sentence is a name only if it is one of the well-known (`names`), an acronym, has capitals inside, or
does what people do ("Pfizer makes"); before another name it is part of it unless it is a common first word. German
writes every noun with a capital: there a name is two of them in a row, one behind a title ("Frau", "Firma"), a
well-known one, or an acronym; other single names in German are not found. Chinese and Japanese have no capitals: names
are Latin words in such a text, a Chinese surname before a title, and what stands before さん, 様 or 氏. Headings and
labels before a colon are no claims.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flytewheel.evaluation.groundedness.dates import DAYS, MONTHS
from flytewheel.evaluation.groundedness.names import (
    ACRONYMS,
    AGENT_VERBS,
    COMMON,
    CONNECTORS,
    HONORIFICS,
    INTRODUCE,
    KNOWN,
    LABELS,
    MEASURES,
    SURNAMES,
    TITLES,
)
from flytewheel.evaluation.groundedness.wording import listed

_LATIN = r"A-Za-z\u00c0-\u024f\u0300-\u036f\u0370-\u03ff\u0400-\u04ff"
_WORD = re.compile(rf"(?<![\w\u0300-\u036f])(?:[{_LATIN}]\.(?=\s?[{_LATIN}])|[{_LATIN}]+(?:['-][{_LATIN}]+)*|&(?= ))")
_GAP = re.compile(r"[ ]?[*_]{0,3}[ ]?[*_]{0,3}|\. ")
_HEADING = re.compile(
    r"^[ ]{0,3}#{1,6} [^\n]*$|^[ \t]{0,8}(?:[-*+] |\d{1,2}[.)] )?\*\*[^*\n:]{1,60}(?::\*\*|\*\*:)"
    r"|^\*\*[^*\n]{1,60}\*\*$",
    re.M,
)
_LABEL = re.compile(r"^[ \t*_>+-]{0,8}(?P<label>[^\W\d_][\w /-]{0,40}?)[*_]{0,3}:[*_]{0,3}(?=\s|$)", re.M)
_BEFORE = re.compile(r"[\s*_>#\"'“”„«»‹(\[{¿¡|+•/-]{0,12}$")
_HAN_NAME = re.compile(
    rf"[{SURNAMES}][\u4e00-\u9fff]{{0,2}}?(?:{HONORIFICS})|[\u4e00-\u9fff]{{1,3}}(?:さん|様|氏)(?!名)"
)
_CJK = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_ELIDED = re.compile(r"(?:[dljmtnsc]|qu)'(?=[^\W\d_]{2})", re.IGNORECASE)
_ADDRESSED = listed("Sie Ihr Ihre Ihren Ihrem Ihrer Ihres Ihnen Du Dein Deine")
_MOST = 8  # words of one name
_ABBREVIATED = listed("dr mr mrs ms prof st no nr vs etc z.b ca approx inc ltd co jr sr art abs inkl bzw fig al")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    begins: bool  # a sentence, a line, a quotation

    @property
    def bare(self) -> str:
        text = self.text.lower()
        return text[:-2] if text.endswith("'s") else text

    @property
    def capital(self) -> bool:
        return self.text[0].isupper()


def find_entities(text: str, language: str) -> Iterator[tuple[int, int]]:
    """Start and end of each name in `text`, in which `HIDDEN` stands for what was taken before."""
    skipped = _find_headings(text)
    words = list(_list_words(text))
    cjk = _CJK.search(text[:4000]) is not None
    at = 0
    while at < len(words):
        stop = _end_name(text, words, at, language)
        if stop == at:
            at += 1
            continue
        first, last = _trim_name(words, at, stop, language, text)
        if first < last and not any(
            start <= words[first].start < end for start, end in skipped.get(words[first].start >> 6, ())
        ):
            alone = last - first == 1
            if language == "de" and any(word.bare in MEASURES for word in words[first:last]):
                at = stop
                continue
            if not alone or _is_name_alone(words, first, language, text, cjk):
                yield words[first].start, words[last - 1].end
        at = stop
    for found in _HAN_NAME.finditer(text):
        yield found.start(), found.end()


def _find_headings(text: str) -> dict[int, list[tuple[int, int]]]:
    """Headings and labels, by blocks of 64 characters that they touch."""
    places: dict[int, list[tuple[int, int]]] = {}
    spans = [(found.start(), found.end()) for found in _HEADING.finditer(text)]
    spans += [(found.start("label"), found.end("label")) for found in _LABEL.finditer(text)]
    for start, end in spans:
        for block in range(start >> 6, (end >> 6) + 1):
            places.setdefault(block, []).append((start, end))
    return places


def _list_words(text: str) -> Iterator[_Word]:
    for found in _WORD.finditer(text):
        start, elided = found.start(), _ELIDED.match(found.group())
        if elided is not None:  # d'Augmentin
            start += elided.end()
        yield _Word(found.group()[start - found.start() :], start, found.end(), _begins(text, found.start()))


def _begins(text: str, at: int) -> bool:
    part = text[max(0, at - 14) : at]
    gap = _BEFORE.search(part)
    between = part[gap.start() :] if gap else ""
    if "\n" in between or at == len(between):
        return True
    if any(mark in between for mark in '("“„«[¿¡|'):
        return True
    before = part[: len(part) - len(between)]
    if not before:
        return True
    if before[-1] in ".":
        word = re.search(r"([\w.]+)\.$", before)
        abbreviated = word is not None and (
            word[1].lower() in _ABBREVIATED or (len(word[1]) == 1 and word[1].isupper())
        )
        return not abbreviated
    return before[-1] in "!?:;…。！？：；）)" or (before[-1] == "," and False)


def _end_name(text: str, words: list[_Word], at: int, language: str) -> int:
    """One past the last word of the run of capitals that begins at a word."""
    if not words[at].capital or words[at].text == "I" or words[at].text.startswith("I'"):
        return at
    if language == "de" and words[at].text in _ADDRESSED:
        return at
    stop = at + 1
    while stop < len(words) and stop - at < _MOST:
        if _GAP.fullmatch(text, words[stop - 1].end, words[stop].start) is None or words[stop].begins:
            break
        if (
            text[words[stop - 1].end : words[stop].start] == ". "
            and words[stop - 1].bare not in TITLES
            and (len(words[stop - 1].text.strip(".")) > 1)
        ):
            break
        if words[stop].text in _ADDRESSED:
            break
        if words[stop].capital and words[stop].text != "I":
            stop += 1
            continue
        reach = stop
        while (
            language != "de"
            and reach < min(len(words) - 1, stop + 2)
            and words[reach].text in CONNECTORS
            and words[reach].text not in {"and", "et", "y", "for", "the"}
        ):
            reach += 1
        if (
            reach > stop
            and words[reach].capital
            and _GAP.fullmatch(text, words[reach - 1].end, words[reach].start) is not None
        ):
            stop = reach + 1
            continue
        break
    return stop


def _trim_name(words: list[_Word], at: int, stop: int, language: str, text: str) -> tuple[int, int]:
    """Takes away what begins a sentence rather than a name, titles, days and months."""
    while at < stop:
        word = words[at]
        dated = word.bare in DAYS or word.bare in MONTHS
        acronym = word.text in ACRONYMS
        common = word.bare in COMMON and (
            word.begins or word.bare in TITLES or language == "de" or word.bare in CONNECTORS
        )
        if dated or acronym or common or word.bare in TITLES:
            at += 1
        else:
            break
    while stop > at and (
        words[stop - 1].bare in DAYS or words[stop - 1].text in ACRONYMS or not words[stop - 1].capital
    ):
        stop -= 1
    return at, stop


def _is_name_alone(words: list[_Word], at: int, language: str, text: str, cjk: bool) -> bool:
    word = words[at]
    bare = word.text.removesuffix("'s")
    if "+" in (text[word.start - 1 : word.start], text[word.end : word.end + 1]):
        return False  # a key: Ctrl+Alt
    if len(bare.strip(".")) < 2 or word.bare in MONTHS or (word.bare in COMMON and word.begins):
        return False
    if bare.isupper():
        return 2 <= len(bare) <= 6 and bare not in ACRONYMS and not _is_shouted(words, at)
    if re.search(r"[a-zà-ÿ][A-Z]", bare) or word.bare in KNOWN:
        return True
    before = words[at - 1] if at else None
    if (
        before is not None
        and word.start - before.end <= 2
        and before.bare in (INTRODUCE if language == "de" else TITLES)
    ):
        return True
    if _has_label(text, word):
        return True
    if cjk and not re.search(rf"[{_LATIN}] $", text[max(0, word.start - 2) : word.start]):
        return True
    if language != "de" and word.begins and at + 1 < len(words) and words[at + 1].start == word.end + 1:
        return words[at + 1].text in AGENT_VERBS
    if language == "de" or word.begins:
        return False
    if "-" in bare and not all(part[:1].isupper() for part in bare.split("-")):
        return False
    return word.bare not in COMMON


def _has_label(text: str, word: _Word) -> bool:
    """Whether it is all that stands behind a label that wants a name: `Owner: Phoenix`."""
    line = text.rfind("\n", 0, word.start) + 1
    found = re.match(
        r"[ \t*_>+-]{0,8}(?P<label>[^\W\d_][\w /-]{0,40})[*_]{0,3}:[*_ ]{1,4}$", text[line : word.start][:80]
    )
    rest = text[word.end : word.end + 3]
    return (
        found is not None and bool(set(found["label"].lower().split()) & LABELS) and (not rest or rest[0] in ".\n,*(")
    )


def _is_shouted(words: list[_Word], at: int) -> bool:
    near = [word for word in words[max(0, at - 1) : at + 2] if word is not words[at]]
    return any(word.text.isupper() and len(word.text) > 2 and word.text not in ACRONYMS for word in near)
