from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError
from flytewheel.local.services import Services
from flytewheel.models import load_tokenizer
from flytewheel.planning.rows import count_batches, count_steps, find_dataset, take_sample
from flytewheel.recipe import BaseModelSpec, Recipe
from flytewheel.training.lengths import RowLength, measure_rows
from flytewheel.turn import publish_dataset
from registry.store import ObjectStore
from tests.dataset.made import SFT, make
from tests.training.teaching import training_spec


def _rows(*tokens: int) -> list[RowLength]:
    return [RowLength(each, each, each // 2, 1) for each in tokens]


def test_an_epoch_by_hand() -> None:
    """In order, two at a time: (10, 30) costs 60, (20, 20) 40, (40) 40. Packed by 64: two sequences, one batch."""
    spec = training_spec(batch_size=2, gradient_accumulation=2, epochs=3.0)
    rows = _rows(10, 30, 20, 20, 40)
    found = count_batches(rows, spec, sampling="sequential", packed_into=None, seed=0)
    assert (found.tokens, found.loss_tokens, found.padded_tokens, found.steps_per_epoch) == (120, 60, 140, 2)
    assert found.useful_share == pytest.approx(120 / 140)
    assert count_steps(found, spec) == 6
    assert count_steps(found, spec.model_copy(update={"max_steps": 4})) == 4
    many = _rows(*(10 + 13 * n % 90 for n in range(400)))
    mixed, grouped = (
        count_batches(many, spec, sampling=order, packed_into=None, seed=0) for order in ("random", "group_by_length")
    )
    assert mixed.useful_share < 0.8 < 0.95 < grouped.useful_share
    packed = count_batches(rows, spec, sampling="random", packed_into=64, seed=0)
    assert (packed.padded_tokens, packed.steps_per_epoch) == (128, 1)


def test_a_pair_is_two_sequences_padded_to_the_longer() -> None:
    pair = RowLength(50, 30, 20, 2)
    spec = training_spec(batch_size=2)
    assert count_batches([pair, pair], spec, sampling="random", packed_into=None, seed=0).padded_tokens == 120


def test_steps_are_those_of_a_real_training(sft_adapter: Path, teaching_data: Path, base_model: Path) -> None:
    from flytewheel.training.report import read_report

    rows = Dataset(teaching_data).sft("train")
    lengths, too_long = measure_rows("sft", rows, load_tokenizer(BaseModelSpec(model=str(base_model))), 128)
    kept = [row for row in lengths if row is not None]
    found = count_batches(kept, training_spec(), sampling="group_by_length", packed_into=None, seed=3)
    assert (len(kept), too_long) == (48, 0)
    assert count_steps(found, training_spec()) == read_report(sft_adapter / "report.json").steps == 24


def test_what_is_too_long_is_counted(teaching_data: Path, base_model: Path) -> None:
    data, tokenizer = Dataset(teaching_data), load_tokenizer(BaseModelSpec(model=str(base_model)))
    whole, _ = measure_rows("sft", data.sft("train"), tokenizer, 512)
    longest = max(row.longest for row in whole if row is not None)
    cut, too_long = measure_rows("sft", data.sft("train"), tokenizer, longest - 1)
    assert too_long == sum(row is not None and row.longest == longest for row in whole) > 0
    assert max(row.longest for row in cut if row is not None) == longest - 1
    pairs, dropped = measure_rows("dpo", data.preferences("train"), tokenizer, 16)
    assert (pairs, dropped) == ([None] * 32, 32)


def test_a_sample_has_the_longest_row_and_both_labels(teaching_data: Path, tmp_path: Path) -> None:
    data = Dataset(teaching_data)
    lengths: list[RowLength | None] = list(_rows(*[10] * 48))
    lengths[3], lengths[9] = RowLength(99, 99, 50, 1), None
    sample = Dataset(take_sample(data, tmp_path / "sft", "sft", lengths, 6))
    rows = data.sft("train")
    assert rows[3] in sample.sft("train")
    assert rows[9] not in sample.sft("train")
    assert len(sample.sft("train")) == 7
    thumbs = Dataset(take_sample(data, tmp_path / "kto", "kto", list(_rows(*[10] * 32)), 1)).unpaired("train")
    assert {row.label for row in thumbs} == {True, False}


def test_the_newest_data_set_of_the_recipes_feedback_is_taken(
    database_url: str, store: ObjectStore, services: Any, tmp_path: Path
) -> None:
    here = Services(
        home=tmp_path / "home", database_url=database_url, s3_url=services.s3_url,
        s3_access_key=services.s3_access_key, s3_secret_key=services.s3_secret_key, s3_region=None,
        s3_bucket=store.bucket, router_url="", admin_key="", assignment_key="",
    )  # fmt: skip
    recipe = Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}})
    with pytest.raises(DatasetError, match=r"no data set of oncall was curated yet.*or name a data set with --dataset"):
        find_dataset(recipe, None, here)
    for digest, source in (("a" * 64, "oncall"), ("b" * 64, "other"), ("c" * 64, "oncall")):
        folder = tmp_path / digest
        card = make(folder, {("sft", "train"): [replace(SFT, id=digest[:3])]}, digest=digest, sources=(source,))
        publish_dataset(here, folder, card)
    found = find_dataset(recipe, None, here)
    assert Dataset(found).card.sources == ("oncall",)
    assert find_dataset(recipe, "bbbb", here).name == "b" * 64
    with pytest.raises(DatasetError, match="no data set begins with 'ff'"):
        find_dataset(recipe, "ff", here)
