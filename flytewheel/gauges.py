"""What a training is measured by: the names of its figures, in the order in which people look at them.

The keys are those of a report's curve, of wandb's charts and of a report's totals alike (`training/meter`, TRL), the
same for every method. A figure that is not listed is shown under its own key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

CURVES = {  # a point's key to what people call it
    "loss": "training loss",
    "eval_loss": "validation loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_s": "all tokens/s, padding included",
    "useful_tokens_per_s": "useful tokens/s",
    "useful_share": "useful share of computed tokens",
    "loss_share": "share of computed tokens that the loss is of",
    "memory_gib": "peak memory, GiB",
    "rewards/chosen": "reward of liked answers",
    "rewards/rejected": "reward of disliked answers",
    "rewards/margins": "reward margin",
    "eval_rewards/margins": "reward margin, validation",
    "rewards/accuracies": "pairs ranked right",
    "eval_rewards/accuracies": "pairs ranked right, validation",
    "reward": "mean reward",
    "kl": "KL to the reference, nats",
}
COMPARED = (  # of runs side by side, a panel each
    "loss", "eval_loss", "learning_rate", "grad_norm", "useful_tokens_per_s", "useful_share", "memory_gib",
    "rewards/margins", "rewards/accuracies", "reward",
)  # fmt: skip
CHARTS = {  # of one run, a chart each
    "loss": ("loss", "eval_loss"),
    "learning rate": ("learning_rate",),
    "gradient norm": ("grad_norm",),
    "tokens a second": ("tokens_per_s", "useful_tokens_per_s"),
    "share of computed tokens": ("useful_share", "loss_share"),
    "peak memory, GiB": ("memory_gib",),
    "rewards": ("rewards/chosen", "rewards/rejected", "rewards/margins", "eval_rewards/margins"),
    "pairs ranked right": ("rewards/accuracies", "eval_rewards/accuracies"),
    "mean reward": ("reward",),
    "KL to the reference, nats": ("kl",),
}


def read_curve(report: Mapping[str, Any], metric: str) -> tuple[tuple[float, float], ...]:
    """The points `(step, value)` of a training report's curve, by rising step; of two at one step the later counts."""
    points = {
        float(point["step"]): float(point[metric])
        for point in report.get("curve") or ()
        if is_number(point.get("step")) and math.isfinite(point["step"]) and is_number(point.get(metric))
    }
    return tuple(sorted(points.items()))


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether `value` is a number; yes and no are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
