from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.errors import RecipeError
from flytewheel.training.processes import Processes, divide_batch, find_processes, on_one_card


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 16))
def test_a_step_learns_from_as_many_rows(batch: int, accumulation: int, processes: int) -> None:
    if batch * accumulation % processes:
        with pytest.raises(RecipeError, match=f"among {processes} processes"):
            divide_batch(batch, accumulation, processes)
        return
    size, times = divide_batch(batch, accumulation, processes)
    assert size * times * processes == batch * accumulation
    assert 1 <= size <= batch


def test_micro_batches_stay_as_large_as_they_can() -> None:
    """16 rows: one process 4 × 4, two 4 × 2, four 4 × 1, eight 2 × 1; 6 × 2 among four: 3 rows at once."""
    assert [divide_batch(4, 4, count) for count in (1, 2, 4, 8)] == [(4, 4), (4, 2), (4, 1), (2, 1)]
    assert divide_batch(6, 2, 4) == (3, 1)


def test_the_launcher_says_which_process_this_is() -> None:
    assert find_processes({}) == Processes(0, 1)
    second = find_processes({"RANK": "1", "WORLD_SIZE": "2"})
    assert second == Processes(1, 2)
    assert not second.first
    assert Processes().tell({"a": 1}) == {"a": 1}


def test_one_process_takes_one_card_of_several(tmp_path: Path) -> None:
    from transformers import TrainingArguments

    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=4)
    arguments._n_gpu = 4  # as on a machine with four
    assert arguments.train_batch_size == 16, "four times what was asked"
    assert on_one_card(arguments).n_gpu == 1
    assert arguments.train_batch_size == 4
