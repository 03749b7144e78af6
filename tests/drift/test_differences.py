"""The difference of two windows: by hand, and that it is found beyond chance as seldom as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flytewheel.drift.differences import BLOCKS, compare, find_critical, pair_windows


def pair(before: list[int], after: list[int], blocks: tuple[int, int] = (3, 3)):  # type: ignore[no-untyped-def]
    sides = [
        (np.array(users), np.full(len(users), block)) for users, block in zip((before, after), blocks, strict=True)
    ]
    found = pair_windows(*sides)
    assert found is not None
    return found


def test_a_user_counts_once_in_six_hours() -> None:
    # User 1 wrote three of four rows: half of the weight is theirs.
    paired = pair([1, 1, 1, 2], [1, 2])
    assert paired.before == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert paired.after == pytest.approx([1 / 2, 1 / 2])
    assert paired.counts == (2, 2)


def test_older_rows_stand_for_the_times_that_the_newer_ones_have() -> None:
    # Older: six users in one block of the week, six in another; newer: nine and three. So 9/12/6 and 3/12/6 each.
    older = (np.arange(12), np.repeat([1, 2], 6))
    newer = (np.arange(12), np.repeat([1 + BLOCKS, 2 + BLOCKS], [9, 3]))
    paired = pair_windows(older, newer)
    assert paired is not None
    assert paired.before == pytest.approx([0.125] * 6 + [1 / 24] * 6)
    assert pair_windows(older, (np.arange(12), np.full(12, 5))) is None
    half = pair_windows(older, (np.arange(12), np.repeat([1, 5], 6)))
    assert half is not None
    assert half.covered == 0.5


def test_a_difference_by_hand() -> None:
    """Ten users of ones and ten of noughts before, all others after half and half: D = 0, SE² = Σψ²·m/(m − 1) with
    ψ = ±1/40 for each of 40 users.
    """
    paired = pair(list(range(20)), list(range(20, 40)))
    values = np.repeat([[1.0], [0.0]], 10, axis=0)
    found = compare(paired, values, values, alpha=0.05)
    assert (found.before[0], found.after[0], found.beyond[0]) == (0.5, 0.5, 0.0)
    assert found.standard_error[0] == pytest.approx(math.sqrt(40 * (1 / 40) ** 2 * 40 / 39))


def test_who_comes_back_is_a_pair() -> None:
    """The same users with the same habits: their sums cancel, and a difference of new users stays uncertain."""
    chance = np.random.default_rng(1)
    habit = (chance.random(400) < 0.5).astype(float)[:, None]
    other = (chance.random(400) < 0.5).astype(float)[:, None]
    same = compare(pair(list(range(400)), list(range(400))), habit, habit, alpha=0.05)
    new = compare(pair(list(range(400)), list(range(400, 800))), habit, other, alpha=0.05)
    assert same.standard_error[0] < 0.1 * new.standard_error[0]
    assert new.standard_error[0] == pytest.approx(math.sqrt(2 * 0.25 / 400), rel=0.05)


def test_one_user_proves_nothing_and_many_do() -> None:
    """A new kind: by one user who wrote a third of all rows, by ten of them, by three hundred."""
    before = np.zeros((900, 1))
    after = np.repeat([[1.0], [0.0]], [300, 600], axis=0)
    users = list(range(900))
    blocks = np.arange(900) % 4  # the one user wrote at all times
    for writers, told in ((1, False), (10, False), (300, True)):
        newer = [number % writers if number < 300 else number for number in range(900)]
        paired = pair_windows((np.array(users), blocks), (np.array(newer), blocks))
        assert paired is not None
        assert (compare(paired, before, after, alpha=1e-4).beyond[0] > 1) is np.bool_(told), writers


def test_a_kind_that_is_missing_from_a_few_rows_is_no_proof() -> None:
    """Thirty of a thousand before, none of sixty after, where 1.8 were due: the newer rows show no spread, and Wald's
    variance would make this 5.5 standard errors.
    """
    before = np.repeat([[1.0], [0.0]], [30, 970], axis=0)
    found = compare(pair(list(range(1000)), list(range(1000, 1060))), before, np.zeros((60, 1)), alpha=0.05)
    assert 0 < found.beyond[0] < 0.7


def test_all_of_one_and_none_of_the_other_is_told() -> None:
    found = compare(pair(list(range(60)), list(range(60))), np.zeros((60, 1)), np.ones((60, 1)), alpha=1e-4)
    assert found.beyond[0] > 1
    same = compare(pair(list(range(60)), list(range(60))), np.ones((60, 1)), np.ones((60, 1)), alpha=1e-4)
    assert same.beyond[0] == 0


def test_critical_value_is_that_of_the_mixture() -> None:
    # r = τ²I with τ² = c/I*: by the formula of docs/adr/0053 at α = 0.05.
    c = -2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))
    for information in (0.1, 1.0, 7.0):
        r = c * information
        told = math.sqrt((1 + 1 / r) * (math.log(1 + r) - 2 * math.log(0.05)))
        assert find_critical(np.array([information]), 0.05)[0] == pytest.approx(told)


def test_looks_at_every_growth_find_nothing_as_often_as_promised() -> None:
    """400 pairs of windows of clustered users that grow and are looked at twelve times: at most 5 % are ever beyond
    chance, and the looks would exceed 1.96 standard errors far more often.
    """
    chance = np.random.default_rng(5)
    ever = naive = 0
    for _ in range(400):
        habit = chance.beta(1, 1, 300)  # whether a user's rows are ones: correlated 1/3 within a user
        users = [chance.integers(300, size=600) for _ in range(2)]
        values = [(chance.random(600) < habit[each]).astype(float)[:, None] for each in users]
        hit = [False, False]
        for rows in range(50, 601, 50):
            paired = pair_windows((users[0], np.arange(600) // 50), (users[1][:rows], (np.arange(rows) // 50) + BLOCKS))
            assert paired is not None
            found = compare(paired, values[0], values[1][:rows], alpha=0.05)
            hit[0] |= bool(found.beyond[0] > 1)
            hit[1] |= bool(abs(found.after[0] - found.before[0]) > 1.96 * found.standard_error[0])
        ever, naive = ever + hit[0], naive + hit[1]
    assert ever / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    assert naive / 400 > 0.1
