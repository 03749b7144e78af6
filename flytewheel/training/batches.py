"""Which rows are computed together, in which order, and how much of what is computed is padding.

Rows are drawn into windows at random; inside a window they are sorted by length and cut into batches, and then all
batches of the epoch are shuffled. So rows of one batch are about equally long, while neighbouring batches are not:
one optimizer step sees short and long rows. transformers' `group_by_length` does the first half only: it keeps the
batches of a window in falling order, so that the length falls 50 batches long and starts again, and with gradient
accumulation it makes whole optimizer steps of one length.

The order depends on lengths, seed and epoch, on nothing that a process remembers: a resumed training draws the same.
Pure functions over lengths: `plan` counts with them, the trainers feed by them, and a watcher of a training can show
`BatchFigures` beside the loss.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Batch = tuple[int, ...]

WINDOW_BATCHES = 100  # 97 % useful tokens on heavy-tailed lengths, batch 8; 50 gave 94, 200 gave 98 (docs/log.md)
_LEAST_WINDOWS = 2  # of few rows: one window would have the same neighbours in every epoch


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """What one epoch computes.

    Attributes:
        rows: trained on.
        tokens: of all rows, prompts and completions.
        loss_tokens: those that carry loss; a row's first token never does.
        padded_tokens: computed, padding included.
        batches: forward passes.
        steps_per_epoch: optimizer steps.
    """

    rows: int
    tokens: int
    loss_tokens: int
    padded_tokens: int
    batches: int
    steps_per_epoch: int

    @property
    def useful_share(self) -> float:
        """Share of the computed tokens that are not padding, in [0, 1]."""
        return self.tokens / self.padded_tokens if self.padded_tokens else 0.0

    @property
    def loss_share(self) -> float:
        """Share of the computed tokens that carry loss, in [0, 1]."""
        return self.loss_tokens / self.padded_tokens if self.padded_tokens else 0.0


def group_by_length(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[Batch]:
    """Draws the batches of an epoch: rows of about one length each, in shuffled order.

    Every row comes once. The longest batch comes first in the first epoch, so that what does not fit into memory shows
    at once; an incomplete batch comes last, so that the order may be cut every `batch_size` rows.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a batch; the last one may have fewer.
        seed: of the training.
        epoch: counted from 0.

    Returns:
        Batches of positions in `lengths`.
    """
    chance = random.Random(f"{seed}:{epoch}")
    order = list(range(len(lengths)))
    chance.shuffle(order)
    whole = len(order) // batch_size
    window = batch_size * max(1, min(WINDOW_BATCHES, whole // _LEAST_WINDOWS))
    batches: list[Batch] = []
    for start in range(0, len(order), window):
        rows = sorted(order[start : start + window], key=lambda row: lengths[row], reverse=True)
        batches += (tuple(rows[at : at + batch_size]) for at in range(0, len(rows), batch_size))
    incomplete = [batches.pop()] if batches and len(batches[-1]) < batch_size else []
    chance.shuffle(batches)
    if epoch == 0 and batches:
        longest = max(range(len(batches)), key=lambda at: max(lengths[row] for row in batches[at]))
        batches[0], batches[longest] = batches[longest], batches[0]
    return batches + incomplete


def measure_batches(
    batches: Iterable[Sequence[int]],
    lengths: Sequence[int],
    loss_lengths: Sequence[int],
    *,
    rows: int | None = None,
    gradient_accumulation: int = 1,
) -> BatchFigures:
    """Counts what an epoch of `batches` computes, each padded to its longest sequence.

    Args:
        batches: of positions in `lengths`, as the trainer takes them (`group_by_length`).
        lengths: tokens of each sequence; a sequence is one row, or several packed ones.
        loss_lengths: tokens with loss of each sequence.
        rows: in all sequences, where they are packed; else each is one row.
        gradient_accumulation: batches of an optimizer step.
    """
    count = sequences = tokens = loss_tokens = padded = 0
    for batch in batches:
        count += 1
        sequences += len(batch)
        tokens += sum(lengths[at] for at in batch)
        loss_tokens += sum(loss_lengths[at] for at in batch)
        padded += len(batch) * max(lengths[at] for at in batch)
    return BatchFigures(
        rows=sequences if rows is None else rows,
        tokens=tokens,
        loss_tokens=loss_tokens,
        padded_tokens=padded,
        batches=count,
        steps_per_epoch=-(-count // gradient_accumulation),
    )
