"""What a training tells of itself, on real trainings of the tiny model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.models import load_tokenizer
from flytewheel.training.align import align
from flytewheel.training.footprint import Footprint, read_resident_peak
from flytewheel.training.meter import Meter, count_tokens
from flytewheel.training.report import TrainingReport
from flytewheel.training.rows import sft_rows
from flytewheel.training.sft import train_sft
from flytewheel.training.watcher import measured
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec

FIGURES = {"num_tokens", "tokens_per_s", "useful_tokens_per_s", "useful_share", "loss_share", "memory_gib"}
REWARDS = {"rewards/chosen", "rewards/rejected", "rewards/margins"}


class Interrupted(Exception):  # noqa: N818 (no error of ours)
    pass


def points(report: TrainingReport) -> list[dict[str, float]]:
    return [point for point in report.curve if "loss" in point]


# ------------------------------------------------------------------------------------------------------ counting


def test_tokens_are_counted_by_what_a_batch_holds() -> None:
    """Rows of 4 and 2 tokens, padded to 4: 8 computed, 6 real; loss on the last 2 of the first and 1 of the second."""
    import torch

    ids = torch.ones(2, 4, dtype=torch.int64)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    labels = torch.tensor([[-100, -100, 5, 6], [-100, 7, -100, -100]])
    completion = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 0]])
    supervised = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    preference = {"input_ids": ids, "attention_mask": mask, "completion_mask": completion}
    assert count_tokens(supervised).tolist() == [6, 3, 8]
    assert count_tokens(preference).tolist() == [6, 3, 8]
    assert count_tokens({"input_ids": ids, "attention_mask": mask}).tolist() == [6, 0, 8]
    # Packed: no padding, and a mask of another shape says which row a token belongs to, not whether it is one.
    blocks = torch.ones(1, 1, 8, 8)
    assert count_tokens({"input_ids": ids.view(1, 8), "labels": labels.view(1, 8)}).tolist() == [8, 3, 8]
    assert count_tokens({"input_ids": ids.view(1, 8), "attention_mask": blocks}).tolist() == [8, 0, 8]
    assert count_tokens([{"prompt": "what?"}]) is None


def test_speed_is_of_steps_alone_and_totals_go_on() -> None:
    """Two steps of two batches, 12 real of 16 tokens in 2 s each; the 50 s of a validation after each do not count."""
    import torch

    batch = {"input_ids": torch.ones(2, 4), "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])}
    now = [0.0]
    trainer: Any = SimpleNamespace(
        get_batch_samples=lambda *_: ([batch, batch], None), accelerator=SimpleNamespace(num_processes=1)
    )
    meter = Meter(clock=lambda: now[0])
    meter.attach(trainer)
    meter.restore([100.0, 0.0, 200.0, 7.0])
    for _ in range(2):
        assert trainer.get_batch_samples("rows", 2, "cpu") == ([batch, batch], None)
        now[0] += 2
        meter.end_step()
        now[0] += 50
    assert meter.settle() == [124, 0, 232, 11]
    assert meter.take() == {"num_tokens": 124, "useful_share": 0.75, "tokens_per_s": 8.0, "useful_tokens_per_s": 6.0}
    assert meter.totals == [124, 0, 232, 11]
    assert meter.take() == {}


def test_memory_is_the_peak_since_it_began() -> None:
    footprint = Footprint("cpu")
    bytearray(b"1" * (256 << 20))
    whole = read_resident_peak()
    footprint.begin()
    before = footprint.read()
    held = bytearray(b"1" * (64 << 20))
    after = footprint.read()
    del held
    assert footprint.read() >= after >= before + (48 << 20)
    assert whole - before >= 128 << 20  # what was freed before is not this training's


def test_names_are_the_same_for_every_method() -> None:
    assert measured({"accuracy": 0.5, "eval_margin": 1.5, "train_loss": 1.0, "loss": float("nan"), "step": 3}) == {
        "rewards/accuracies": 0.5, "eval_rewards/margins": 1.5, "step": 3,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------- trainings


def test_a_point_tells_tokens_speed_shares_and_memory(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    base = base_spec(base_model)
    said: list[str] = []
    report = train_sft(
        teaching_data, tmp_path / "out", base=base, training=training_spec(), seed=3,
        at=Workplace(tmp_path / "checkpoints", describe=lambda what, words: said.append(f"{what}: {words}")),
    )  # fmt: skip
    table = sft_rows(Dataset(teaching_data).sft("train"), load_tokenizer(base), base.max_length).table
    tokens = sum(len(row["input_ids"]) for row in table)
    learnt = sum(sum(label != -100 for label in row["labels"]) for row in table)

    assert all(set(point) >= {"grad_norm", "learning_rate", *FIGURES} for point in points(report))
    assert [point["num_tokens"] for point in points(report)] == sorted(point["num_tokens"] for point in points(report))
    assert report.tokens == points(report)[-1]["num_tokens"] == 2 * tokens  # two epochs
    assert report.mean_useful_share is not None
    assert report.mean_loss_share is not None
    assert report.mean_loss_share / report.mean_useful_share == pytest.approx(learnt / tokens)
    assert 0.5 < report.mean_useful_share <= 1
    assert report.mean_tokens_per_s is not None
    assert report.mean_useful_tokens_per_s == pytest.approx(report.mean_tokens_per_s * report.mean_useful_share)
    assert 0.2 < (report.peak_memory_gib or 0) < 16
    assert all("eval_num_tokens" not in point for point in report.curve)
    assert said[-1].startswith(f"sft: loss {report.last_loss:.4g}, ")
    assert said[-1].endswith(" tokens/s")


@pytest.mark.parametrize("every", [5, 10])
def test_a_resumed_training_counts_on_and_tells_each_point_once(
    base_model: Path, teaching_data: Path, tmp_path: Path, every: int
) -> None:
    """24 steps; stopped in step 13, gone on from 10."""
    training = training_spec(checkpoint_every=every)

    def stop(what: str, done: int, total: int | None) -> None:
        if done == 13:
            raise Interrupted

    def train(name: str, progress: Any = None) -> TrainingReport:
        return train_sft(
            teaching_data, tmp_path / name, base=base_spec(base_model), training=training, seed=3,
            at=Workplace(tmp_path / "checkpoints" / name, progress=progress),
        )  # fmt: skip

    straight = train("straight")
    with pytest.raises(Interrupted):
        train("stopped", stop)
    resumed = train("stopped")
    assert resumed.resumed_from_step == 10
    assert resumed.tokens == straight.tokens
    assert resumed.mean_useful_share == pytest.approx(straight.mean_useful_share)
    assert resumed.mean_loss_share == pytest.approx(straight.mean_loss_share)
    for own, other in zip(points(resumed), points(straight), strict=True):
        assert own["step"] == other["step"]
        assert own["num_tokens"] == other["num_tokens"]
    assert len({point["step"] for point in points(resumed)}) == len(points(resumed))
    assert [p["eval_loss"] for p in resumed.curve if "eval_loss" in p] == [
        p["eval_loss"] for p in straight.curve if "eval_loss" in p
    ]


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_margins_have_one_name_for_both_methods(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path, method: Any
) -> None:
    report = align(
        teaching_data, sft_adapter, tmp_path / "out", base=base_spec(base_model), training=training_spec(),
        rlhf=rlhf_spec(method=method), seed=1, at=Workplace(tmp_path / "checkpoints"),
    )  # fmt: skip
    assert report.method == method
    told = {name for point in points(report) for name in point}
    assert told >= FIGURES | REWARDS
    assert ("rewards/accuracies" in told) == (method == "dpo")  # of unpaired rows none is right or wrong
    validated = {name for point in report.curve for name in point if name.startswith("eval_")}
    assert validated >= {"eval_loss", *(f"eval_{name}" for name in REWARDS)}
    last = [point["rewards/margins"] for point in points(report) if "rewards/margins" in point][-1]
    assert last > 0
