"""How well margins of reward tell which answer of a pair people preferred, and whether length alone would tell as well.

A margin m is the chosen answer's reward less the rejected one's: the model says with probability sigmoid(m) that the
chosen one is preferred (Bradley & Terry 1952). A preference for long answers is the commonest thing that a reward model
learns in place of quality (Singhal et al. 2023, arXiv:2310.03716), so the accuracy of the better of two rules that see
nothing but length stands beside the model's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flytewheel.records import Interval, to_jsonable

FEW_PAIRS = 30  # fewer: the interval is wider than ± 15 points, and bins of calibration hold a handful
BINS = 10
_Z95 = 1.959963984540054

Rule = Literal["longer", "shorter"]


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of like confidence: the mean of it, and the share in which the model was right."""

    pairs: int
    confidence: float
    right: float


def describe_pairs(margins: Sequence[float], lengths: Sequence[tuple[int, int]], rule: Rule) -> dict[str, Any]:
    """What a report says of held-out pairs.

    Args:
        margins: of each pair, in nats.
        lengths: tokens of the chosen and of the rejected answer.
        rule: the better one on the training pairs (`choose_length_rule`).

    Returns:
        `pairs`, `accuracy` and `length_accuracy` (intervals of 95 %), `length_rule`, `calibration_error`, `log_loss`
        (nats), `brier`, `bins`, and where there are few pairs a `note`. Without pairs: `pairs` and the note.
    """
    count = len(margins)
    if count == 0:
        return {"pairs": 0, "note": "0 held-out pairs: accuracy and calibration cannot be told"}
    bins = bin_confidences(margins)
    found: dict[str, Any] = {
        "pairs": count,
        "accuracy": to_jsonable(share_interval(sum(map(_right, margins)), count)),
        "length_rule": rule,
        "length_accuracy": to_jsonable(share_interval(count_right(lengths, rule), count)),
        "calibration_error": calibration_error(bins),
        "log_loss": math.fsum(_softplus(-margin) for margin in margins) / count,
        "brier": math.fsum((1 - _sigmoid(margin)) ** 2 for margin in margins) / count,
        "bins": to_jsonable(bins),
    }
    if count < FEW_PAIRS:
        found["note"] = f"only {count} held-out pairs: read the intervals, not the figures"
    return found


def choose_length_rule(lengths: Sequence[tuple[int, int]]) -> Rule:
    """Which of the two rules is right more often on pairs of (chosen, rejected) lengths; `longer` where neither is."""
    return "longer" if count_right(lengths, "longer") >= count_right(lengths, "shorter") else "shorter"


def count_right(lengths: Sequence[tuple[int, int]], rule: Rule) -> float:
    """How many pairs a rule decides as people did; equal lengths count a half."""
    sign = 1 if rule == "longer" else -1
    return sum(_right(sign * (chosen - rejected)) for chosen, rejected in lengths)


def share_interval(right: float, count: int) -> Interval:
    """Wilson's score interval of 95 % (Wilson 1927), which stays inside [0, 1] for few pairs and shares near 1."""
    share, spread = right / count, _Z95 * _Z95 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z95 * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def bin_confidences(margins: Sequence[float]) -> tuple[Bin, ...]:
    """Sorts pairs by confidence, sigmoid(|m|) in [0.5, 1], into `BINS` bins of equal width; empty ones are left out."""
    sorted_in: dict[int, list[float]] = {}
    for margin in margins:
        place = int((_sigmoid(abs(margin)) - 0.5) / 0.5 * BINS)
        sorted_in.setdefault(min(place, BINS - 1), []).append(margin)
    return tuple(
        Bin(
            len(own),
            math.fsum(_sigmoid(abs(margin)) for margin in own) / len(own),
            sum(map(_right, own)) / len(own),
        )
        for _, own in sorted(sorted_in.items())
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: mean |right - confidence|, by pairs (Guo et al. 2017, arXiv:1706.04599, eq. 3)."""
    count = sum(each.pairs for each in bins)
    return math.fsum(each.pairs * abs(each.right - each.confidence) for each in bins) / count


def _right(margin: float) -> float:
    return 0.5 if margin == 0 else float(margin > 0)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))
