"""The loop's own reward model as a judge: our answer wins where its reward is higher.

The reward is on the Bradley-Terry scale (`flytewheel.reward_model`), and only rewards of one prompt are compared. The
model was trained on pairs of the data set's train part, whose users are none of those judged here; but a candidate that
was aligned to the same pairs pleases it more easily than it pleases people, which is what people's labels are for.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Sequence
from pathlib import Path

from flytewheel import models
from flytewheel.evaluation.judging.judge import TIE, Duel, Opinion
from flytewheel.progress import ProgressCallback, quiet_libraries
from flytewheel.recipe import BaseModelSpec
from flytewheel.reward_model import RewardModel, check_reward_model, load_reward_model

_AT_ONCE = 128  # answers between two words about progress


class RewardJudge:
    """Compares rewards.

    Args:
        model: at hand, or what loads it when it is first asked.
        tie_margin: rewards that differ by no more, in nats, are a tie.
    """

    name = "the reward model"

    def __init__(self, base: BaseModelSpec, folder: Path, *, tie_margin: float = 0.0) -> None:
        check_reward_model(base, folder)
        self._base = base
        self._folder = folder
        self._margin = tie_margin
        self._model: RewardModel | None = None

    def judge(self, duels: Sequence[Duel], progress: ProgressCallback | None = None) -> list[Opinion]:
        model = self._load()
        rewards: list[float] = []
        prompts = [duel.prompt for duel in duels for _ in range(2)]
        answers = [answer for duel in duels for answer in (duel.ours, duel.theirs)]
        for start in range(0, len(answers), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            rewards += model.score(prompts[some], answers[some])
            if progress is not None:
                progress("judging", len(rewards) // 2, len(duels))
        return [
            compare_rewards(ours, theirs, self._margin)
            for ours, theirs in zip(rewards[::2], rewards[1::2], strict=True)
        ]

    def _load(self) -> RewardModel:
        if self._model is None:
            gc.collect()  # the models that were judged are let go before
            with quiet_libraries():
                self._model = load_reward_model(self._base, self._folder, device=models.find_device().kind)
        return self._model


def compare_rewards(ours: float, theirs: float, margin: float = 0.0) -> Opinion:
    """The opinion of two rewards of one prompt, in nats; none where either is not finite."""
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return Opinion(None, "a reward that is not finite")
    gap = ours - theirs
    preference = TIE if abs(gap) <= margin else float(gap > 0)
    return Opinion(preference, f"rewards {ours:.3f} and {theirs:.3f}")


def find_reward_model(folder: Path | None) -> tuple[Path | None, str]:
    """The reward model in what `train_reward` left, or why there is none."""
    if folder is None:
        return None, "none was handed to the evaluation"
    if (folder / "adapter_config.json").is_file():
        return folder, ""
    try:
        reason = str(json.loads((folder / "report.json").read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        reason = f"{folder.name} holds none"
    return None, reason
