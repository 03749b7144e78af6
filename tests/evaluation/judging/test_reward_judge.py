"""The loop's own reward model as a judge: a real one, taught in seconds, on a tiny base."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flytewheel.dataset import part_file, write_rows
from flytewheel.errors import BaseModelError
from flytewheel.evaluation.evaluate import evaluate
from flytewheel.evaluation.judging.judge import Duel
from flytewheel.evaluation.judging.reward_judge import RewardJudge, compare_rewards, find_reward_model
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, EvaluationSpec, JudgeSpec
from flytewheel.records import Preference, SftRow, duel_id, read_jsonl
from flytewheel.reward_model import load_reward_model
from flytewheel.training.reward import train_reward
from flytewheel.training.workplace import Workplace
from tests.tiny_model import build_tiny_model
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


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_libraries():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSpec:
    return base_spec(build_tiny_model(tmp_path_factory.mktemp("base"), spread=0.15))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_teaching_data(tmp_path_factory.mktemp("data"), rows=8)
    rows = [SftRow(f"test{n}", f"v{n}", "alerts", ask(900 + n), LIKED, 1.0, 0.9, "answer") for n in range(8)]
    pairs = [
        Preference(f"q{n}", f"v{n}", "alerts", ask(900 + n), LIKED, DISLIKED, 2.0, "same_prompt") for n in range(24)
    ]
    write_rows(part_file(folder, "sft", "test"), "sft", rows)
    write_rows(part_file(folder, "preference", "test"), "preference", pairs)
    return folder


@pytest.fixture(scope="module")
def folder(base: BaseModelSpec, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model that prefers `LIKED`; do not write into it."""
    root = tmp_path_factory.mktemp("reward")
    train_reward(
        data, root / "out", base=base, training=training_spec(), reward=reward_spec(max_steps=12), rlhf=rlhf_spec(),
        seed=3, at=Workplace(root / "checkpoints"),
    )  # fmt: skip
    return root / "out"


def duel(ours: str, theirs: str, number: int = 5) -> Duel:
    return Duel(duel_id(ask(number), ours, theirs), "a", "alerts", ask(number), ours, theirs)


def test_the_higher_reward_wins_whichever_side_it_is_on(base: BaseModelSpec, folder: Path) -> None:
    duels = [duel(LIKED, DISLIKED), duel(DISLIKED, LIKED), duel(DISLIKED, LIKED, 77)]
    told: list[tuple[str, int, int | None]] = []
    found = RewardJudge(base, folder).judge(duels, lambda *each: told.append(each))
    assert [each.preference for each in found] == [1.0, 0.0, 0.0]
    assert told[-1] == ("judging", 3, 3)
    model = load_reward_model(base, folder)
    ours, theirs = model.score([ask(5), ask(5)], [LIKED, DISLIKED])
    assert found[0].reason == f"rewards {ours:.3f} and {theirs:.3f}"


def test_rewards_within_the_margin_are_a_tie(base: BaseModelSpec, folder: Path) -> None:
    assert RewardJudge(base, folder, tie_margin=1000.0).judge([duel(LIKED, DISLIKED)])[0].preference == 0.5
    assert [compare_rewards(1.0, theirs, 0.5).preference for theirs in (0.4, 0.5, 1.5, 1.6)] == [1.0, 0.5, 0.5, 0.0]
    assert compare_rewards(0.0, 0.0).preference == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_no_verdict(bad: float) -> None:
    assert compare_rewards(bad, 0.0).preference is None
    assert compare_rewards(0.0, bad).preference is None


def test_what_is_no_reward_model_of_this_base_is_refused(base: BaseModelSpec, folder: Path, tmp_path: Path) -> None:
    other = base_spec(build_tiny_model(tmp_path / "other", seed=9))
    with pytest.raises(BaseModelError, match="was trained on the base"):
        RewardJudge(other, folder)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "report.json").unlink()
    with pytest.raises(BaseModelError, match="names the base"):
        RewardJudge(base, copy)
    assert find_reward_model(None) == (None, "none was handed to the evaluation")
    assert find_reward_model(tmp_path / "nothing") == (None, "nothing holds none")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_evaluation_with_it_tells_who_wins(base: BaseModelSpec, data: Path, folder: Path, tmp_path: Path) -> None:
    spec = EvaluationSpec(
        max_examples=8, max_new_tokens=8, bootstrap_samples=100, judge=JudgeSpec(kind="auto", max_pairs=24)
    )
    full = tmp_path / "full"
    from flytewheel import models

    model = models.load_model(base, dtype="float32")
    for weight in model.parameters():
        weight.data.mul_(0.7)
    model.save_pretrained(str(full))
    found = evaluate(
        data, tmp_path / "out", candidate=full, champion=None, base=base, evaluation=spec, seed=3, reward_model=folder
    )
    details = found.details["judging"]
    assert details["judge"] == "the reward model"
    assert details["agreement"][0]["pairs"] == 24
    assert details["agreement"][0]["share"]["estimate"] > 0.9
    rate = found.metrics["win_rate"]
    lines = [line for line in read_jsonl(tmp_path / "out" / "answers.jsonl") if line["kind"] == "duel"]
    assert rate.candidate.estimate == pytest.approx(sum(line["preference"] for line in lines) / 8)
    assert rate.rows == 8
