"""An unfinished training is not left behind in silence, and last month's block nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import CheckpointError
from flytewheel.training.checkpoints import Manifest, open_checkpoints
from flytewheel.training.leftovers import check_recipe, list_kept, remove_run
from flytewheel.training.seal import write_seal
from flytewheel.training.workplace import Workplace

RECIPE: dict[str, Any] = {"base": {"model": "pocket"}, "training": {"learning_rate": 2e-4, "epochs": 3.0}}
FIRST = Manifest(station="sft", data="a" * 64, recipe=RECIPE, seed=7)
OTHER = replace(FIRST, recipe={**RECIPE, "training": {"learning_rate": 1e-4, "epochs": 3.0}})


def _at(root: Path, **options: Any) -> Workplace:
    return Workplace(root, **{"name": "oncall", "run": "run-1", **options})


def _stop(at: Workplace, manifest: Manifest, step: int = 5) -> Path:
    """A training that was stopped after a checkpoint."""
    with open_checkpoints(at, manifest) as checkpoints:
        path = checkpoints.folder / f"checkpoint-{step}"
        path.mkdir()
        (path / "optimizer.pt").write_bytes(b"state")
        checkpoints.mark(step, keep=3)
    return path


def _steps(root: Path, at: Workplace, manifest: Manifest) -> str | None:
    with open_checkpoints(at, manifest) as checkpoints:
        newest = checkpoints.newest()
    return newest.name if newest else None


def test_a_changed_recipe_is_refused_by_name(tmp_path: Path) -> None:
    _stop(_at(tmp_path), FIRST)
    message = (
        r"^sft of 'oncall' stopped at step 5 and is not finished \(.*sft-aaaaaaaaaaaa-\w+\), but "
        r"training\.learning_rate is 0\.0001 here and 0\.0002 there; "
        r"take these back to go on, or start anew with --fresh"
    )
    with pytest.raises(CheckpointError, match=message):
        open_checkpoints(_at(tmp_path, run="run-2"), OTHER).__enter__()
    assert not (tmp_path / OTHER.folder_name).exists()
    assert _steps(tmp_path, _at(tmp_path), FIRST) == "checkpoint-5"  # given back, it goes on


def test_changed_data_and_seed_are_refused_by_name(tmp_path: Path) -> None:
    _stop(_at(tmp_path), FIRST)
    with pytest.raises(CheckpointError, match="but data is bbbbbbbbbbbb… here and aaaaaaaaaaaa… there; seed is 8 here"):
        open_checkpoints(_at(tmp_path), replace(FIRST, data="b" * 64, seed=8)).__enter__()


@pytest.mark.parametrize(
    ("at", "manifest"),
    [
        ({"name": "other"}, OTHER),  # another model's
        ({"name": ""}, OTHER),  # nobody's
        ({"settled": {"run-1"}}, OTHER),  # a later run has come to its end
        ({}, replace(OTHER, station="align")),
    ],
)
def test_what_does_not_count_does_not_block(tmp_path: Path, at: dict[str, Any], manifest: Manifest) -> None:
    _stop(_at(tmp_path), FIRST)
    assert _steps(tmp_path, _at(tmp_path, **at), manifest) is None
    assert (tmp_path / FIRST.folder_name).is_dir()


def test_neither_does_one_without_a_complete_checkpoint_nor_one_at_work(tmp_path: Path) -> None:
    with open_checkpoints(_at(tmp_path), FIRST) as checkpoints:
        (checkpoints.folder / "checkpoint-5").mkdir()
    assert _steps(tmp_path, _at(tmp_path), OTHER) is None
    with open_checkpoints(_at(tmp_path), FIRST) as checkpoints:
        write_seal(checkpoints.folder / "checkpoint-5", 5)
        assert _steps(tmp_path, _at(tmp_path), OTHER) is None


def test_a_fresh_start_sets_the_old_one_aside_once(tmp_path: Path) -> None:
    _stop(_at(tmp_path), FIRST)
    fresh = _at(tmp_path, fresh="execution-1")
    _stop(fresh, OTHER, step=3)
    assert [(kept.aside, kept.steps, kept.folder.name) for kept in list_kept(tmp_path)] == [
        (False, (3,), OTHER.folder_name),
        (True, (5,), f"{FIRST.folder_name}.1"),
    ]
    assert _steps(tmp_path, fresh, OTHER) == "checkpoint-3"  # the task is tried again
    assert _steps(tmp_path, _at(tmp_path), OTHER) == "checkpoint-3"  # the next command without --fresh
    assert _steps(tmp_path, _at(tmp_path, fresh="execution-2"), OTHER) is None  # and with it
    assert [kept.folder.name for kept in list_kept(tmp_path) if kept.aside] == sorted(
        [f"{FIRST.folder_name}.1", f"{OTHER.folder_name}.1"]
    )


def test_a_recipe_is_looked_at_before_anything_begins(tmp_path: Path) -> None:
    aligned = replace(FIRST, station="align", recipe={**RECIPE, "rlhf": {"beta": 0.1}})
    _stop(_at(tmp_path), aligned)
    same = {**RECIPE, "rlhf": {"beta": 0.1}, "seed": 7}

    def check(sections: dict[str, Any], *, fresh: bool = False, settled: tuple[str, ...] = ()) -> list[Path]:
        return check_recipe(tmp_path, "oncall", sections, settled=settled, fresh=fresh)

    changed = {**same, "rlhf": {"beta": 0.2}}
    assert check(same) == []
    assert check(changed, settled=("run-1",)) == []
    with pytest.raises(CheckpointError, match=r"^align of 'oncall' .*but rlhf\.beta is 0\.2 here and 0\.1 there"):
        check(changed)
    (moved,) = check(changed, fresh=True)
    assert moved.parent.name == "aside"
    assert check(changed) == []


def test_what_a_run_left_goes_with_it(tmp_path: Path) -> None:
    _stop(_at(tmp_path), FIRST)
    _stop(_at(tmp_path, name="other", run="run-2"), OTHER)
    remove_run(tmp_path, "run-1")
    assert [kept.folder.name for kept in list_kept(tmp_path)] == [OTHER.folder_name]
