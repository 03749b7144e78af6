from __future__ import annotations

from typing import Any

from flytewheel.training.batches import group_by_length
from flytewheel.training.grouping import EpochOrder, group_batches

LENGTHS = [3, 9, 4, 8, 5, 7, 6, 1]


def test_the_order_is_that_of_the_epoch_and_nothing_else() -> None:
    now = 0
    order = EpochOrder(LENGTHS, 2, seed=1, epoch=lambda: now)
    first = list(order)
    assert first == [row for batch in group_by_length(LENGTHS, 2, seed=1, epoch=0) for row in batch]
    now = 1
    second = list(order)
    assert second == [row for batch in group_by_length(LENGTHS, 2, seed=1, epoch=1) for row in batch]
    assert first != second
    resumed = EpochOrder(LENGTHS, 2, seed=1, epoch=lambda: 1)  # a new process, in the middle of the second epoch
    assert list(resumed) == second
    assert len(order) == 8


def test_validation_goes_by_length_and_other_rows_as_they_come() -> None:
    class Plain:
        """Of a trainer, what is not asked for here."""

    trainer: Any = group_batches(Plain)()
    trainer.eval_lengths = LENGTHS
    assert trainer._get_eval_sampler(LENGTHS) == [7, 0, 2, 4, 6, 5, 3, 1]
    assert list(trainer._get_eval_sampler([1, 2, 3])) == [0, 1, 2]
