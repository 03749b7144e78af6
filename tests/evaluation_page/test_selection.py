"""Which answers are shown: those that changed most, the same ones whatever their order."""

from __future__ import annotations

import random
from typing import Any

import pytest

from flytewheel.evaluation_page.selection import Pair, choose_pairs
from tests.evaluation_page.made import answer, case

WORDS = [f"w{number}" for number in range(10)]


def graded(ident: str, ours: int, theirs: int, **more: Any) -> dict[str, Any]:
    """The candidate says `ours` of the reference's ten words, the champion `theirs`."""
    said = [" ".join(WORDS[:count]) + " x" * (10 - count) for count in (ours, theirs)]
    return {**answer(ident, *said, " ".join(WORDS)), **more}


def ids(pairs: list[Pair]) -> list[str]:
    return [pair.ident for pair in pairs]


def test_the_ten_largest_gains_and_losses_in_their_order() -> None:
    lines = [graded(f"up-{n:02}", min(n % 10 + 1, 10), 0) for n in range(30)]
    lines += [graded(f"down-{n:02}", 0, n % 10 + 1) for n in range(30)]
    lines.append(case("c", passes=True))
    gained, lost, rest = choose_pairs(lines)
    assert ids(gained) == ["up-09", "up-19", "up-29", "up-08", "up-18", "up-28", "up-07", "up-17", "up-27", "up-06"]
    assert [each.replace("down", "up") for each in ids(lost)] == ids(gained)
    assert rest == []
    assert gained[0].gain == pytest.approx(1.0)
    shuffled = lines[:]
    random.Random(3).shuffle(shuffled)
    assert choose_pairs(shuffled) == (gained, lost, rest)


def test_twenty_are_shown_where_there_are_twenty() -> None:
    def count(up: int, down: int, same: int) -> tuple[int, ...]:
        lines = [graded(f"u{n}", 5, 1) for n in range(up)] + [graded(f"d{n}", 1, 5) for n in range(down)]
        return tuple(map(len, choose_pairs([*lines, *(graded(f"s{n}", 3, 3) for n in range(same))])))

    assert count(30, 2, 0) == (18, 2, 0)
    assert count(2, 30, 5) == (2, 18, 0)
    assert count(3, 4, 50) == (3, 4, 13)
    assert count(1, 1, 1) == (1, 1, 1)
    assert count(0, 0, 0) == (0, 0, 0)


def duel(ident: str, **said: Any) -> dict[str, Any]:
    """What a judge said of an answer: 1 for the candidate's, 0 for the champion's."""
    return {"kind": "duel", "id": ident, "user": "u", "topic": "ops", "duel": f"d-{ident}", **said}


def test_a_judges_word_counts_before_the_overlap_and_peoples_before_the_judges() -> None:
    lines = [graded("a", 9, 1), graded("b", 5, 1), graded("c", 1, 5)]
    judged = [
        duel("a", preference=0.0, reason="It invents a command."),
        duel("c", preference=0.2, people=1.0, reason="x"),
    ]
    gained, lost, _ = choose_pairs([*judged, *lines])
    assert (ids(gained), ids(lost)) == (["c", "b"], ["a"])
    assert lost[0].by.startswith("the judge prefers the champion; overlap with the reference 0.9")
    assert (lost[0].reason, gained[0].reason) == ("It invents a command.", "")
    assert gained[0].by.startswith("people prefer the candidate")


def test_a_judge_that_says_nothing_or_a_tie_leaves_it_to_the_overlap() -> None:
    for said in ({"preference": None}, {"preference": 0.5}, {}, {"preference": float("nan")}, {"preference": "a"}):
        gained, _, _ = choose_pairs([graded("a", 9, 1), duel("a", **said)])
        assert ids(gained) == ["a"]
    assert choose_pairs([duel("a", preference=1.0)]) == ([], [], [])


def test_without_a_reference_nobody_can_tell() -> None:
    lines = [answer("same", "a", "a", ""), answer("other", "a", "b", "")]
    _, _, rest = choose_pairs(lines)
    assert ids(rest) == ["other", "same"]
    assert rest[0].gain is None
    assert rest[0].by == "no reference to compare with"
