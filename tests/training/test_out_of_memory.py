"""Memory runs out in the midst of a training: on the CPU by a limit of the system, and by torch's own error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import TrainingError
from flytewheel.recipe import TrainingSpec
from flytewheel.training import align as alignment
from flytewheel.training import sft
from flytewheel.training.align import align
from flytewheel.training.report import TrainingReport
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec

ADAPTER = "adapter_model.safetensors"


class SmallDevice:
    """Wraps a maker of trainers: from step `after` on, more than `room` rows at once are out of memory."""

    def __init__(self, make: Any, room: int, after: int = 0) -> None:
        self.room = room
        self.after = after
        self.seen: list[int] = []
        self._make = make

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        import torch

        trainer = self._make(*arguments, **options)

        def look(model: Any, inputs: Any, named: dict[str, Any]) -> None:
            rows = int(named["input_ids"].shape[0])
            self.seen.append(rows)
            if rows > self.room and trainer.state.global_step >= self.after:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        trainer.model.register_forward_pre_hook(look, with_kwargs=True)
        return trainer


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return dict(load_file(folder / ADAPTER))


def _distance(one: Path, other: Path) -> float:
    a, b = _weights(one), _weights(other)
    assert a.keys() == b.keys()
    return max(float(abs(a[name] - b[name]).max()) for name in a)


def _train(base_model: Path, data: Path, root: Path, spec: TrainingSpec, **at: Any) -> TrainingReport:
    return train_sft(
        data, root / "out", base=base_spec(base_model), training=spec, seed=5, at=Workplace(root / "c", **at)
    )


@pytest.mark.parametrize("rows", [8, 6])
def test_half_the_rows_at_once_learn_the_same(
    base_model: Path, teaching_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """48 rows of five lengths, so that a mean of means would differ from the mean over tokens."""
    spec = training_spec(batch_size=rows, lora_dropout=0.0, epochs=1.0, checkpoint_every=2, learning_rate=1e-3)
    whole = _train(base_model, teaching_data, tmp_path / "whole", spec)
    device = SmallDevice(sft.make_sft_trainer, room=3, after=3)
    monkeypatch.setattr(sft, "make_sft_trainer", device)
    told: list[tuple[str, int]] = []
    halved = _train(
        base_model,
        teaching_data,
        tmp_path / "halved",
        spec,
        progress=lambda what, done, total: told.append((what, done)),
    )
    left = {8: 2, 6: 3}[rows]
    assert (whole.micro_batch, halved.micro_batch) == (rows, left)
    assert (whole.steps, halved.steps) == (48 // rows, 48 // rows)
    assert halved.fitted[0].startswith(
        f"out of memory after step 3 with micro-batches of {rows}: went on from checkpoi"
    )
    assert halved.fitted[-1].endswith(f"with {rows // left} x {left}, {rows} rows a step as before")
    assert f"sft: {halved.fitted[0]}" in [what for what, _ in told]
    assert _distance(tmp_path / "whole" / "out", tmp_path / "halved" / "out") < 1e-5
    losses = [[point["loss"] for point in report.curve if "loss" in point] for report in (whole, halved)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_pairs_and_thumbs_are_halved_too(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"base": base_spec(base_model), "training": training_spec(), "seed": 3}
    whole = align(
        teaching_data, sft_adapter, tmp_path / "whole", rlhf=rlhf_spec(), at=Workplace(tmp_path / "a"), **options
    )
    make = alignment.make_preference_trainer
    monkeypatch.setattr(alignment, "make_preference_trainer", SmallDevice(make, room=4))
    pairs = align(
        teaching_data, sft_adapter, tmp_path / "pairs", rlhf=rlhf_spec(), at=Workplace(tmp_path / "b"), **options
    )
    assert (whole.micro_batch, pairs.micro_batch) == (4, 2)  # four sequences at once
    assert pairs.steps == whole.steps
    assert _distance(tmp_path / "whole", tmp_path / "pairs") < 1e-5
    thumbs = rlhf_spec(method="kto", batch_size=6, max_steps=2)
    monkeypatch.setattr(alignment, "make_preference_trainer", SmallDevice(make, room=2))
    found = align(teaching_data, sft_adapter, tmp_path / "kto", rlhf=thumbs, at=Workplace(tmp_path / "c"), **options)
    assert (found.method, found.micro_batch) == ("kto", 2)
    monkeypatch.setattr(alignment, "make_preference_trainer", SmallDevice(make, room=1))
    with pytest.raises(
        TrainingError, match=r"^kto: out of memory with a micro-batch of 2 already \(CUDA out of memory"
    ):
        align(teaching_data, sft_adapter, tmp_path / "no", rlhf=thumbs, at=Workplace(tmp_path / "d"), **options)
    assert not (tmp_path / "no").exists()


def test_a_killed_training_remembers_what_fits(
    base_model: Path, teaching_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout draws other numbers for other micro-batches: only with the remembered one are the bytes the same."""
    spec = training_spec(batch_size=8, epochs=1.0, checkpoint_every=1)
    device = SmallDevice(sft.make_sft_trainer, room=4, after=2)
    monkeypatch.setattr(sft, "make_sft_trainer", device)
    straight = _train(base_model, teaching_data, tmp_path / "straight", spec)

    def power_cut(what: str, done: int, total: int | None) -> None:
        if what == "sft" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(base_model, teaching_data, tmp_path / "killed", spec, progress=power_cut)
    (folder,) = tmp_path.glob("killed/c/sft-*")
    journal = json.loads((folder / "journal.json").read_text())
    assert (journal["rows"], len(journal["said"])) == (4, 1)
    (folder / "journal.json").unlink()  # on another machine there are the checkpoints only
    device.seen.clear()
    resumed = _train(base_model, teaching_data, tmp_path / "killed", spec)
    assert max(device.seen) == 4
    assert resumed.resumed_from_step == 3
    assert resumed.fitted == straight.fitted
    assert resumed.total_seconds > resumed.seconds
    assert (tmp_path / "killed" / "out" / ADAPTER).read_bytes() == (
        tmp_path / "straight" / "out" / ADAPTER
    ).read_bytes()


def test_where_one_row_does_not_fit_one_line_says_what_to_do(
    base_model: Path, teaching_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "make_sft_trainer", SmallDevice(sft.make_sft_trainer, room=0))
    with pytest.raises(TrainingError) as caught:
        _train(base_model, teaching_data, tmp_path, training_spec())
    assert str(caught.value).startswith("sft: out of memory with a micro-batch of 1 already (CUDA out of memory. Tried")
    assert "lower base.max_length or training.lora_rank" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits its address space: run it on Linux")
def test_a_process_without_room_goes_on_with_less(teaching_data: Path, tmp_path: Path) -> None:
    """A child whose address space may grow by 140 MB once its trainer is built: 48 rows at once do not fit."""
    child = subprocess.run(
        [
            sys.executable, str(Path(__file__).with_name("cramped_child.py")), "pocket", str(teaching_data),
            str(tmp_path),
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["steps"] == 2
    assert report["micro_batch"] < 48
    assert report["fitted"][0].startswith("out of memory after step 0 with micro-batches of 48")
