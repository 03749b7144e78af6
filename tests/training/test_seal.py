"""Only what training wrote is read back, and even then it runs nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import CheckpointError
from flytewheel.training.seal import SEAL, check_seal, read_seal, write_seal
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.hostile import WRAPPINGS
from tests.training.teaching import base_spec, training_spec


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint-5"
    (folder / "ref").mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "ref" / "adapter_config.json").write_text("{}")
    write_seal(folder, 5)
    return folder


def test_a_checkpoint_that_nobody_touched_passes(sealed: Path) -> None:
    check_seal(sealed)
    assert [path.name for path in sealed.iterdir() if path.name.startswith(".")] == []
    assert set(json.loads((sealed / SEAL).read_text())["files"]) == {"optimizer.pt", "ref/adapter_config.json"}


@pytest.mark.parametrize(
    ("touch", "message"),
    [
        (lambda folder: (folder / "optimizer.pt").write_bytes(b"stata"), r"optimizer\.pt: was changed"),
        (lambda folder: (folder / "ref" / "adapter_config.json").unlink(), r"adapter_config\.json: is missing"),
        (lambda folder: (folder / "scaler.pt").write_bytes(b"new"), r"scaler\.pt: was added"),
        (lambda folder: (folder / SEAL).write_text("5\n"), "complete: expected the digests"),
        (lambda folder: (folder / SEAL).write_text(""), "complete: expected the digests"),
        (lambda folder: (folder / SEAL).write_text('{"files": 3}'), "complete: expected the digests"),
    ],
)
def test_what_was_touched_is_refused_by_name(touch: Callable[[Path], Any], message: str, sealed: Path) -> None:
    touch(sealed)
    with pytest.raises(CheckpointError, match=f"{message}.*; remove .*checkpoint-5 to go on") as caught:
        check_seal(sealed)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def stopped(base_model: Path, teaching_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped after some checkpoints."""
    root = tmp_path_factory.mktemp("stopped")

    def stop(what: str, done: int, total: int | None) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(base_model, teaching_data, root, progress=stop)
    assert list(root.glob("checkpoints/*/checkpoint-10/complete"))
    return root


def _train(base: Path, data: Path, root: Path, **options: Any) -> Any:
    return train_sft(
        data, root / "out", base=base_spec(base), training=training_spec(), seed=5,
        at=Workplace(root / "checkpoints", **options),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["rng_state.pth", "optimizer.pt", "scheduler.pt"])
@pytest.mark.parametrize("wrapping", ["protocol 2", "torch.save", "torch.save, old"])
def test_a_planted_pickle_is_not_resumed_from(
    name: str, wrapping: str, stopped: Path, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    """With the seal as it was: one line. With a seal forged to fit: transformers' own lock holds, and nothing runs."""
    root, mark = Path(shutil.copytree(stopped, tmp_path / "root")), tmp_path / "mark"
    (planted,) = root.glob(f"checkpoints/*/checkpoint-10/{name}")
    planted.write_bytes(WRAPPINGS[wrapping](mark))
    with pytest.raises(CheckpointError, match=f"{name}: was changed since training wrote the checkpoint"):
        _train(base_model, teaching_data, root)
    assert not mark.exists()
    write_seal(planted.parent, 10, read_seal(planted.parent)["training"])
    with pytest.raises(CheckpointError, match="cannot be resumed from"):
        _train(base_model, teaching_data, root)
    assert not mark.exists()


def test_an_untouched_one_is(stopped: Path, base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(stopped, tmp_path / "root"))
    assert _train(base_model, teaching_data, root).resumed_from_step == 10
