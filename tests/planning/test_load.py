"""What is counted against what the real trainers then do."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.errors import RecipeError
from flytewheel.models import find_device, load_tokenizer
from flytewheel.planning.load import Load, measure_load
from flytewheel.planning.rows import tokenise_rows
from flytewheel.profiles import PROFILES, Choice, Device
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import Recipe
from flytewheel.training.feed import feed_rows
from flytewheel.training.preference import make_preference_trainer
from flytewheel.training.reference_store import ReferenceStore
from flytewheel.training.rows import preference_rows, sft_rows, unpaired_rows
from flytewheel.training.sft import make_sft_trainer


def _recipe(base: Path, training: dict[str, Any] | None = None, rlhf: dict[str, Any] | None = None) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "made",
            "seed": 3,
            "base": {"model": str(base), "max_length": 128},
            "training": {"batch_size": 5, "gradient_accumulation": 2, "epochs": 2.5, **(training or {})},
            "rlhf": {"batch_size": 3, "gradient_accumulation": 2, "epochs": 1.5, **(rlhf or {})},
        }
    )


def _load(method: str, recipe: Recipe, data: Path, device: Device | None = None) -> Load:
    rows = tokenise_rows(Dataset(data), method, "train", load_tokenizer(recipe.base), recipe)
    return measure_load(method, rows, recipe, device or find_device())


def _see_epoch(trainer: Any) -> tuple[int, int]:
    """Padded tokens of the second epoch as the trainer draws it, and its steps in all as transformers counts them."""
    trainer.state.epoch = 1.0
    loader = trainer.get_train_dataloader()
    padded = 0
    for batch in loader:
        ids = batch["input_ids"] if "input_ids" in batch else batch["chosen_input_ids"]
        padded += ids.numel()
    return padded, trainer.set_initial_training_values(trainer.args, loader)[-1]


@pytest.mark.parametrize("packing", [False, True])
def test_sft_is_counted_as_it_is_trained(packing: bool, base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    recipe = _recipe(base_model, {"packing": packing})
    tokenizer, device = load_tokenizer(recipe.base), find_device()
    rows = sft_rows(Dataset(teaching_data).sft("train"), tokenizer, 128)
    feed = feed_rows(rows, recipe.base, recipe.training, seed=3, device=device)
    with quiet_libraries():
        trainer = make_sft_trainer(
            rows, sft_rows([], tokenizer, 128), tokenizer, [], feed, base=recipe.base, training=recipe.training,
            seed=3, device=device, folder=tmp_path,
        )  # fmt: skip
    found = _load("sft", recipe, teaching_data)
    assert (found.figures.padded_tokens, found.steps) == _see_epoch(trainer)
    assert found.figures == feed.figures
    assert (found.sequences < rows.count) == packing


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_preferences_are_counted_as_they_are_trained(
    method: str, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    recipe, data = _recipe(base_model, rlhf={"method": method}), Dataset(teaching_data)
    tokenizer, device = load_tokenizer(recipe.base), find_device()
    if method == "kto":
        rows, none = unpaired_rows(data.unpaired("train"), tokenizer, 128, 3), unpaired_rows([], tokenizer, 128, 3)
    else:
        rows, none = preference_rows(data.preferences("train"), tokenizer, 128), preference_rows([], tokenizer, 128)
    with quiet_libraries():
        trainer = make_preference_trainer(
            method, rows, none, tokenizer, [], None, base=recipe.base, training=recipe.training, rlhf=recipe.rlhf,
            seed=3, device=device, folder=tmp_path, reference=ReferenceStore(None, {}),
        )  # fmt: skip
    found = _load(method, recipe, teaching_data)
    padded, steps = _see_epoch(trainer)
    assert found.steps == steps
    if method == "dpo":
        table = trainer.train_dataset
        both = sum(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in table)
        assert (found.figures.padded_tokens, found.figures.tokens) == (padded, both)
    if method == "kto":
        assert [size.longest for size in rows.sizes] == [
            len(row["prompt_ids"]) + len(row["completion_ids"]) for row in trainer.train_dataset
        ]
    assert 0.5 < found.figures.useful_share <= 1


def test_processes_share_a_step(base_model: Path, teaching_data: Path) -> None:
    one = _load("sft", _recipe(base_model, {"batch_size": 4}), teaching_data)
    four = _load("sft", _recipe(base_model, {"batch_size": 4, "nodes": 2, "gpus_per_node": 2}), teaching_data)
    assert (str(one.micro_batch), str(four.micro_batch), four.steps) == ("2 x 4", "1 x 2", one.steps)
    with pytest.raises(RecipeError, match="cannot be divided among 3 processes"):
        _load("sft", _recipe(base_model, {"gpus_per_node": 3}), teaching_data)


def test_rows_are_packed_where_the_device_packs(base_model: Path, teaching_data: Path) -> None:
    """48 rows of 10 to 30 tokens in sequences of 128; the learning rate aside a step is of as many rows."""
    device = find_device()
    packing = replace(device, profile=replace(PROFILES["cpu"], packing=Choice(True, "to see it")))
    plain, packed = (_load("sft", _recipe(base_model), teaching_data, each) for each in (device, packing))
    assert packed.sequences < plain.sequences == 48
    assert packed.pace.told.startswith("packed 48 rows into ")
    assert packed.figures.tokens == plain.figures.tokens
    assert packed.steps == math.ceil(2.5 * packed.figures.steps_per_epoch)
