from __future__ import annotations

import pytest

from flytewheel.evaluation.judging.calibration import cohens_kappa, measure_agreement, measure_positions
from flytewheel.evaluation.judging.judge import Opinion, turn_pairs
from flytewheel.evaluation.measure import Compare
from flytewheel.recipe import JudgeSpec
from tests.evaluation.judging.conftest import make_duel, make_pairs


def test_kappa_by_hand() -> None:
    """7 of 10 alike, ours 6 and 5 times: expected 0.6 * 0.5 + 0.4 * 0.5 = 0.5, kappa (0.7 - 0.5) / 0.5 = 0.4."""
    said = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    wanted = [1, 1, 1, 1, 0, 0, 1, 0, 0, 0]
    assert cohens_kappa(said, wanted) == pytest.approx(0.4)
    assert cohens_kappa([1, 1], [1, 1]) is None
    assert cohens_kappa([], []) is None


def test_ties_and_no_verdict_agree_by_half() -> None:
    duels = [make_duel(f"x{at}", "y", user=f"user-{at}") for at in range(4)]
    found = measure_agreement(
        "pairs", duels, [Opinion(1.0), Opinion(0.5), Opinion(None), Opinion(0.0)], [0.9, 1, 0, 1], Compare(99, 0.95, 1)
    )
    assert found.share.estimate == 0.5
    assert found.pairs == found.users == 4


def test_the_estimate_must_reach_what_was_asked_and_the_interval_leave_chance_behind() -> None:
    duels = [make_duel(f"x{at}", "y", user=f"user-{at}") for at in range(40)]

    def explain(right: int, count: int, **spec: float) -> str | None:
        opinions = [Opinion(float(at < right)) for at in range(count)]
        found = measure_agreement("pairs", duels[:count], opinions, [1.0] * count, Compare(400, 0.95, 1))
        return found.explain(JudgeSpec(**spec))

    assert explain(32, 40) is None
    assert explain(32, 40, min_agreement=0.9) == "agrees with people on 0.80 of 40 pairs, 0.9 was asked"
    assert "is not clear of chance" in explain(7, 10)
    assert "cannot be told" in explain(1, 1)


def test_pairs_are_turned_so_that_either_side_is_liked_equally_often() -> None:
    pairs = make_pairs(31)
    duels, preferred = turn_pairs(pairs)
    assert sum(preferred) == 16
    for pair, duel, ours in zip(pairs, duels, preferred, strict=True):
        assert (duel.ours if ours else duel.theirs) == pair.chosen
        assert duel.user == pair.user
    again, _ = turn_pairs(pairs[::-1])
    assert again[::-1] == duels


@pytest.mark.parametrize(
    ("places", "consistent", "by_chance", "first"),
    [
        ([("first", "first")] * 4, 0.0, 0.0, 1.0),
        ([("second", "second")] * 4, 0.0, 0.0, 0.0),
        ([("first", "second"), ("second", "first")] * 2, 1.0, 0.5, 0.5),
        ([("tie", "tie")] * 3, 1.0, 1.0, None),
        ([("first", "second"), ("first", "first"), ("first", None), (None, None)], 0.5, 0.5, 0.75),
    ],
)
def test_positions_by_hand(places: list, consistent: float, by_chance: float, first: float | None) -> None:
    found = measure_positions([Opinion(0.5, places=each) for each in places])
    assert (found.consistent, found.by_chance, found.first) == (consistent, by_chance, first)
    assert found.duels + found.no_verdict == len(places)


def test_habits_are_named() -> None:
    def explain(*places: tuple[str | None, str | None]) -> str | None:
        return measure_positions([Opinion(0.5, places=each) for each in places]).explain(JudgeSpec())

    assert explain(*[("second", "second")] * 3).startswith("always prefers the second answer: judged alike in both")
    assert explain(*[("first", "first")] * 3, ("second", "second")).startswith("prefers the first answer in 75% of")
    assert explain(("first", "first"), ("second", "second")).startswith("its verdict depends on the order")
    assert explain(("first", "second")) is None
    assert explain((None, "first"), (None, None)) == "it gave no valid verdict on any of 2 duels"
    assert measure_positions([Opinion(1.0)]) is None
