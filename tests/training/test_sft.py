from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.errors import BaseModelError, DatasetError, RecipeError, TrainingError
from flytewheel.models import find_device, load_adapted, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec
from flytewheel.training.feed import feed_rows
from flytewheel.training.report import read_report
from flytewheel.training.rows import IGNORED, sft_rows
from flytewheel.training.sft import make_sft_trainer, train_sft
from flytewheel.training.workplace import Workplace
from tests.tiny_model import build_tiny_model
from tests.training.teaching import base_spec, training_spec, write_teaching_data

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def _adapter_bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ADAPTER]


@pytest.mark.parametrize("packing", [False, True])
def test_batches_carry_loss_on_completions_only(
    packing: bool, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    base = base_spec(base_model)
    tokenizer = load_tokenizer(base)
    rows = sft_rows(Dataset(teaching_data).sft("train"), tokenizer, base.max_length)
    training, device = training_spec(packing=packing), find_device()
    with quiet_libraries():
        trainer = make_sft_trainer(
            rows, sft_rows([], tokenizer, base.max_length), tokenizer, [],
            feed_rows(rows, base, training, seed=1, device=device),
            base=base, training=training, seed=1, device=device, folder=tmp_path,
        )  # fmt: skip
        answers = []
        for batch in trainer.get_train_dataloader():
            assert ("position_ids" in batch) == packing
            for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
                assert (ids[labels != IGNORED] == labels[labels != IGNORED]).all()
                answers += tokenizer.decode(labels[labels != IGNORED]).split("<|im_end|>")[:-1]
    assert sorted(answers) == sorted("restart " * (1 + n % 5) + "now" for n in range(48))


def test_sft_lowers_the_loss_and_publishes_only_the_adapter(sft_adapter: Path, base_model: Path) -> None:
    report = read_report(sft_adapter / "report.json")
    assert sorted(path.name for path in sft_adapter.iterdir()) == [*ADAPTER, "report.json"]
    assert (report.method, report.rows, report.steps, report.resumed_from_step) == ("sft", 48, 24, 0)
    assert report.first_loss is not None
    assert report.last_loss is not None
    assert report.eval_loss is not None
    assert report.last_loss < 0.5 * report.first_loss
    assert report.eval_loss < 0.5 * report.first_loss
    assert [point["step"] for point in report.curve if "loss" in point] == list(range(1, 25))
    assert "cpu" in report.device
    assert report.batches is not None
    assert (report.batches["rows"], report.batches["steps_per_epoch"], report.truncation) == (48, 12, "")
    assert report.batches["padded_tokens"] >= report.batches["tokens"] > report.batches["loss_tokens"] > 0
    with quiet_libraries():
        model: Any = load_adapted(base_spec(base_model), sft_adapter)
    assert list(model.peft_config) == ["default"]


def test_the_adapter_config_names_the_base_not_a_path(sft_adapter: Path, base_model: Path) -> None:
    text = (sft_adapter / "adapter_config.json").read_text()
    config = json.loads(text)
    assert config["base_model_name_or_path"] == base_model.name
    assert str(base_model.parent) not in text
    assert config["target_modules"] == sorted(config["target_modules"])


def test_the_commit_of_a_hub_model_is_recorded(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache as the hub's client lays it out; the tests have no network."""
    commit = "5f7ef6c9d1a5c6a8ea1a2c0a3b2f0c9b0a7d4e11"
    cached = tmp_path / "hub" / "models--someone--small"
    shutil.copytree(base_model, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    base = BaseModelSpec(model="someone/small", max_length=128)
    report = train_sft(
        write_teaching_data(tmp_path / "data", rows=8), tmp_path / "out", base=base,
        training=training_spec(max_steps=1), seed=1, at=Workplace(tmp_path / "checkpoints"),
    )  # fmt: skip
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    (manifest,) = tmp_path.glob("checkpoints/*/manifest.json")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["base"] == report.base == commit
    assert json.loads(manifest.read_text())["recipe"]["base_digest"] == commit
    assert (config["base_model_name_or_path"], config["revision"]) == ("someone/small", commit)
    with quiet_libraries():
        assert load_adapted(base, tmp_path / "out").name_or_path.endswith(commit)
    moved = commit[::-1]
    (cached / "snapshots" / commit).rename(cached / "snapshots" / moved)
    (cached / "refs" / "main").write_text(moved)
    with pytest.raises(
        BaseModelError, match=f"trained on commit {commit}, base.model is {moved} now; pin base.revision"
    ):
        load_adapted(base, tmp_path / "out")


def test_a_finished_training_is_returned_at_once(base_model: Path, tmp_path: Path) -> None:
    data = write_teaching_data(tmp_path / "data", rows=8)
    steps: list[int] = []
    options: dict[str, Any] = {
        "base": base_spec(base_model), "training": training_spec(max_steps=2), "seed": 1,
        "at": Workplace(tmp_path / "checkpoints", progress=lambda what, done, total: steps.append(done)),
    }  # fmt: skip
    first = train_sft(data, tmp_path / "one", **options)
    assert steps == [0, 1, 2]
    again = train_sft(data, tmp_path / "two", **options)
    assert steps == [0, 1, 2]
    assert again == first
    assert _adapter_bytes(tmp_path / "one") == _adapter_bytes(tmp_path / "two")
    other = train_sft(data, tmp_path / "three", **{**options, "seed": 2})
    assert other.adapter_digest != first.adapter_digest


def test_a_training_that_diverges_publishes_nothing(base_model: Path, tmp_path: Path) -> None:
    data = write_teaching_data(tmp_path / "data", rows=8)
    with pytest.raises(TrainingError, match=r"^sft diverged: \d+ of \d+ trained tensors are not finite after 4 steps"):
        train_sft(
            data, tmp_path / "out", base=base_spec(base_model), training=training_spec(max_steps=4, learning_rate=1e38),
            seed=1, at=Workplace(tmp_path / "checkpoints"),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "checkpoints").rglob("finished"))


def test_a_killed_training_goes_on_to_the_same_bytes(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    import torch

    spec = training_spec(epochs=8.0)
    child = subprocess.Popen(
        [
            sys.executable, str(Path(__file__).with_name("train_child.py")), str(base_model), str(teaching_data),
            str(tmp_path), str(torch.get_num_threads()),
        ]
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 180
        while not list(tmp_path.glob("checkpoints/sft-*/checkpoint-10/complete")):
            assert child.poll() is None, "the child ended before it could be killed"
            assert time.monotonic() < deadline, "no checkpoint within 180 s"
            time.sleep(0.01)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    (folder,) = tmp_path.glob("checkpoints/sft-*")
    assert not (folder / "finished").exists()
    torn = folder / "checkpoint-95"
    torn.mkdir(exist_ok=True)
    (torn / "adapter_model.safetensors").write_bytes(b"half")

    options: dict[str, Any] = {"base": base_spec(base_model), "training": spec, "seed": 5}
    steps: list[int] = []
    resumed = train_sft(
        teaching_data, tmp_path / "out", **options,
        at=Workplace(tmp_path / "checkpoints", progress=lambda what, done, total: steps.append(done)),
    )  # fmt: skip
    straight = train_sft(teaching_data, tmp_path / "straight", at=Workplace(tmp_path / "fresh"), **options)
    assert 10 <= resumed.resumed_from_step < 96
    assert steps == list(range(resumed.resumed_from_step, 97))
    assert straight.resumed_from_step == 0
    assert resumed.steps == straight.steps == 96
    assert _adapter_bytes(tmp_path / "out") == _adapter_bytes(tmp_path / "straight")
    assert resumed.eval_loss == straight.eval_loss

    # Killed between the last step and the publishing: nothing is trained again.
    shutil.rmtree(folder / "finished")
    last = train_sft(
        teaching_data, tmp_path / "last", **options,
        at=Workplace(tmp_path / "checkpoints", progress=lambda what, done, total: pytest.fail("trained again")),
    )  # fmt: skip
    assert last.resumed_from_step == 96
    assert _adapter_bytes(tmp_path / "last") == _adapter_bytes(tmp_path / "straight")
    kept = sorted(path.name for path in folder.glob("checkpoint-*"))
    assert kept == ["checkpoint-90", "checkpoint-95", "checkpoint-96"]


def test_a_packed_training_keeps_the_steps_and_learns_as_much(base_model: Path, tmp_path: Path) -> None:
    """16 rows of about 63 tokens in steps of 4: four sequences of at most 280, one a step."""
    data = write_teaching_data(tmp_path / "data", rows=16)
    reports = {}
    for packing in (False, True):
        spec = training_spec(packing=packing, epochs=3.0, gradient_accumulation=2, batch_size=2)
        reports[packing] = train_sft(
            data, tmp_path / f"{packing}", base=base_spec(base_model, max_length=280), training=spec, seed=1,
            at=Workplace(tmp_path / "checkpoints"),
        )  # fmt: skip
    one, packed = reports[False], reports[True]
    assert one.batching == ""
    assert packed.batching.startswith("packed 16 rows into 4 sequences, 4 each; a step takes 1 x 1 sequences, 4 rows")
    assert one.steps == packed.steps == 12
    assert packed.eval_loss is not None
    assert packed.eval_loss == pytest.approx(one.eval_loss, rel=0.1)


def test_what_does_not_fit_is_counted_and_said(base_model: Path, tmp_path: Path) -> None:
    """Every fifth of 16 answers is 23 tokens after a prompt of 48 or 49: 71, 71 and 72 tokens."""
    report = train_sft(
        write_teaching_data(tmp_path / "data", rows=16), tmp_path / "out", base=base_spec(base_model, max_length=70),
        training=training_spec(max_steps=1), seed=1, at=Workplace(tmp_path / "checkpoints"),
    )  # fmt: skip
    assert (report.rows, report.truncated_rows, report.truncated_tokens) == (16, 3, 4)
    assert report.truncation.startswith("warning: 3 rows are longer than base.max_length = 70: what is beyond it was")


def test_wrong_inputs_are_refused_in_one_line(base_model: Path, tmp_path: Path) -> None:
    data = write_teaching_data(tmp_path / "data", rows=4)
    options: dict[str, Any] = {"seed": 1, "at": Workplace(tmp_path / "checkpoints")}
    with pytest.raises(RecipeError, match=r"training\.adapter: 'qlora' needs a CUDA device, found cpu"):
        train_sft(
            data, tmp_path / "out", base=base_spec(base_model), training=training_spec(adapter="qlora"), **options
        )
    short = base_spec(base_model, max_length=16)
    with pytest.raises(DatasetError, match=r"16 tokens, found 0 \(4 too long\)"):
        train_sft(data, tmp_path / "out", base=short, training=training_spec(), **options)
    with pytest.raises(BaseModelError, match="no such folder"):
        train_sft(data, tmp_path / "out", base=base_spec(tmp_path / "none"), training=training_spec(), **options)
    assert not (tmp_path / "out").exists()


def test_importing_the_stations_loads_nothing_heavy() -> None:
    code = (
        "import sys, flytewheel.training.sft, flytewheel.training.align, flytewheel.tracking, flytewheel.progress; "
        "print([name for name in ('torch', 'transformers', 'trl', 'peft', 'datasets', 'wandb', 'rich') "
        "if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_tiny_model_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    one, two = (build_tiny_model(tmp_path / name, spread=0.15) for name in ("one", "two"))
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }
