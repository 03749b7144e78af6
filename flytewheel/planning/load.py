"""What a training computes, batch by batch: counted with the training's own order, pace and micro-batches."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from flytewheel.profiles import Device
from flytewheel.recipe import Recipe, RlhfSpec, TrainingSpec
from flytewheel.training.batches import BatchFigures, group_by_length, measure_batches
from flytewheel.training.feed import feed_rows
from flytewheel.training.memory import fit_memory
from flytewheel.training.micro_batch import MicroBatch, of_spec
from flytewheel.training.packing import Pace, pace_unpacked
from flytewheel.training.processes import divide_batch
from flytewheel.training.rows import Rows

PAIRED = ("dpo", "orpo")


@dataclass(frozen=True, slots=True)
class Load:
    """Of all processes that share it, but for `micro_batch` and what is in it.

    Attributes:
        rows: tokenised.
        figures: of one epoch.
        steps: of the whole training.
        micro_batch: of one process; sequences at once, where rows are packed.
        sequences: that micro-batches are made of.
        longest: tokens of the longest sequence.
        answers: tokens with loss of the sequence that has most.
        pace: of a step, as the recipe and packing ask.
        fitted: what was changed so that memory suffices, in words.
    """

    rows: Rows
    figures: BatchFigures
    steps: int
    micro_batch: MicroBatch
    sequences: int
    longest: int
    answers: int
    pace: Pace
    fitted: tuple[str, ...]

    @property
    def padded_tokens(self) -> float:
        """Computed in the whole training, padding included."""
        return self.figures.padded_tokens / self.figures.steps_per_epoch * self.steps

    @property
    def epochs(self) -> int:
        """That are begun; each ends with a validation."""
        return math.ceil(self.steps / self.figures.steps_per_epoch)


def section(recipe: Recipe, method: str) -> TrainingSpec | RlhfSpec:
    """The part of a recipe that says how `method` is trained."""
    return recipe.training if method == "sft" else recipe.rlhf


def measure_load(method: str, rows: Rows, recipe: Recipe, device: Device) -> Load:
    """Counts a training of `rows`.

    Args:
        method: `sft`, `dpo`, `orpo` or `kto`.
        rows: at least one.
        recipe: as it is.
        device: of each process.

    Raises:
        RecipeError: memory does not suffice, or rows cannot be divided among the processes.
    """
    processes, least = recipe.training.processes, 2 if method == "kto" else 1
    spec = section(recipe, method)
    if method == "sft":
        feed = feed_rows(
            rows, recipe.base, recipe.training, seed=recipe.seed, device=device, processes=recipe.training.processes
        )
        lengths, losses, pace, asked = (
            feed.sequences.lengths, feed.sequences.loss_lengths, feed.pace, feed.pace.micro_batch,
        )  # fmt: skip
        answers = max(losses)
    else:
        lengths, losses = [size.longest for size in rows.sizes], [sum(size.answers) for size in rows.sizes]
        pace, asked = pace_unpacked(spec), of_spec(spec, least)
        answers = max(max(size.answers) for size in rows.sizes)
    batch, fitted = fit_memory(
        recipe.budget, asked, method, base=recipe.base, training=recipe.training, longest=max(lengths),
        answers=answers, rows=len(lengths), device=device, least=least,
    )  # fmt: skip
    size, accumulation = divide_batch(batch.rows, batch.accumulation, processes)
    size = max(size, least)
    if method == "kto":  # its KL term is of neighbours: rows stay in order
        order = list(range(len(lengths)))
    else:
        # The second epoch stands for all: only the first begins with its longest batch.
        groups = group_by_length(lengths, pace.batch_size, seed=recipe.seed, epoch=1)
        order = [row for group in groups for row in group]
    figures = measure_batches(
        [order[at : at + size] for at in range(0, len(order), size)],
        lengths,
        losses,
        rows=rows.count,
        gradient_accumulation=accumulation * processes,
    )
    if method in PAIRED:
        figures = replace(
            figures, tokens=sum(row.tokens for row in rows.sizes), padded_tokens=2 * figures.padded_tokens
        )
    return Load(
        rows=rows,
        figures=figures,
        steps=pace.max_steps or math.ceil(spec.epochs * figures.steps_per_epoch),
        micro_batch=MicroBatch(size, accumulation),
        sequences=len(lengths),
        longest=max(lengths),
        answers=answers,
        pace=pace,
        fitted=fitted,
    )
