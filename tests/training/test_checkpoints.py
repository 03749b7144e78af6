from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flytewheel.errors import CheckpointError, DivergedError
from flytewheel.training.checkpoints import Checkpoints, Manifest, open_checkpoints, publish_folder
from flytewheel.training.report import TrainingReport, read_report
from flytewheel.training.seal import read_seal, write_seal
from flytewheel.training.workplace import Workplace

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
    with open_checkpoints(Workplace(tmp_path), MANIFEST) as checkpoints:
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


def test_a_folder_of_other_code_is_refused_by_name_of_the_difference(tmp_path: Path) -> None:
    at = Workplace(tmp_path)
    with open_checkpoints(at, MANIFEST) as checkpoints:
        folder = checkpoints.folder
        _checkpoint(folder, 5)
    other = replace(MANIFEST, code={**MANIFEST.code, "torch": "9.9"})
    message = r"sft stopped at step 5 .*but code\.torch is '9\.9' here and '2\..*' there; .*start anew with --fresh"
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoints(at, other).__enter__()
    assert "\n" not in str(caught.value)
    assert "source" not in str(caught.value)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"no manifest\.json that can be read"):
        open_checkpoints(at, MANIFEST).__enter__()
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"no manifest\.json that can be read"):
        open_checkpoints(at, MANIFEST).__enter__()


def test_other_code_trains_anew_where_nothing_is_lost(tmp_path: Path) -> None:
    at, other = Workplace(tmp_path), replace(MANIFEST, code={"source": "other"})
    with open_checkpoints(at, MANIFEST) as checkpoints:
        _finish(checkpoints)
    with open_checkpoints(at, MANIFEST) as checkpoints:
        assert checkpoints.finished() == REPORT
    with open_checkpoints(at, other) as checkpoints:
        assert checkpoints.finished() is None
        _checkpoint(checkpoints.folder, 5, complete=False)
    with open_checkpoints(at, MANIFEST) as checkpoints:
        assert checkpoints.newest() is None
    assert json.loads((checkpoints.folder / "manifest.json").read_text())["code"] == MANIFEST.code


def test_a_checkpoint_alone_says_what_it_belongs_to(tmp_path: Path) -> None:
    with open_checkpoints(Workplace(tmp_path, name="oncall", run="run-1"), MANIFEST) as checkpoints:
        path = _checkpoint(checkpoints.folder, 5, complete=False)
        checkpoints.mark(5, keep=3)
        sealed = read_seal(path)
        (checkpoints.folder / "checkpoint-9").mkdir()
        write_seal(checkpoints.folder / "checkpoint-9", 9, {**sealed["training"], "data": "b" * 64})
        with pytest.raises(
            CheckpointError, match="checkpoint-9: belongs to another training, data is aaaaaaaaaaaa… here"
        ):
            checkpoints.newest()
    assert sealed["step"] == 5
    about = sealed["training"]
    assert (about["name"], about["run"], about["station"], about["data"]) == ("oncall", "run-1", "sft", MANIFEST.data)
    assert about["recipe_digest"] == MANIFEST.recipe_digest
    assert about["recipe"] == {"training": {"lora_rank": 16}}
    assert set(about["code"]) == {"source", "torch", "transformers", "trl", "peft", "accelerate", "tokenizers"}


def test_nobody_goes_on_from_a_training_that_diverged(tmp_path: Path) -> None:
    diverged = pytest.raises(DivergedError)
    with diverged, open_checkpoints(Workplace(tmp_path), MANIFEST) as checkpoints:
        _checkpoint(checkpoints.folder, 5)
        raise DivergedError("sft diverged")
    assert not checkpoints.folder.exists()


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    at = Workplace(tmp_path)
    busy = pytest.raises(CheckpointError, match="another process is training here")
    with open_checkpoints(at, MANIFEST), busy:
        open_checkpoints(at, MANIFEST).__enter__()
    with open_checkpoints(at, MANIFEST):
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


def _finish(checkpoints: Checkpoints) -> None:
    staged = checkpoints.folder / "finished.partial"
    staged.mkdir()
    checkpoints.finish(staged, REPORT)


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
