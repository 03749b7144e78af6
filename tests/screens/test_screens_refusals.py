"""Refusals: what is ruled out for many openings at once cannot be one."""

from __future__ import annotations

import re._constants as codes
import re._parser as parser
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.screens.refusals import PATTERN, SAID, find_refusal, may_refuse
from tests.screens import screen_ends, screen_forms

SIGNS = SAID.split("|")
CASES = [
    text
    for cases in (screen_forms.REFUSAL_FIRST, screen_forms.REFUSAL_SECOND, screen_ends.REFUSAL_THIRD)
    for half in cases
    for text in half
]
Node = tuple[Any, Any]
MOST = 20_000


def spell(nodes: Iterable[Node]) -> set[str]:
    """All texts that a few nodes match; none where they are many or not known."""
    spelt = {""}
    for op, what in nodes:
        if op is codes.LITERAL:
            ends = {chr(what)}
        elif op is codes.IN and all(kind is codes.LITERAL for kind, _ in what):
            ends = {chr(code) for _, code in what}
        elif op is codes.BRANCH:
            parts = [spell(part) for part in what[1]]
            ends = set().union(*parts) if all(parts) else set()
        elif op is codes.SUBPATTERN:
            ends = spell(what[3])
        elif op is codes.MAX_REPEAT and what[:2] == (0, 1):
            once = spell(what[2])
            ends = once | {""} if once else set()
        else:
            ends = set()
        if len(ends) * len(spelt) > MOST:
            return set()
        spelt = {start + end for start in spelt for end in ends}
    return spelt


def needs_sign(nodes: Iterable[Node]) -> bool:
    """Whether every text that the nodes match holds one of `SIGNS`."""
    nodes = list(nodes)
    for start in range(len(nodes)):
        for stop in range(start + 1, len(nodes) + 1):
            spelt = spell(nodes[start:stop])
            if not spelt:
                break
            if all(any(sign in text for sign in SIGNS) for text in spelt):
                return True
    return any(
        (op is codes.BRANCH and all(map(needs_sign, what[1])))
        or (op is codes.SUBPATTERN and needs_sign(what[3]))
        or (op is codes.MAX_REPEAT and what[0] > 0 and needs_sign(what[2]))
        for op, what in nodes
    )


def test_every_refusal_says_one_of_the_signs() -> None:
    """Read off the pattern itself, so that a new alternative without its sign is seen."""
    alternatives = parser.parse(PATTERN)
    assert needs_sign(alternatives)
    assert not needs_sign(parser.parse(PATTERN + "|i shall do nothing"))


def test_labelled_texts() -> None:
    may = may_refuse(CASES)
    assert all(maybe or not find_refusal(text) for maybe, text in zip(may, CASES, strict=True))
    assert not may_refuse(["Restart the pod, then look at its log.", ""])[0]
    assert may_refuse([]) == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(CASES) | st.text(max_size=9), max_size=3), st.sampled_from(["", "\n", "\ud800", "é"]))
def test_nothing_slips(parts: list[str], between: str) -> None:
    text = between.join(["", *parts, ""])
    assert may_refuse([text])[0] or not find_refusal(text)
