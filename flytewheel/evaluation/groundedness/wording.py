"""Lists of words as they are written in this package: one text, words between spaces."""

from __future__ import annotations


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return text.split()


def listed(text: str) -> frozenset[str]:
    """The words of a text as a set to look them up in."""
    return frozenset(text.split())
