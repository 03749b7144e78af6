from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.training.batches import WINDOW_BATCHES, BatchFigures, group_by_length, measure_batches


def _heavy_tailed(rows: int) -> list[int]:
    """Lengths as of conversations: most short, some ten times as long; median 180 tokens, at most 2,048."""
    chance = random.Random(5)
    return [min(2048, 10 + int(chance.lognormvariate(5.2, 0.9))) for _ in range(rows)]


@given(
    lengths=st.lists(st.integers(1, 500), max_size=200),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
)
def test_every_row_comes_once_and_only_the_last_batch_is_incomplete(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    batches = group_by_length(lengths, batch_size, seed=seed, epoch=epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches) == -(-len(lengths) // batch_size)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = _heavy_tailed(300)
    drawn = [group_by_length(lengths, 4, seed=seed, epoch=epoch) for seed, epoch in ((1, 1), (1, 2), (2, 1))]
    random.seed(99)
    assert group_by_length(lengths, 4, seed=1, epoch=1) == drawn[0]
    assert len({tuple(batches) for batches in drawn}) == 3
    neighbours = [{frozenset(batch) for batch in batches} for batches in drawn]
    assert len(neighbours[0] & neighbours[1]) < 5  # not the same batches in another order


def test_the_longest_batch_comes_first_in_the_first_epoch_only() -> None:
    lengths = _heavy_tailed(300)
    first = group_by_length(lengths, 4, seed=1, epoch=0)
    assert max(lengths[row] for row in first[0]) == max(lengths)
    later = [group_by_length(lengths, 4, seed=1, epoch=epoch)[0] for epoch in range(1, 6)]
    assert not all(max(lengths[row] for row in batch) == max(lengths) for batch in later)


def test_batches_are_grouped_but_neighbouring_batches_are_not() -> None:
    lengths = _heavy_tailed(2000)
    batches = group_by_length(lengths, 8, seed=1, epoch=1)
    longest = [max(lengths[row] for row in batch) for batch in batches]
    falls = sum(one >= other for one, other in pairwise(longest))
    assert 0.4 < falls / len(longest) < 0.6  # sorted windows would fall nearly always
    # A batch comes from one window, so its rows were drawn, not picked: sorting all rows would give no spread at all.
    spread = sum(max(lengths[row] for row in batch) - min(lengths[row] for row in batch) for batch in batches)
    ordered = sorted(lengths)
    assert spread > 1.5 * sum(ordered[at + 7] - ordered[at] for at in range(0, 2000, 8))


@pytest.mark.parametrize(("rows", "batch_size", "least"), [(4000, 4, 0.94), (4000, 8, 0.94), (200, 4, 0.85)])
def test_little_of_what_is_computed_is_padding(rows: int, batch_size: int, least: float) -> None:
    lengths = _heavy_tailed(rows)
    order = list(range(rows))
    random.Random(2).shuffle(order)
    drawn = [order[at : at + batch_size] for at in range(0, rows, batch_size)]
    grouped = group_by_length(lengths, batch_size, seed=1, epoch=1)
    shares = [measure_batches(batches, lengths, lengths).useful_share for batches in (drawn, grouped)]
    assert shares[0] < 0.55
    assert shares[1] > least


def test_windows_are_as_wide_as_stated() -> None:
    """Rows of two windows never meet: with lengths 0, 1, 2 … each batch of a window is every n-th row or so."""
    rows = 4 * WINDOW_BATCHES * 3
    chance = random.Random("7:1")
    order = list(range(rows))
    chance.shuffle(order)
    windows = [set(order[at : at + 4 * WINDOW_BATCHES]) for at in range(0, rows, 4 * WINDOW_BATCHES)]
    for batch in group_by_length(list(range(rows)), 4, seed=7, epoch=1):
        assert sum(bool(window & set(batch)) for window in windows) == 1


def test_figures_by_hand() -> None:
    """Batches of 3 + 5 and 2 tokens: padded to 5, 5 and 2; 1 + 2 + 1 carry loss; 2 batches make one step."""
    figures = measure_batches([(0, 1), (2,)], [3, 5, 2], [1, 2, 1], gradient_accumulation=2)
    assert figures == BatchFigures(rows=3, tokens=10, loss_tokens=4, padded_tokens=12, batches=2, steps_per_epoch=1)
    assert figures.useful_share == 10 / 12
    assert figures.loss_share == 4 / 12
    nothing = measure_batches([], [], [])
    assert (nothing.useful_share, nothing.steps_per_epoch) == (0.0, 0)
