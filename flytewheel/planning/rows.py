"""What there is to train on: the data set that a recipe would learn from, its rows, and the batches that they make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytewheel.dataset import Dataset, part_file, write_card, write_rows
from flytewheel.errors import DatasetError
from flytewheel.recipe import Recipe, RlhfSpec, TrainingSpec
from flytewheel.shelf import find_digest, list_shelf
from flytewheel.training.lengths import RowLength
from flytewheel.turn import fetch_dataset, open_store

if TYPE_CHECKING:
    from flytewheel.local.services import Services

KINDS = {"sft": "sft", "dpo": "preference", "kto": "unpaired"}


@dataclass(frozen=True, slots=True)
class Batches:
    """What an epoch computes: `tokens` of the rows, `padded_tokens` with padding, and the steps that they make."""

    tokens: int
    loss_tokens: int
    padded_tokens: int
    steps_per_epoch: int

    @property
    def useful_share(self) -> float:
        """Share of the computed tokens that are not padding, in [0, 1]."""
        return self.tokens / self.padded_tokens if self.padded_tokens else 0.0


def find_dataset(recipe: Recipe, name: str | None, services: Services) -> Path:
    """The folder of the data set `name` (a digest), or of the newest one of the recipe's feedback streams.

    Raises:
        DatasetError: there is none.
        StoreError: the store is away.
    """
    store = open_store(services)
    if name is not None:
        return fetch_dataset(services, find_digest(name, services.home, store))
    for shelved in list_shelf(services.home, store):
        if shelved.card is not None and tuple(shelved.card.sources) == recipe.sources:
            return fetch_dataset(services, shelved.digest)
    streams = " and ".join(recipe.sources)
    raise DatasetError(
        f"no data set of {streams} was curated yet, and what its feedback would give is not known before; turn the "
        "loop once (flytewheel run), or name a data set with --dataset"
    )


def count_batches(
    lengths: Sequence[RowLength], spec: TrainingSpec | RlhfSpec, *, sampling: str, packed_into: int | None, seed: int
) -> Batches:
    """Counts an epoch.

    Args:
        lengths: Of all rows.
        spec: How many rows a micro-batch has, and how many micro-batches a step.
        sampling: As the trainer draws its rows: `group_by_length`, `random` or `sequential`.
        packed_into: Tokens of a sequence that several rows share; `None`: rows are padded.
        seed: Of the draw.
    """
    tokens, loss_tokens = sum(row.tokens for row in lengths), sum(row.loss_tokens for row in lengths)
    if packed_into is not None:
        batches = math.ceil(math.ceil(tokens / packed_into) / spec.batch_size)
        padded = batches * spec.batch_size * packed_into
    else:
        order = _draw([row.longest for row in lengths], spec, sampling, seed)
        grouped = [order[at : at + spec.batch_size] for at in range(0, len(order), spec.batch_size)]
        batches = len(grouped)
        padded = sum(
            max(lengths[at].longest for at in rows) * sum(lengths[at].sequences for at in rows) for rows in grouped
        )
    return Batches(tokens, loss_tokens, padded, math.ceil(batches / spec.gradient_accumulation))


def _draw(lengths: list[int], spec: TrainingSpec | RlhfSpec, sampling: str, seed: int) -> list[int]:
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    chance = torch.Generator().manual_seed(seed)
    if sampling == "group_by_length":
        return list(get_length_grouped_indices(lengths, spec.batch_size * spec.gradient_accumulation, generator=chance))
    if sampling == "random":
        return torch.randperm(len(lengths), generator=chance).tolist()  # type: ignore[no-any-return,unused-ignore]
    return list(range(len(lengths)))


def count_steps(batches: Batches, spec: TrainingSpec | RlhfSpec) -> int:
    """Steps of a whole training, as transformers counts them."""
    return spec.max_steps or math.ceil(spec.epochs * batches.steps_per_epoch)


def take_sample(dataset: Dataset, folder: Path, method: str, lengths: Sequence[RowLength | None], count: int) -> Path:
    """Writes a data set of about `count` training rows into `folder`: evenly spaced ones, and the longest of all.

    Args:
        dataset: To take them from.
        folder: Made if missing.
        method: Whose rows.
        lengths: Of each training row, as they lie in the data set; `None`: it is left out.
        count: How many.
    """
    rows = read_training_rows(dataset, method)
    fitting = [at for at, length in enumerate(lengths) if length is not None]
    spaced = [fitting[index * len(fitting) // count] for index in range(count)] if count < len(fitting) else fitting
    needed = [max(fitting, key=lambda at: length.longest if (length := lengths[at]) else 0)]
    if method == "kto":  # which compares both labels
        needed += [next(at for at in fitting if rows[at].label is label) for label in (True, False)]
    chosen = sorted({*spaced, *needed})
    write_rows(part_file(folder, KINDS[method], "train"), KINDS[method], [rows[at] for at in chosen])
    write_card(folder, dataset.card)
    return folder


def read_training_rows(dataset: Dataset, method: str, part: str = "train") -> list[Any]:
    """The rows that a method learns from, or is judged on."""
    return list(dataset.rows(KINDS[method], part))
