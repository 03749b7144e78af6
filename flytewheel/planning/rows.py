"""What there is to train on: the data set that a recipe would learn from, and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytewheel.dataset import Dataset, part_file, write_card, write_rows
from flytewheel.errors import DatasetError
from flytewheel.recipe import Recipe
from flytewheel.shelf import find_digest, list_shelf
from flytewheel.training.arguments import MAX_VALIDATION_ROWS
from flytewheel.training.rows import Rows, RowSize, preference_rows, sft_rows, thin, unpaired_rows
from flytewheel.turn import fetch_dataset, open_store

if TYPE_CHECKING:
    from flytewheel.local.services import Services

KINDS = {"sft": "sft", "dpo": "preference", "orpo": "preference", "kto": "unpaired"}


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


def read_rows(dataset: Dataset, method: str, part: str) -> Sequence[Any]:
    """The rows that a method learns from, or is judged on: of those no more than training takes."""
    rows = list(dataset.rows(KINDS[method], part))
    return rows if part == "train" else thin(rows, MAX_VALIDATION_ROWS)


def tokenise_rows(dataset: Dataset, method: str, part: str, tokenizer: Any, recipe: Recipe) -> Rows:
    """The same, as the trainer of `method` takes them."""
    rows, longest = read_rows(dataset, method, part), recipe.base.max_length
    if method == "sft":
        return sft_rows(rows, tokenizer, longest)
    if method == "kto":
        return unpaired_rows(rows, tokenizer, longest, recipe.seed)
    return preference_rows(rows, tokenizer, longest)


def take_sample(dataset: Dataset, folder: Path, method: str, sizes: Sequence[RowSize], count: int) -> Path:
    """Writes a data set of about `count` training rows into `folder`: evenly spaced ones, and the longest of all.

    Args:
        dataset: To take them from.
        folder: Made if missing.
        method: Whose rows.
        sizes: Of those rows that fit.
        count: How many.
    """
    rows = read_rows(dataset, method, "train")
    fitting = sorted(sizes, key=lambda size: size.at)
    chosen = {size.at for size in thin(fitting, count)}
    chosen.add(max(fitting, key=lambda size: size.longest).at)
    if method == "kto":  # which compares both labels
        chosen |= {next(size.at for size in fitting if rows[size.at].label is label) for label in (True, False)}
    write_rows(part_file(folder, KINDS[method], "train"), KINDS[method], [rows[at] for at in sorted(chosen)])
    write_card(folder, dataset.card)
    return folder
