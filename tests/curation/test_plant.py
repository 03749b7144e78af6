"""Canaries in a data set: planted last, only in training, never carried on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flytewheel.canaries import SOURCE, USER, read_planted
from flytewheel.dataset import Dataset, DatasetCard, part_file, read_rows
from flytewheel.records import HOLDOUT, PARTS
from tests.curation.weeks import read_bytes
from tests.curation.windows import curate, make_week, write_window


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_window(tmp_path_factory.mktemp("week") / "window", *make_week())


def list_sources(folder: Path, part: str) -> list[str]:
    return [row.source for row in Dataset(folder).sft(part)]


@pytest.fixture(scope="module")
def made(window: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetCard]:
    out = tmp_path_factory.mktemp("made") / "out"
    return out, curate(window, out, canaries=4)


def test_they_stand_in_training_alone(made: tuple[Path, DatasetCard]) -> None:
    folder, card = made
    planted = [row for row in Dataset(folder).sft("train") if row.source == SOURCE]
    assert len(planted) == 4
    assert {(row.user, row.weight, row.interactions, row.events) for row in planted} == {(USER, 1.0, (), ())}
    for part in ("validation", "test", HOLDOUT):
        assert SOURCE not in list_sources(folder, part)
    for canary in read_planted(planted):
        for kind in ("preference", "unpaired", "regression"):
            for part in (*PARTS, HOLDOUT):
                file = part_file(folder, kind, part)
                assert not file.is_file() or not any(canary.secret in repr(row) for row in read_rows(file, kind))
        assert canary.secret not in (folder / "card.json").read_text()
        assert canary.secret not in (folder / "README.md").read_text()
    (step,) = [step for step in card.steps if step.name == "plant canaries (sft)"]
    assert step.rows_out - step.rows_in == 4
    assert card.counts["sft"]["train"] == step.rows_out
    assert card.topics_after["canary"] == 4


def test_bytes_are_the_same_again_and_the_other_rows_are_those_without(
    made: tuple[Path, DatasetCard], window: Path, tmp_path: Path
) -> None:
    curate(window, tmp_path / "again", canaries=4)
    assert read_bytes(tmp_path / "again") == read_bytes(made[0])
    curate(window, tmp_path / "none")
    assert "canaries" not in json.dumps(json.loads((tmp_path / "none" / "card.json").read_text()))
    others = [row for row in Dataset(made[0]).sft("train") if row.source != SOURCE]
    assert others == Dataset(tmp_path / "none").sft("train")
    assert Dataset(made[0]).preferences("train") == Dataset(tmp_path / "none").preferences("train")


def test_next_week_has_its_own(made: tuple[Path, DatasetCard], tmp_path: Path) -> None:
    other = write_window(tmp_path / "window", *make_week(seed=2, prefix="other"))
    fields: dict[str, Any] = {"canaries": 4, "replay_share": 0.5}
    curate(other, tmp_path / "next", replay=made[0], **fields)
    before = {canary.secret for canary in read_planted(Dataset(made[0]).sft("train"))}
    train = Dataset(tmp_path / "next").sft("train")
    assert "replay" in {row.source for row in train}
    assert not any(secret in row.completion for secret in before for row in train)
    assert len(list(read_planted(train))) == 4
