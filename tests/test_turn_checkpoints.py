"""How a turn deals with trainings that were stopped: refused by name, set aside, or no longer waited for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flytewheel import runs, turn, turn_training
from flytewheel.errors import CheckpointError
from flytewheel.local.services import Services
from flytewheel.recipe import Recipe
from flytewheel.training.checkpoints import Manifest, open_checkpoints
from flytewheel.training.leftovers import list_kept
from flytewheel.training.uploads import list_copies
from tests.test_turn import NOW, recipe, write_logs
from tests.test_turn import here as here


@pytest.fixture(autouse=True)
def _no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture
def given(tmp_path: Path) -> Recipe:
    files = write_logs(tmp_path / "logs", 3)
    return recipe(curation={"min_interactions": 3}, feedback={"files": files})


def _open(here: Services, given: Recipe, *, fresh: bool = False) -> turn.OpenedTurn:
    return turn.open_turn(
        here, given, here.home / "window", start=here.home / "start", now=NOW, execution="e", fresh=fresh
    )


def _stop_training(here: Services, given: Recipe, run_id: str) -> None:
    """A training of the run that was stopped after a checkpoint, as `tasks.train` begins one."""
    manifest = Manifest(
        station="sft",
        data="a" * 64,
        recipe=given.model_dump(mode="json", include={"base", "training"}),
        seed=given.seed,
    )
    with runs.run_station(here.database_url, here.home, run_id, "train_sft") as station:
        at = replace(turn_training.open_workplace(here, station), tracker=None, progress=None)
        with open_checkpoints(at, manifest) as checkpoints:
            (checkpoints.folder / "checkpoint-5").mkdir(exist_ok=True)
            checkpoints.mark(5, keep=3)


def _changed(given: Recipe) -> Recipe:
    return given.model_copy(update={"training": given.training.model_copy(update={"learning_rate": 1e-4})})


def test_another_recipe_is_refused_before_anything_is_stored(here: Services, given: Recipe) -> None:
    run_id = _open(here, given).run_id
    _stop_training(here, given, run_id)
    with pytest.raises(CheckpointError, match=r"sft of 'oncall' .*training\.learning_rate is 0\.0001 here and 0\.0002"):
        _open(here, _changed(given))
    assert [run.run_id for run in runs.list_runs(here.database_url)] == [run_id]
    assert _open(here, given).run_id == run_id  # given back
    gate = given.model_copy(update={"gate": given.gate.model_copy(update={"preference_accuracy": None})})
    assert _open(here, gate).ready  # what does not train does not count


def test_a_fresh_start_sets_it_aside_and_opens_a_run(here: Services, given: Recipe) -> None:
    first = _open(here, given).run_id
    _stop_training(here, given, first)
    assert _open(here, _changed(given), fresh=True).run_id != first
    assert [kept.aside for kept in list_kept(here.home / "checkpoints")] == [True]


def test_nobody_waits_for_a_training_once_a_later_run_has_ended(here: Services, given: Recipe) -> None:
    first = _open(here, given).run_id
    _stop_training(here, given, first)
    later = _open(here, given.model_copy(update={"seed": 99}), fresh=True)
    assert later.run_id != first
    turn.finish_turn(here, later.run_id)
    assert runs.list_settled(here.database_url, "oncall") == {first, later.run_id}
    _stop_training(here, given, first)
    assert _open(here, _changed(given)).ready


def test_what_the_store_has_goes_when_its_run_has_ended(here: Services, given: Recipe) -> None:
    run_id = _open(here, given).run_id
    _stop_training(here, given, run_id)
    store = turn.open_store(here)
    assert [about["run"] for _, about in list_copies(store)] == [run_id]
    turn.finish_turn(here, run_id)
    assert list_copies(store) == []
    assert runs.read_run(here.database_url, run_id).status == "succeeded"


def test_a_run_ends_though_the_store_is_away(here: Services, given: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = _open(here, given).run_id
    turn.finish_turn(replace(here, s3_url="http://127.0.0.1:9"), run_id)
    assert f"warning: checkpoints of {run_id} stay in the object store (" in capsys.readouterr().out
    assert runs.read_run(here.database_url, run_id).status == "succeeded"
