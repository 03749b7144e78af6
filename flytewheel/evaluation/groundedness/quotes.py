"""Quoted spans: what stands between quotation marks of one paragraph, without them.

An apostrophe opens nothing: a single quote opens only behind a space and closes only before one, and `5"` are inches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PAIRED = {"“": "”“", "„": "“”", "«": "»", "‹": "›", "「": "」", "『": "』", "《": "》", "〈": "〉", "»": "«"}
_OPENING = frozenset(" \n\t([{*_-:>/,。、：，（") | {"\ufffc"}
LONGEST = 400
_ANY = re.compile("[“„«‹「『《〈»\"‘']")


def find_quotes(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the words inside each pair of marks."""
    at = 0
    while (found := _ANY.search(text, at)) is not None:
        start = found.end()
        end = _find_end(text, found.group(), start)
        at = start if end is None else end + 1
        if end is not None:
            inside = text[start:end]
            first = start + len(inside) - len(inside.lstrip())
            last = end - len(inside) + len(inside.rstrip())
            if last > first and any(letter.isalnum() for letter in inside):
                yield first, last


def _find_end(text: str, mark: str, start: int) -> int | None:
    before = text[start - 2] if start > 1 else " "
    part = text[start : start + LONGEST]
    gap = part.find("\n\n")
    part = part if gap < 0 else part[:gap]
    if mark in _PAIRED:
        ends = [place for end in _PAIRED[mark] if (place := part.find(end)) >= 0]
        return start + min(ends) if ends else None
    if not (before in _OPENING or ord(before) > 0x2E80) or part[:1].isspace():
        return None
    closing = '"' if mark == '"' else "'"
    place = part.find(closing)
    while place >= 0:
        after = part[place + 1 : place + 2]
        if place and not part[place - 1].isspace() and (not after.isalnum() or ord(after) > 0x2E80):
            return start + place
        place = part.find(closing, place + 1)
    return None
