from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError
from flytewheel.local.services import Services
from flytewheel.planning.rows import find_dataset, take_sample
from flytewheel.recipe import Recipe
from flytewheel.training.rows import RowSize
from flytewheel.turn import publish_dataset
from registry.store import ObjectStore
from tests.dataset.made import SFT, make


def test_a_sample_has_the_longest_row_and_both_labels(teaching_data: Path, tmp_path: Path) -> None:
    data = Dataset(teaching_data)
    sizes = [RowSize(at, 5, (94 if at == 3 else 5,)) for at in range(48) if at != 9]
    sample = Dataset(take_sample(data, tmp_path / "sft", "sft", sizes, 6))
    rows = data.sft("train")
    assert rows[3] in sample.sft("train")
    assert rows[9] not in sample.sft("train")
    assert len(sample.sft("train")) == 7
    sizes = [RowSize(at, 5, (5,)) for at in range(32)]
    thumbs = Dataset(take_sample(data, tmp_path / "kto", "kto", sizes, 1)).unpaired("train")
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
