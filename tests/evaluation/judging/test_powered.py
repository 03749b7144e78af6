from __future__ import annotations

import numpy as np
import pytest

from flytewheel.evaluation.judging.powered import combine
from flytewheel.evaluation.measure import Compare

COMPARE = Compare(400, 0.95, 1)


def test_the_estimate_is_the_published_one() -> None:
    """Seen: Y = 1, 1, 0, 0 with F = 1, 1, 1, 0; others: F = 1, 0, 0, 0, 0, 0. Cov = 2/4 - 1/2 * 3/4 = 1/8, var(F) over
    all ten = 0.4 - 0.16 = 0.24, lambda = 0.125 / ((1 + 4/6) 0.24) = 0.3125; 0.5 + 0.3125 (1/6 - 3/4) = 0.3177.
    """
    judged = [1, 1, 1, 0, 1, 0, 0, 0, 0, 0]
    people = [1, 1, 0, 0, *[None] * 6]
    found = combine(list("abcdefghij"), judged, people, [False] * 10, COMPARE)
    assert found.candidate.estimate == pytest.approx(0.5 + 0.3125 * (1 / 6 - 3 / 4))


def test_the_same_answer_twice_counts_as_a_tie_whoever_looked() -> None:
    """Four duels won by people's word, six of one answer: (4 + 3) / 10."""
    people = [1.0] * 4 + [0.5] * 6
    found = combine(list("abcdefghij"), [1.0] * 4 + [0.5] * 6, people, [False] * 4 + [True] * 6, COMPARE)
    assert found.candidate.estimate == pytest.approx(0.7)


@pytest.mark.parametrize("judged", [[0.0] * 60, [1.0] * 60, [0.5] * 60])
def test_a_judge_that_says_the_same_of_all_adds_nothing_to_people(judged: list[float]) -> None:
    users = [f"user-{at}" for at in range(60)]
    people = [float(at % 3 > 0) if at < 30 else None for at in range(60)]
    assert combine(users, judged, people, [False] * 60, COMPARE).candidate.estimate == pytest.approx(2 / 3)


def test_people_who_saw_everything_need_no_judge() -> None:
    people = [1.0, 1.0, 0.0, 0.0, 1.0, 0.5]
    found = combine(list("abcdef"), [0.0] * 6, people, [False] * 6, COMPARE)
    assert found.candidate.estimate == pytest.approx(3.5 / 6)


def test_nobody_who_looked_is_unknown() -> None:
    found = combine(list("abc"), [1.0, 0.0, 1.0], [None] * 3, [False] * 3, COMPARE)
    assert not found.candidate.known
    assert not found.difference.known
    assert not combine([], [], [], [], COMPARE).candidate.known


def test_a_good_judge_shortens_the_interval_and_a_biased_one_does_not_move_it() -> None:
    """200 draws of 240 duels, a third reviewed: people 50 %; the biased judge says ours where it knows nothing."""
    rng = np.random.default_rng(8)
    users = [f"user-{at % 80}" for at in range(240)]
    found: dict[str, list[tuple[float, float, float]]] = {"good": [], "biased": [], "people": []}
    for run in range(200):
        liked = (rng.random(240) < 0.5).astype(float)
        seen = set(rng.permutation(240)[:80].tolist())
        people = [liked[at] if at in seen else None for at in range(240)]
        knows = {"good": 0.9, "biased": 0.4, "people": 0.0}
        for kind, share in knows.items():
            fallback = np.ones(240)
            judged = np.where(rng.random(240) < share, liked, fallback)
            rate = combine(users, judged, people, [False] * 240, Compare(200, 0.95, run)).candidate
            found[kind].append((rate.low <= 0.5 <= rate.high, rate.high - rate.low, rate.estimate))
    covered, width, middle = ({kind: float(np.mean([row[at] for row in rows])) for kind, rows in found.items()}
                              for at in range(3))  # fmt: skip
    assert all(0.91 <= each <= 0.99 for each in covered.values()), covered
    assert all(each == pytest.approx(0.5, abs=0.012) for each in middle.values()), middle
    assert width["good"] < 0.75 * width["people"]
    assert width["biased"] < 1.02 * width["people"]
