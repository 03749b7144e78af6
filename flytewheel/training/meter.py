"""Counts what a training computes, as it goes: tokens, how many of them teach, how fast, in how much memory.

Tokens are counted in the batches that the trainer is about to step on, in its own process: a collator may run in
another one, and runs ahead. The sums stay on the device until a point is logged, so that no step waits for them.

| figure | is |
|---|---|
| `num_tokens` | tokens so far, without padding, over all attempts |
| `tokens_per_s` | all computed tokens, padding included, a second of the time that steps took: without validation and checkpoints |
| `useful_tokens_per_s` | those that are not padding |
| `useful_share` | tokens that are not padding among all computed ones |
| `loss_share` | tokens that the loss is of (labels that are not -100, or the completion mask) among all computed ones |
| `memory_gib` | most memory so far, in GiB (`footprint`) |

Of preference methods the policy's own passes are counted: not the reference's, nor KTO's mismatched answers.
"""  # noqa: E501 (a table)

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

_IGNORED = -100


class Meter:
    """Counts the tokens of one training. `attach` it to the trainer before it trains.

    `totals` are tokens without padding, tokens that the loss is of, computed tokens, and seconds of steps, over all
    attempts; what is pending is in none of them.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.totals = [0.0, 0.0, 0.0, 0.0]
        self._clock = clock
        self._begun: float | None = None
        self._seconds = 0.0
        self._pending: list[Any] = []
        self._sum: Callable[[Any], Any] = lambda counts: counts

    def attach(self, trainer: Any) -> None:
        """Has `trainer` show each step's batches; with several processes the counts are those of all of them."""
        take = trainer.get_batch_samples

        def get_batch_samples(*args: Any, **kwargs: Any) -> Any:
            self._begun = self._clock()
            taken = take(*args, **kwargs)
            counted = [counts for counts in map(count_tokens, taken[0]) if counts is not None]
            if counted:
                self._pending.append(self._sum(sum(counted[1:], counted[0])))
            return taken

        trainer.get_batch_samples = get_batch_samples
        if trainer.accelerator.num_processes > 1:
            self._sum = lambda counts: trainer.accelerator.reduce(counts, reduction="sum")

    def end_step(self) -> None:
        """A step is over: what follows, as validation, is not its time."""
        if self._begun is not None:
            self._seconds += self._clock() - self._begun
            self._begun = None

    def restore(self, totals: list[float]) -> None:
        """Goes on from the `settle` of an earlier attempt."""
        self.totals = list(totals)

    def settle(self) -> list[float]:
        """The totals with all that is pending, which stays pending: what a checkpoint keeps."""
        return [total + new for total, new in zip(self.totals, self._read(), strict=True)]

    def take(self) -> dict[str, float]:
        """The figures since the last call; empty where no batch had tokens to count."""
        new = self._read()
        self.totals = [total + part for total, part in zip(self.totals, new, strict=True)]
        self._pending, self._seconds = [], 0.0
        return describe(self.totals[0], *new)

    def _read(self) -> list[float]:
        if not self._pending:
            return [0.0, 0.0, 0.0, self._seconds]
        counts = sum(self._pending[1:], self._pending[0])
        return [*map(float, counts.tolist()), self._seconds]


def describe(total: float, tokens: float, learnt: float, computed: float, seconds: float) -> dict[str, float]:
    """The figures of a stretch of steps at whose end `total` tokens were seen; empty where nothing was counted.

    Args:
        total: tokens without padding, of the whole training so far.
        tokens: without padding, of this stretch.
        learnt: tokens that the loss is of; 0 where it is of whole answers, as a reward model's.
        computed: tokens with padding.
        seconds: of the steps.
    """
    if not computed:
        return {}
    figures: dict[str, float] = {"num_tokens": int(total), "useful_share": tokens / computed}
    if learnt:
        figures["loss_share"] = learnt / computed
    if seconds > 0:
        figures |= {"tokens_per_s": computed / seconds, "useful_tokens_per_s": tokens / seconds}
    return figures


def count_tokens(batch: Any) -> Any:
    """Counts a batch's tokens without padding, those that the loss is of, and all that are computed.

    Args:
        batch: a collator's, with `input_ids` of shape `(batch, seq)`, or `(1, tokens)` where rows lie one after the
            other without padding.

    Returns:
        Three whole numbers in a tensor on the batch's device, `(3,)`; `None` for a batch without tokens, as GRPO's,
        which holds prompts.
    """
    import torch

    ids = batch.get("input_ids") if isinstance(batch, Mapping) else None
    if not isinstance(ids, torch.Tensor):
        return None
    counts = torch.full((3,), ids.numel(), dtype=torch.int64, device=ids.device)
    mask, labels, completion = (batch.get(key) for key in ("attention_mask", "labels", "completion_mask"))
    if mask is not None and mask.shape == ids.shape:
        counts[0] = mask.sum()
    counts[1] = (labels != _IGNORED).sum() if labels is not None else completion.sum() if completion is not None else 0
    return counts
