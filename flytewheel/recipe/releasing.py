"""What goes before a canary, what its steps ask for, and what follows its promotion: part of `ab_testing`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flytewheel.recipe.metrics import Measured
from flytewheel.strict import AtLeastOne, Many, Number, Positive, Section, Share

Check = Literal["no_regressions", "positive_trend", "significant_improvement", "final_validation"]


class ShadowSpec(Section):
    """A copy of some traffic to the candidate before anybody meets it; its answers are compared and thrown away."""

    share: Share = Field(default=0.0, description="of the requests that are copied; 0: no shadow")
    hours: Positive = Field(default=1.0, description="how long, before the canary opens")
    max_concurrency: AtLeastOne = Field(
        default=2, description="copies at a time in each of a router's workers; what is more is left out"
    )


class Releasing(Measured):
    """How a candidate is released."""

    stage_checks: Many[Many[Check]] = Field(
        default=(),
        description="what the step out of each stage asks for beside cleared guardrails, in their order; those of "
        "the last stage are asked for by the step to it, final_validation always is",
    )
    rollback_drill_s: Positive | None = Field(
        default=10.0,
        description="before a canary grows, the way back is exercised and may take so long at most; null: never",
    )
    holdback_share: Annotated[Number, Field(ge=0, le=0.5)] = Field(
        default=0.05,
        description="of the users, who stay on the champion of before after a promotion, for an unbiased estimate of "
        "what it brought; 0: none",
    )
    holdback_days: Positive = Field(default=14.0, description="how long they stay, from the promotion on")
    shadow: ShadowSpec = ShadowSpec()
