from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset, part_file, write_rows
from flytewheel.errors import BaseModelError, DatasetError
from flytewheel.recipe import GrpoSpec
from flytewheel.records import Message, Trajectory
from flytewheel.training.align import align, choose_method
from flytewheel.training.grpo import count_steps, look_at_prompts, prompt_rows
from flytewheel.training.report import TrainingReport, read_report
from flytewheel.training.reward import train_reward
from flytewheel.training.workplace import Workplace
from tests.tiny_model import build_tiny_model
from tests.training.teaching import ask, base_spec, reward_spec, rlhf_spec, training_spec, write_teaching_data

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def _adapter_bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ADAPTER]


def _align(model: Path, data: Path, sft: Path | None, out: Path, at: Workplace, **options: Any) -> TrainingReport:
    judge = options.pop("reward_model", None)
    training = training_spec(lr_scheduler="constant")
    rlhf = rlhf_spec(**{"method": "grpo", "batch_size": 8, "max_steps": 6, **options})
    return align(data, sft, out, base=base_spec(model), training=training, rlhf=rlhf, seed=3, at=at, reward_model=judge)


def test_without_a_reward_model_the_fallback_says_why() -> None:
    rlhf = rlhf_spec(method="grpo")
    assert choose_method(rlhf, 0, 0, 0, judge=True).reason == "a reward model judges: grpo as rlhf.method says"
    few = choose_method(rlhf, 99, 8, 8, no_judge="4 of 10 pairs: skipped, too few")
    assert few.method == "kto"
    assert few.reason == (
        "no reward model (4 of 10 pairs: skipped, too few), 16 of 10 unpaired: kto as rlhf.fallback says"
    )
    assert choose_method(rlhf_spec(method="grpo", fallback="skip"), 99, 8, 8).method == "skipped"
    assert choose_method(rlhf_spec(method="dpo"), 99, 8, 8, judge=True).method == "dpo"


def test_the_reason_why_there_is_no_reward_model_reaches_the_report(
    base_model: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    data = write_teaching_data(tmp_path / "data", pairs=4)
    train_reward(
        data, tmp_path / "reward", base=base_spec(base_model), training=training_spec(), reward=reward_spec(),
        rlhf=rlhf_spec(method="grpo"), seed=3, at=Workplace(tmp_path / "c"),
    )  # fmt: skip
    at = Workplace(tmp_path / "c")
    reasons = []
    for folder in (tmp_path / "reward", None):
        report = _align(base_model, data, sft_adapter, tmp_path / "out", at, reward_model=folder, fallback="skip")
        assert report.method == "skipped"
        assert _adapter_bytes(tmp_path / "out") == _adapter_bytes(sft_adapter)
        reasons.append(report.reason.partition("), ")[0])
    assert reasons == [
        "no reward model (4 of 10 pairs: skipped, too few for a reward model", "no reward model (not given"
    ]  # fmt: skip


def test_every_prompt_is_asked_once_before_any_is_asked_again() -> None:
    prompts = [ask(number) for number in range(5)]
    asked = [row["prompt"][-1]["content"] for row in prompt_rows(prompts, 12, seed=1).table]
    assert len(asked) == 12
    assert len(set(asked[:5])) == len(set(asked[5:10])) == 5
    assert asked[:5] != asked[5:10]
    again = [row["prompt"][-1]["content"] for row in prompt_rows(prompts, 12, seed=1).table]
    assert asked == again


def test_steps_come_from_prompts_and_epochs() -> None:
    """8 answers x 2 in groups of 4: 4 prompts a step; 10 prompts twice take 5 steps."""
    rlhf = rlhf_spec(method="grpo", batch_size=8, gradient_accumulation=2, epochs=2.0)
    assert count_steps(10, rlhf) == 5
    assert count_steps(10, rlhf_spec(method="grpo", max_steps=7)) == 7


def test_prompts_are_those_of_sft_rows_and_of_every_turn_of_a_trajectory(teaching_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(teaching_data, tmp_path / "data"))
    told = (*ask(0), Message(role="assistant", content="restart it"), Message(role="user", content="and then?"))
    session = Trajectory("t", "u", "alerts", (*told, Message(role="assistant", content="wait")), (1.0, None), 1.0)
    write_rows(part_file(data, "trajectory", "train"), "trajectory", [session])
    prompts = [row.prompt for row in look_at_prompts(Dataset(data), rlhf_spec(), None).train]
    assert prompts == [*(ask(number) for number in range(48)), told]  # ask(0) is there once


def test_grpo_raises_the_reward_and_holds_the_base_once(
    base_model: Path, teaching_data: Path, sft_adapter: Path, reward_model: Path, tmp_path: Path
) -> None:
    report = _align(
        base_model, teaching_data, sft_adapter, tmp_path / "out", Workplace(tmp_path / "c"),
        reward_model=reward_model, max_steps=30, learning_rate=1e-2, batch_size=32, checkpoint_every=30,
        grpo=GrpoSpec(group_size=8, max_answer_tokens=12, kl_weight=0.001),
    )  # fmt: skip
    assert (report.method, report.rows, report.steps) == ("grpo", 48, 30)
    assert report.reason == "a reward model judges: grpo as rlhf.method says"
    found = report.held_out
    assert found["prompts"] == 12
    assert found["reward_end"] > found["reward_start"]
    assert found["reward_gain"]["low"] > 0
    assert found["kl"] > 0
    assert report.curve[0]["kl"] == pytest.approx(0, abs=1e-6)  # at step 0 policy and reference are the same
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*ADAPTER, "report.json"]
    assert read_report(tmp_path / "out" / "report.json") == report
    (last,) = tmp_path.glob("c/align-*/checkpoint-30")
    assert {path.name for path in last.iterdir() if path.is_dir()} == {"ref", "reward"}
    kept = (last / "reward" / ADAPTER[1]).stat().st_size
    assert kept < 0.5 * (base_model / "model.safetensors").stat().st_size
    assert _adapter_bytes(tmp_path / "out") != _adapter_bytes(sft_adapter)


