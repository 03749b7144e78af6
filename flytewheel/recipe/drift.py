"""When inputs, votes and people's readiness to vote count as changed: an effect each, below which nothing fires."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flytewheel.strict import AtLeastOne, Number, Positive, Section, Share


class DriftSpec(Section):
    """Since the last full turn's window. A figure fires where its effect is large enough and chance does not explain
    it, at whichever look.
    """

    ks_statistic: Share = Field(
        default=0.1, description="Kolmogorov-Smirnov distance of prompt lengths; half as long again is some 0.16 to 0.2"
    )
    topic_psi: Positive = Field(
        default=0.1, description="population stability index of topics; from 0.1 on it is usually called a change"
    )
    language_psi: Positive = Field(
        default=0.1, description="of the prompts' languages; one that is new at 5 % makes some 0.17"
    )
    wording_auc: Annotated[Number, Field(gt=0.5, lt=1)] = Field(
        default=0.6, description="how well character n-grams tell new prompts from old ones; 0.5 is not at all"
    )
    quality_drop: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=0.05, description="relative, of the champion's thumbs-up rate against its own before"
    )
    feedback_drop: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=0.25, description="relative, of the share of answers that anybody reacts to within a day"
    )
    confidence_level: Annotated[Number, Field(gt=0.5, lt=1)] = Field(
        default=0.95,
        description="that a year of hourly looks at people who do not change fires none of these figures",
    )
    min_users: AtLeastOne = Field(default=50, description="before and after; with fewer nothing can be told")
