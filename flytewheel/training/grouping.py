"""Puts `batches.group_by_length` into a trainer of transformers or TRL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flytewheel.training.batches import group_by_length


class EpochOrder:
    """A sampler of rows whose order depends on seed and epoch alone, so that a resumed training draws the same.

    Args:
        lengths: tokens of each row.
        batch_size: the batches that the order is cut into.
        seed: of the training.
        epoch: tells the epoch that begins or goes on, counted from 0.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, *, seed: int, epoch: Callable[[], int]) -> None:
        self._lengths = list(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        for batch in group_by_length(self._lengths, self._batch_size, seed=self._seed, epoch=self._epoch()):
            yield from batch


def group_batches(trainer_class: Any) -> Any:
    """Makes a subclass of a trainer class that draws its batches by `group_by_length`.

    It does so where its argument `train_sampling_strategy` says so. Its `train_lengths`, tokens of each row of the
    training data, are to be set before `train` is called, and its `eval_lengths` where it validates: those rows come in
    order of their lengths. Rows are grouped by `group_rows` (0: a batch), which stays where batches are halved for want
    of memory: each step is of the same rows.
    """

    class GroupedTrainer(trainer_class):  # type: ignore[misc,unused-ignore]
        """Draws its batches by length."""

        train_lengths: Sequence[int]
        eval_lengths: Sequence[int] = ()
        group_rows = 0

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if self.args.train_sampling_strategy != "group_by_length":
                return super()._get_train_sampler(train_dataset)
            # At its beginning the number of an epoch is exact; in its middle it is the whole part.
            return EpochOrder(
                self.train_lengths,
                self.group_rows or self.args.train_batch_size,
                seed=self.args.data_seed,
                epoch=lambda: int(self.state.epoch or 0),
            )

        def _get_eval_sampler(self, eval_dataset: Any) -> Any:
            order = range(len(eval_dataset))
            if len(self.eval_lengths) != len(order):  # other rows than those that the trainer was made with
                return order
            return sorted(order, key=self.eval_lengths.__getitem__)

    return GroupedTrainer
