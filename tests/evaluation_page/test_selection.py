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


@pytest.mark.parametrize(
    "said",
    [
        {"preference": "champion"}, {"judge": {"preferred": "theirs"}}, {"judge_preference": -1.0},
        {"judged": {"winner": "champion", "preference": 1}},
    ],
)  # fmt: skip
def test_a_judges_word_counts_before_the_overlap(said: dict[str, Any]) -> None:
    gained, lost, _ = choose_pairs([graded("a", 9, 1, **said), graded("b", 5, 1)])
    assert (ids(gained), ids(lost)) == (["b"], ["a"])
    assert lost[0].by.startswith("judge prefers: champion; overlap with the reference 0.9")


def test_a_judge_that_says_nothing_leaves_it_to_the_figure() -> None:
    for said in ({"preference": None}, {"preference": "tie"}, {"judge": {}}, {"preference": float("nan")}):
        gained, _, _ = choose_pairs([graded("a", 9, 1, **said)])
        assert ids(gained) == ["a"]


def test_a_figure_that_was_measured_wins_over_our_own() -> None:
    measured = {"rouge_l": {"candidate": 0.1, "champion": 0.6}}
    _, lost, _ = choose_pairs(
        [graded("a", 9, 1, **measured), graded("b", 9, 1, candidate_rouge_l=0, champion_rouge_l=1)]
    )
    assert ids(lost) == ["b", "a"]
    assert lost[1].by == "ROUGE-L 0.100 against 0.600"


def test_without_a_reference_nobody_can_tell() -> None:
    lines = [answer("same", "a", "a", ""), answer("other", "a", "b", "")]
    _, _, rest = choose_pairs(lines)
    assert ids(rest) == ["other", "same"]
    assert rest[0].gain is None
    assert rest[0].by == "no reference to compare with"
