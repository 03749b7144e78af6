"""Checkpoints in a real S3 store: complete ones only, the newest few, and another machine goes on from them."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import CheckpointError, DivergedError, StoreError
from flytewheel.training.checkpoints import Checkpoints, Manifest, open_checkpoints
from flytewheel.training.sft import train_sft
from flytewheel.training.uploads import StoredCheckpoints, list_copies, remove_copies
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, training_spec

MANIFEST = Manifest(station="sft", data="a" * 64, recipe={"training": {"lora_rank": 16}}, seed=7)


class Failing:
    """A store whose uploads of the given steps fail, or wait until they may go on."""

    def __init__(self, store: Any, *, fails: tuple[int, ...] = (), waits: int | None = None) -> None:
        self._store, self._fails, self._waits = store, fails, waits
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_file(self, key: str, path: Path) -> str:
        step = int(key.split("/checkpoint-")[1].partition("-")[0])
        if step in self._fails:
            raise StoreError("object store is not reachable (connection refused); start it")
        if step == self._waits:
            self.begun.set()
            assert self.go_on.wait(30)
        return str(self._store.put_file(key, path))


def _at(root: Path, store: Any, **options: Any) -> Workplace:
    return Workplace(root, store=store, **{"name": "oncall", "run": "run-1", **options})


def _write(checkpoints: Checkpoints, step: int, keep: int = 2) -> None:
    path = checkpoints.folder / f"checkpoint-{step}"
    (path / "ref").mkdir(parents=True)
    (path / "optimizer.pt").write_bytes(f"state {step}".encode())
    (path / "ref" / "adapter_config.json").write_text("{}")
    checkpoints.mark(step, keep)


def _stored(store: Any) -> StoredCheckpoints:
    return StoredCheckpoints(store, MANIFEST.folder_name)


def _steps(store: Any) -> list[int]:
    return [step for step, _ in _stored(store).complete()]


def _newest(root: Path, store: Any, **options: Any) -> str | None:
    with open_checkpoints(_at(root, store, **options), MANIFEST) as checkpoints:
        newest = checkpoints.newest()
    return newest.name if newest else None


def test_complete_checkpoints_are_uploaded_and_the_last_ones_kept(tmp_path: Path, store: Any) -> None:
    for step in (5, 10, 15):
        with open_checkpoints(_at(tmp_path / "here", store), MANIFEST) as checkpoints:
            _write(checkpoints, step)
    assert _steps(store) == [10, 15]
    assert not [key for key in store.list("checkpoints/") if "/checkpoint-5-" in key]
    assert _newest(tmp_path / "there", store) == "checkpoint-15"
    here, there = (
        {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("checkpoint-15/**/*")
            if path.is_file()
        }
        for root in (tmp_path / "here", tmp_path / "there")
    )
    assert here == there
    assert len(here) == 3


def test_the_newer_of_here_and_there_is_gone_on_from(tmp_path: Path, store: Any) -> None:
    with open_checkpoints(_at(tmp_path / "here", store), MANIFEST) as checkpoints:
        _write(checkpoints, 5)
    with open_checkpoints(_at(tmp_path / "there", store), MANIFEST) as checkpoints:
        _write(checkpoints, 10)
    assert _newest(tmp_path / "here", store) == "checkpoint-10"
    with open_checkpoints(_at(tmp_path / "here", None), MANIFEST) as checkpoints:
        _write(checkpoints, 15)
    assert _newest(tmp_path / "here", store) == "checkpoint-15"


def test_half_a_copy_does_not_exist(tmp_path: Path, store: Any) -> None:
    with open_checkpoints(_at(tmp_path / "here", store), MANIFEST) as checkpoints:
        _write(checkpoints, 5)
    store.put_bytes(f"checkpoints/{MANIFEST.folder_name}/checkpoint-10-abcdef/optimizer.pt", b"half")
    assert _newest(tmp_path / "there", store) == "checkpoint-5"


def test_a_copy_that_was_touched_is_refused_by_name(tmp_path: Path, store: Any) -> None:
    with open_checkpoints(_at(tmp_path / "here", store), MANIFEST) as checkpoints:
        _write(checkpoints, 5)
    (key,) = [key for key in store.list("checkpoints/") if key.endswith("optimizer.pt")]
    store.put_bytes(key, b"planted")
    with pytest.raises(CheckpointError, match=r"checkpoint-5-\w+/optimizer.pt: was changed since .*or take --fresh"):
        open_checkpoints(_at(tmp_path / "there", store), MANIFEST).__enter__()
    assert not list(tmp_path.glob("there/*/checkpoint-5"))
    assert _newest(tmp_path / "there", store, fresh="execution-1") is None


def test_copies_of_other_code_are_refused_by_name(tmp_path: Path, store: Any) -> None:
    other = replace(MANIFEST, code={**MANIFEST.code, "torch": "1.0"})
    with open_checkpoints(_at(tmp_path / "here", store), other) as checkpoints:
        _write(checkpoints, 5)
    with pytest.raises(
        CheckpointError, match=r"in the object store\), but code\.torch is '2\..*' here and '1\.0' there"
    ):
        open_checkpoints(_at(tmp_path / "there", store), MANIFEST).__enter__()
    assert _newest(tmp_path / "there", store, fresh="execution-1") is None
    assert _steps(store) == []


def test_a_fresh_start_on_another_machine_is_not_begun_again_by_a_retry(tmp_path: Path, store: Any) -> None:
    with open_checkpoints(_at(tmp_path / "old", store), MANIFEST) as checkpoints:
        _write(checkpoints, 50)
    with open_checkpoints(_at(tmp_path / "one", store, fresh="execution-1"), MANIFEST) as checkpoints:
        assert checkpoints.newest() is None
        _write(checkpoints, 5)
    assert _newest(tmp_path / "two", store, fresh="execution-1") == "checkpoint-5"
    assert _newest(tmp_path / "old", store, fresh="execution-1") == "checkpoint-5"  # where the old one still lay


def test_a_failed_upload_costs_a_line_and_the_next_is_tried(
    tmp_path: Path, store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_checkpoints(_at(tmp_path, Failing(store, fails=(5,))), MANIFEST) as checkpoints:
        _write(checkpoints, 5)
    with open_checkpoints(_at(tmp_path, Failing(store, fails=(5,))), MANIFEST) as checkpoints:
        _write(checkpoints, 10)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: checkpoint 5 is not in the object store, training goes on (object store is not")
    assert _steps(store) == [10]


def test_training_goes_on_while_one_is_uploaded_and_the_last_is_waited_for(tmp_path: Path, store: Any) -> None:
    slow = Failing(store, waits=5)
    with open_checkpoints(_at(tmp_path, slow), MANIFEST) as checkpoints:
        _write(checkpoints, 5, keep=1)
        assert slow.begun.wait(30)
        for step in (10, 15):
            _write(checkpoints, step, keep=1)
        kept = sorted(path.name for path in checkpoints.complete())
        slow.go_on.set()
    assert kept == ["checkpoint-15", "checkpoint-5"]  # the one at work stays; 10 was passed over
    assert _steps(store) == [15]


def test_a_defect_in_uploading_is_not_swallowed(tmp_path: Path, store: Any) -> None:
    class Broken(Failing):
        def put_file(self, key: str, path: Path) -> str:
            raise TypeError("a defect")

    with (
        pytest.raises(TypeError, match="a defect"),
        open_checkpoints(_at(tmp_path, Broken(store)), MANIFEST) as checkpoints,
    ):
        _write(checkpoints, 5)


def test_copies_go_with_their_run_and_with_a_training_that_diverged(tmp_path: Path, store: Any) -> None:
    with open_checkpoints(_at(tmp_path, store), MANIFEST) as checkpoints:
        _write(checkpoints, 5)
    other = replace(MANIFEST, seed=8)
    diverged = pytest.raises(DivergedError)
    with diverged, open_checkpoints(_at(tmp_path, store, name="other", run="run-2"), other) as checkpoints:
        _write(checkpoints, 5)
        raise DivergedError("sft diverged")
    assert [(stored.name, about["run"]) for stored, about in list_copies(store)] == [(MANIFEST.folder_name, "run-1")]
    remove_copies(store, "run-1")
    assert store.list("checkpoints/") == []


def test_a_machine_that_is_lost_is_replaced_and_ends_with_the_same_bytes(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path, store: Any
) -> None:
    def train(root: Path, **options: Any) -> Any:
        return train_sft(
            teaching_data, root / "out", base=base_spec(base_model), training=training_spec(), seed=3,
            at=_at(root / "checkpoints", store, **options),
        )  # fmt: skip

    def interrupt(what: str, done: int, total: int | None) -> None:
        if done == 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "lost", progress=interrupt)
    shutil.rmtree(tmp_path / "lost")
    report = train(tmp_path / "next")
    assert report.resumed_from_step == 15
    name = "adapter_model.safetensors"
    assert (tmp_path / "next" / "out" / name).read_bytes() == (sft_adapter / name).read_bytes()
    assert _steps_of(store) == [15, 20, 24]
    # Lost again, after the end but before the task had handed on its result: nothing is trained once more.
    shutil.rmtree(tmp_path / "next")
    assert train(tmp_path / "third", progress=lambda *_: pytest.fail("trained again")).resumed_from_step == 24


def _steps_of(store: Any) -> list[int]:
    ((stored, _),) = list_copies(store)
    return [step for step, _ in stored.complete()]
