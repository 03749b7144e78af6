from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.training.packing import pace_packed, pace_unpacked, pack_rows
from tests.training.teaching import training_spec


def _slow_bfd(lengths: list[int], max_length: int) -> list[int]:
    """Best fit decreasing as a textbook writes it: the tokens of each sequence."""
    filled: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [at for at, used in enumerate(filled) if used + length <= max_length]
        if fitting:
            filled[max(fitting, key=lambda at: filled[at])] += length
        else:
            filled.append(length)
    return sorted(filled)


@given(lengths=st.lists(st.integers(1, 64), max_size=120), seed=st.integers(0, 3))
def test_packing_is_best_fit_decreasing_and_every_row_comes_once(lengths: list[int], seed: int) -> None:
    sequences = pack_rows(lengths, 64, seed=seed)
    assert sorted(row for sequence in sequences for row in sequence) == list(range(len(lengths)))
    assert sorted(sum(lengths[row] for row in sequence) for sequence in sequences) == _slow_bfd(lengths, 64)


def test_next_to_nothing_of_heavy_tailed_rows_is_padding() -> None:
    chance = random.Random(5)
    lengths = [min(2048, 10 + int(chance.lognormvariate(5.2, 0.9))) for _ in range(4000)]
    assert sum(lengths) / (2048 * len(pack_rows(lengths, 2048, seed=1))) > 0.99


def test_the_seed_mixes_equal_rows_and_a_long_row_is_refused() -> None:
    lengths = [10] * 100
    assert pack_rows(lengths, 64, seed=1) == pack_rows(lengths, 64, seed=1) != pack_rows(lengths, 64, seed=2)
    with pytest.raises(ValueError, match="at most 64 tokens, one has 65"):
        pack_rows([3, 65], 64, seed=1)
    assert pack_rows([], 64, seed=1) == []


def test_the_rows_of_a_step_stay_what_the_recipe_says() -> None:
    """1,000 rows in 250 sequences are 4 each: 16 rows are 4 sequences, one pass of the recipe's 4. Nothing changes."""
    training = training_spec(batch_size=4, gradient_accumulation=4, learning_rate=2e-4, max_steps=60)
    pace = pace_packed(training, rows=1000, sequences=250)
    assert (pace.batch_size, pace.gradient_accumulation, pace.rows_per_step) == (4, 1, 16.0)
    assert (pace.learning_rate, pace.max_steps) == (2e-4, 60)
    assert math.ceil(250 / 4) == math.ceil(1000 / 16)  # steps an epoch


def test_where_they_cannot_the_rate_goes_with_the_root_of_the_ratio() -> None:
    """64 rows in 2 sequences: one holds 32 where a step asks for 8. Four times the rows, twice the rate, a quarter of
    the steps."""
    training = training_spec(batch_size=4, gradient_accumulation=2, learning_rate=1e-4, max_steps=40)
    pace = pace_packed(training, rows=64, sequences=2)
    assert (pace.batch_size, pace.gradient_accumulation, pace.rows_per_step) == (1, 1, 32.0)
    assert pace.learning_rate == pytest.approx(2e-4)
    assert pace.max_steps == 10
    assert "8 x" not in pace.told
    assert "learning rate 0.0001 -> 0.0002, max_steps 40 -> 10" in pace.told


@given(
    batch_size=st.integers(1, 16),
    accumulation=st.integers(1, 16),
    rows=st.integers(1, 10_000),
    share=st.floats(0.001, 1.0),
)
def test_a_pass_never_takes_more_sequences_than_the_recipe_has_rows(
    batch_size: int, accumulation: int, rows: int, share: float
) -> None:
    sequences = max(1, round(rows * share))
    training = training_spec(batch_size=batch_size, gradient_accumulation=accumulation)
    pace = pace_packed(training, rows=rows, sequences=sequences)
    assert 1 <= pace.batch_size <= batch_size
    asked = batch_size * accumulation
    ratio = pace.rows_per_step / asked
    assert pace.learning_rate == pytest.approx(training.learning_rate * ratio**0.5)
    wanted = asked * sequences / rows
    if wanted >= 8 * batch_size:  # many passes: the rounding is small
        assert 0.85 < ratio < 1.15


def test_unpacked_the_recipe_is_taken_at_its_word() -> None:
    training = training_spec(batch_size=3, gradient_accumulation=5, learning_rate=1e-3, max_steps=9)
    pace = pace_unpacked(training)
    assert (pace.batch_size, pace.gradient_accumulation, pace.learning_rate, pace.max_steps) == (3, 5, 1e-3, 9)
    assert (pace.rows_per_step, pace.told) == (15.0, "")