def test_an_interrupted_training_goes_on_to_the_same_bytes(
    base_model: Path, teaching_data: Path, sft_adapter: Path, reward_model: Path, tmp_path: Path
) -> None:
    """Over the end of an epoch: 7 prompts, 2 a step, and sampling that goes on where the checkpoint left it."""
    data = write_teaching_data(tmp_path / "data", rows=7)

    def power_cut(what: str, done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"reward_model": reward_model, "max_steps": 8, "checkpoint_every": 4}
    with pytest.raises(KeyboardInterrupt):
        _align(
            base_model, data, sft_adapter, tmp_path / "out", Workplace(tmp_path / "c", progress=power_cut), **options
        )
    resumed = _align(base_model, data, sft_adapter, tmp_path / "out", Workplace(tmp_path / "c"), **options)
    straight = _align(base_model, data, sft_adapter, tmp_path / "straight", Workplace(tmp_path / "d"), **options)
    assert (resumed.resumed_from_step, straight.resumed_from_step) == (4, 0)
    assert _adapter_bytes(tmp_path / "out") == _adapter_bytes(tmp_path / "straight")
    assert resumed.held_out == straight.held_out
    (manifest,) = tmp_path.glob("c/align-*/manifest.json")
    assert json.loads(manifest.read_text())["recipe"]["reward_model"]


def test_without_sft_the_reference_is_the_base(
    base_model: Path, teaching_data: Path, reward_model: Path, tmp_path: Path
) -> None:
    report = _align(
        base_model, teaching_data, None, tmp_path / "out", Workplace(tmp_path / "c"), reward_model=reward_model,
        max_steps=2,
    )  # fmt: skip
    assert (report.method, report.steps) == ("grpo", 2)
    assert report.curve[0]["kl"] == pytest.approx(0, abs=1e-6)


def test_wrong_inputs_are_refused_in_one_line(
    base_model: Path, teaching_data: Path, sft_adapter: Path, reward_model: Path, tmp_path: Path
) -> None:
    at = Workplace(tmp_path / "c")
    with pytest.raises(DatasetError, match=r"expected prompts of at most 8 tokens .*, found 0 of 48; raise base"):
        _align(
            base_model, teaching_data, sft_adapter, tmp_path / "out", at, reward_model=reward_model,
            grpo=GrpoSpec(group_size=4, max_answer_tokens=120),
        )  # fmt: skip
    with pytest.raises(BaseModelError, match="its adapter has no scalar head"):
        _align(base_model, teaching_data, sft_adapter, tmp_path / "out", at, reward_model=sft_adapter)
    other = build_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(BaseModelError, match="was trained on the base"):
        _align(other, teaching_data, None, tmp_path / "out", at, reward_model=reward_model)
    assert not (tmp_path / "out").exists()
