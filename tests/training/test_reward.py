from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError
from flytewheel.models import load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import RewardSpec
from flytewheel.reward_model import load_reward_model
from flytewheel.training.report import TrainingReport, read_report
from flytewheel.training.reward import explain_skipping, reward_rows, train_reward
from flytewheel.training.workplace import Workplace
from tests.training.teaching import (
    DISLIKED,
    LIKED,
    ask,
    base_spec,
    reward_spec,
    rlhf_spec,
    training_spec,
    write_teaching_data,
)

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def _train(model: Path, data: Path, root: Path, name: str = "out", **fields: Any) -> TrainingReport:
    at = fields.pop("at", Workplace(root / f"checkpoints-{name}"))
    return train_reward(
        data, root / name, base=base_spec(model), training=training_spec(), reward=reward_spec(**fields),
        rlhf=rlhf_spec(), seed=3, at=at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reward", "rlhf", "pairs", "reason"),
    [
        ({}, {"method": "grpo"}, 9, "9 of 10 pairs: skipped, too few for a reward model"),
        ({}, {"method": "grpo"}, 10, None),
        ({}, {"method": "dpo"}, 99, "rlhf.method 'dpo' needs no reward model: skipped as reward.enable 'auto' says"),
        ({}, {"method": "grpo", "enable": False}, 99, "rlhf.method 'off' needs no reward model"),
        ({"enable": True}, {"method": "dpo"}, 10, None),
        ({"enable": False}, {"method": "grpo"}, 99, "reward.enable is false: skipped"),
    ],
)
def test_a_reward_model_is_trained_where_it_is_wanted_and_can_be(
    reward: dict[str, Any], rlhf: dict[str, Any], pairs: int, reason: str | None
) -> None:
    found = explain_skipping(RewardSpec(min_pairs=10, **reward), rlhf_spec(**rlhf), pairs)
    assert found is None if reason is None else str(found).startswith(reason)


def test_it_learns_what_people_preferred_and_publishes_the_head(
    reward_model: Path, base_model: Path, teaching_data: Path
) -> None:
    report = read_report(reward_model / "report.json")
    assert sorted(path.name for path in reward_model.iterdir()) == [*ADAPTER, "report.json"]
    assert (report.method, report.rows, report.reason) == ("reward", 32, "32 pairs")
    assert report.first_loss == pytest.approx(math.log(2), abs=1e-6)  # the head begins at zero: no answer is preferred
    assert report.last_loss is not None
    assert report.last_loss < 0.3
    assert report.held_out["pairs"] == 8
    assert report.held_out["accuracy"]["estimate"] == 1
    assert report.held_out["log_loss"] == pytest.approx(report.eval_loss, abs=1e-5)  # TRL's own figure is the oracle
    assert report.held_out["note"].startswith("only 8 held-out pairs")
    weights = load_file(reward_model / ADAPTER[1])
    assert weights["base_model.model.score.weight"].shape == (1, 64)
    assert abs(weights["base_model.model.score.weight"]).max() > 0
    assert json.loads((reward_model / ADAPTER[0]).read_text())["base_model_name_or_path"] == base_model.name

    with quiet_libraries():
        judge = load_reward_model(base_spec(base_model), reward_model)
    liked, disliked = judge.score([ask(100)] * 2, [LIKED, DISLIKED])
    assert liked - disliked > 1


def test_an_interrupted_training_goes_on_to_the_same_bytes(
    base_model: Path, teaching_data: Path, reward_model: Path, tmp_path: Path
) -> None:
    def power_cut(what: str, done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    root = Workplace(tmp_path / "c")
    with pytest.raises(KeyboardInterrupt):
        _train(base_model, teaching_data, tmp_path, at=Workplace(root.checkpoints, progress=power_cut))
    resumed = _train(base_model, teaching_data, tmp_path, at=root)
    assert resumed.resumed_from_step == 3
    assert [(tmp_path / "out" / name).read_bytes() for name in ADAPTER] == [
        (reward_model / name).read_bytes() for name in ADAPTER
    ]
    assert resumed.held_out == read_report(reward_model / "report.json").held_out
    (manifest,) = (tmp_path / "c").glob("reward-*/manifest.json")
    assert json.loads(manifest.read_text())["station"] == "reward"


def test_with_too_few_pairs_a_report_says_so_and_nothing_is_trained(base_model: Path, tmp_path: Path) -> None:
    data = write_teaching_data(tmp_path / "data", pairs=4)
    report = _train(base_model, data, tmp_path)
    assert (report.method, report.reason) == ("skipped", "4 of 10 pairs: skipped, too few for a reward model")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]
    assert read_report(tmp_path / "out" / "report.json") == report
    assert not (tmp_path / "checkpoints-out").exists()


def test_pairs_that_do_not_fit_are_dropped_and_counted(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    tokenizer: Any = load_tokenizer(base_spec(base_model))
    pairs = Dataset(teaching_data).preferences("train")
    lengths = [max(len(row) for row in sides) for sides in _ids(reward_rows(pairs, tokenizer, 512))]
    kept = reward_rows(pairs, tokenizer, max(lengths) - 1)
    assert kept.truncated == lengths.count(max(lengths)) > 0
    assert kept.table["length"] == [length for length in lengths if length < max(lengths)]
    assert all(tokenizer.decode(chosen).endswith("restart it<|im_end|>") for chosen, _ in _ids(kept))
    with pytest.raises(DatasetError, match="all 32 are longer"):
        train_reward(
            teaching_data, tmp_path / "out", base=base_spec(base_model, max_length=16), training=training_spec(),
            reward=reward_spec(), rlhf=rlhf_spec(), seed=1, at=Workplace(tmp_path / "c"),
        )  # fmt: skip


def _ids(rows: Any) -> list[tuple[list[int], list[int]]]:
    return list(zip(rows.table["chosen_ids"], rows.table["rejected_ids"], strict=True))
