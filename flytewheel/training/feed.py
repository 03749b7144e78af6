"""What SFT is fed with: rows one by one or packed, and the pace that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

from flytewheel.profiles import Device
from flytewheel.recipe import BaseModelSpec, TrainingSpec
from flytewheel.training.batches import BatchFigures, group_by_length, measure_batches
from flytewheel.training.packing import Pace, pace_packed, pace_unpacked, pack_rows, packs_rows
from flytewheel.training.processes import find_processes
from flytewheel.training.rows import Rows
from flytewheel.training.sequences import Sequences


@dataclass(frozen=True, slots=True)
class Feed:
    """The sequences, the pace at which they are taken, and what an epoch of them computes."""

    sequences: Sequences
    pace: Pace
    figures: BatchFigures


def feed_rows(
    train: Rows,
    base: BaseModelSpec,
    training: TrainingSpec,
    *,
    seed: int,
    device: Device,
    processes: int | None = None,
) -> Feed:
    """Packs rows, or leaves each in a sequence of its own, as the recipe or else the device's profile says.

    `processes` are those that share a step; `None`: as many as this one is among.
    """
    if packs_rows(training, device.profile):
        sequences = Sequences(train.table, pack_rows(train.table["length"], base.max_length, seed=seed))
        pace = pace_packed(
            training, rows=train.count, sequences=len(sequences), processes=processes or find_processes().count
        )
    else:
        sequences = Sequences(train.table)
        pace = pace_unpacked(training)
    figures = measure_batches(
        group_by_length(sequences.lengths, pace.batch_size, seed=seed, epoch=1),
        sequences.lengths,
        sequences.loss_lengths,
        rows=train.count,
        gradient_accumulation=pace.gradient_accumulation,
    )
    return Feed(sequences, pace, figures)
