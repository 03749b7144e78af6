from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flytewheel.errors import CheckpointError
from flytewheel.training.checkpoints import Checkpoints, Manifest, open_checkpoints, publish_folder
from flytewheel.training.report import TrainingReport, read_report
from flytewheel.training.seal import write_seal

MANIFEST = Manifest(station="sft", data="a" * 64, recipe={"training": {"lora_rank": 16}}, seed=7)
REPORT = TrainingReport(
    "sft", "4 rows", 4, 2, 2.0, 1.0, None, ({"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}), "cpu", 0.5, 0, 0, "d"
)


def _checkpoint(folder: Path, step: int, *, complete: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    if complete:
        write_seal(path, step)
    return path


def test_the_folder_is_named_by_station_data_and_recipe(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path, MANIFEST) as checkpoints:
        name = checkpoints.folder.name
    assert name.startswith("sft-aaaaaaaaaaaa-")
    assert len(name.rpartition("-")[2]) == 12
    names = {
        replace(MANIFEST, recipe={"training": {"lora_rank": 8}}).folder_name,
        replace(MANIFEST, seed=8).folder_name,
        replace(MANIFEST, start="b" * 64).folder_name,
        replace(MANIFEST, data="b" * 64).folder_name,
        name,
    }
    assert len(names) == 5


def test_a_folder_of_another_training_is_refused_by_name_of_the_difference(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path, MANIFEST) as checkpoints:
        folder = checkpoints.folder
    with pytest.raises(CheckpointError, match="code is '2' here and '1' there; remove it to train afresh"):
        open_checkpoints(tmp_path, replace(MANIFEST, code="2")).__enter__()
    written = json.loads((folder / "manifest.json").read_text())
    written["recipe"]["training"]["lora_rank"] = 4
    (folder / "manifest.json").write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match=r"recipe\.training\.lora_rank is 16 here and 4 there"):
        open_checkpoints(tmp_path, MANIFEST).__enter__()
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_checkpoints(tmp_path, MANIFEST).__enter__()
    (folder / "manifest.json").unlink()
    _checkpoint(folder, 5)
    with pytest.raises(CheckpointError, match=r"no manifest\.json"):
        open_checkpoints(tmp_path, MANIFEST).__enter__()


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    busy = pytest.raises(CheckpointError, match="another process is training here")
    with open_checkpoints(tmp_path, MANIFEST), busy:
        open_checkpoints(tmp_path, MANIFEST).__enter__()
    with open_checkpoints(tmp_path, MANIFEST):
        pass


def test_the_newest_complete_checkpoint_counts_and_torn_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() is None
    for step in (5, 10, 9):
        _checkpoint(tmp_path, step)
    torn = _checkpoint(tmp_path, 15, complete=False)
    assert checkpoints.newest() == tmp_path / "checkpoint-10"
    assert not torn.exists()


def test_old_checkpoints_go_only_after_the_new_one_is_complete(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    _checkpoint(tmp_path, 5)
    _checkpoint(tmp_path, 10, complete=False)
    assert [path.name for path in checkpoints.complete()] == ["checkpoint-5"]
    checkpoints.mark(10, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


def test_a_finished_training_is_moved_into_place_and_published(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    staged = tmp_path / "finished.partial"
    staged.mkdir()
    (staged / "adapter_config.json").write_text("{}")
    assert checkpoints.finished() is None
    checkpoints.finish(staged, REPORT)
    assert not staged.exists()
    assert checkpoints.finished() == REPORT
    checkpoints.publish(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["adapter_config.json", "report.json"]
    assert read_report(tmp_path / "out" / "report.json") == REPORT


def test_only_files_are_published(tmp_path: Path) -> None:
    (tmp_path / "in" / "ref").mkdir(parents=True)
    (tmp_path / "in" / "adapter_config.json").write_text("{}")
    publish_folder(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["adapter_config.json"]


def test_something_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"method": "sft", "curve": []}')
    with pytest.raises(CheckpointError, match="expected a training report"):
        read_report(tmp_path / "report.json")
