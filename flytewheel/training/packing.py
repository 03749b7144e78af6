"""Several rows in one sequence, and what that asks of the rest of the recipe.

Rows are packed best fit decreasing (Johnson 1973; for language models Ding et al. 2024, arXiv:2404.10830): the longest
row first, each into the fullest sequence that has room. No row is cut. Packed once a training; only the order of the
sequences changes from epoch to epoch, so that every epoch has the same number of steps.

A recipe counts in rows: `batch_size` x `gradient_accumulation` rows make an optimizer step. Packing would multiply that
by the rows of a sequence, and an epoch would have as many fewer steps. `pace_packed` takes as many sequences as hold
the recipe's rows; where that cannot be had (a sequence holds more rows than a step), the learning rate goes with the
square root of the ratio, the rule for Adam of Malladi et al. 2022, arXiv:2205.10287 (its corrections of beta and
epsilon are left out: the ratio stays near 1).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flytewheel.profiles import Profile
from flytewheel.recipe import RewardSpec, RlhfSpec, TrainingSpec
from flytewheel.training.batches import Batch
from flytewheel.training.micro_batch import MicroBatch


@dataclass(frozen=True, slots=True)
class Pace:
    """What an optimizer step takes.

    Attributes:
        batch_size: sequences of a forward pass.
        gradient_accumulation: forward passes of an optimizer step.
        learning_rate: at its peak.
        max_steps: optimizer steps at most; `None`: as the epochs have.
        rows_per_step: on average.
        told: what was changed of the recipe and why, in words; empty: nothing was.
    """

    batch_size: int
    gradient_accumulation: int
    learning_rate: float
    max_steps: int | None
    rows_per_step: float
    told: str = ""

    @property
    def micro_batch(self) -> MicroBatch:
        """Sequences at once, and how many times before each step."""
        return MicroBatch(self.batch_size, self.gradient_accumulation)

    def with_batch(self, batch: MicroBatch) -> Pace:
        """The same step in other micro-batches."""
        return replace(self, batch_size=batch.rows, gradient_accumulation=batch.accumulation)


def packs_rows(training: TrainingSpec, profile: Profile) -> bool:
    """Whether several rows share a sequence in SFT: as the recipe says, or else the device's profile."""
    return profile.packing.value if training.packing == "auto" else training.packing


def pack_rows(lengths: Sequence[int], max_length: int, *, seed: int) -> list[Batch]:
    """Packs rows into sequences of at most `max_length` tokens, best fit decreasing.

    Args:
        lengths: tokens of each row.
        max_length: tokens of a sequence.
        seed: which of several equally long rows comes first.

    Returns:
        Positions in `lengths` of each sequence; every row comes once.

    Raises:
        ValueError: a row is longer than `max_length`.
    """
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda row: lengths[row], reverse=True)
    if order and lengths[order[0]] > max_length:
        raise ValueError(f"expected rows of at most {max_length} tokens, one has {lengths[order[0]]}")
    sequences: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(max_length + 1)]  # sequences by the tokens that are free in them
    rooms = 0  # bit n is set: `with_room[n]` is not empty, so that the smallest sufficient room is one shift away
    for row in order:
        need = lengths[row]
        enough = rooms >> need
        if enough:
            room = need + (enough & -enough).bit_length() - 1
            sequence = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
            sequences[sequence].append(row)
        else:
            room = max_length
            sequence = len(sequences)
            sequences.append([row])
        with_room[room - need].append(sequence)
        rooms |= 1 << (room - need)
    return [tuple(sequence) for sequence in sequences]


def pace_unpacked(spec: TrainingSpec | RlhfSpec | RewardSpec) -> Pace:
    """The recipe's own pace: a sequence is a row."""
    return Pace(
        batch_size=spec.batch_size,
        gradient_accumulation=spec.gradient_accumulation,
        learning_rate=spec.learning_rate,
        max_steps=spec.max_steps,
        rows_per_step=float(spec.batch_size * spec.gradient_accumulation),
    )


def pace_packed(training: TrainingSpec, *, rows: int, sequences: int, processes: int = 1) -> Pace:
    """Keeps the rows of an optimizer step where `rows` rows are packed into `sequences` sequences.

    With r = rows / sequences, a step takes the whole number of sequences nearest to batch_size x gradient_accumulation
    / r, as many for each of `processes` that train together, in forward passes of at most `batch_size` sequences (the
    recipe's rows may all be `base.max_length` long, so memory holds as many). If k is the ratio of the rows taken to
    those asked, the learning rate is multiplied by the square root of k and `max_steps` divided by k.

    Raises:
        ValueError: there is nothing to pack.
    """
    if not rows or not sequences:
        raise ValueError("expected rows to pack, found none")
    per_sequence = rows / sequences
    asked = training.batch_size * training.gradient_accumulation
    own = max(1, round(asked / per_sequence / processes))
    accumulation = math.ceil(own / training.batch_size)
    batch = round(own / accumulation)
    accumulation *= processes
    taken = batch * accumulation * per_sequence
    ratio = taken / asked
    rate = training.learning_rate * math.sqrt(ratio)
    steps = None if training.max_steps is None else max(1, round(training.max_steps / ratio))
    recipe = f"{training.batch_size} x {training.gradient_accumulation} rows"
    told = (
        f"packed {rows} rows into {sequences} sequences, {per_sequence:.3g} each; a step takes "
        f"{batch} x {accumulation} sequences, {taken:.3g} rows (the recipe says {recipe}); "
        f"learning rate {training.learning_rate:.3g} -> {rate:.3g}"
    )
    if steps != training.max_steps:
        told += f", max_steps {training.max_steps} -> {steps}"
    return Pace(batch, accumulation, rate, steps, taken, told)
