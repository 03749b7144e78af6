"""Quality of an answer in [0, 1], from what people said and did, and from its form (the reference design's weights).

    quality = w_e × explicit + w_i × implicit + w_l × [length in range] + w_c × [context used], clipped to [0, 1]

A part that is missing counts 0. `grounding` says which answers use their context; one without cannot earn that part.
Answers outside the range of lengths are screened out before, so that part is earned by all that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flytewheel.recipe import FeedbackSpec, QualityWeights
from flytewheel.records import FeedbackEvent

CORRECTION_REWARD = 1.0  # who writes an answer out wants exactly that one
UNLABELLED = "unlabelled"


class RewardLike(Protocol):
    """Reward of an interaction: each part in [-1, 1], `None` where there was no event of that kind."""

    @property
    def explicit(self) -> float | None: ...
    @property
    def implicit(self) -> float | None: ...
    @property
    def total(self) -> float | None: ...


class ScoreRewards(Protocol):
    """What turns the events of one interaction into its reward."""

    def __call__(
        self, events: Sequence[FeedbackEvent], spec: FeedbackSpec, /, *, session_duration_s: float | None
    ) -> RewardLike: ...


def measure_quality(
    weights: QualityWeights, *, explicit: float | None, implicit: float | None, context_used: bool
) -> float:
    """The module's formula for an answer whose length fits. Rewards in [-1, 1]; gives a number in [0, 1]."""
    value = (
        weights.explicit * (explicit or 0.0)
        + weights.implicit * (implicit or 0.0)
        + weights.length
        + weights.context * context_used
    )
    return round(max(0.0, min(1.0, value)), 6)
