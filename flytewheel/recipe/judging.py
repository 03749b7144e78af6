"""Who says which of two answers is better: the recipe's section `evaluation.judge`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from flytewheel.recipe.curation import EndpointSpec
from flytewheel.strict import AtLeastOne, Number, Section, Share


class JudgeSpec(Section):
    """The judge of candidate against champion, and what it must show before it is believed."""

    kind: Literal["auto", "none", "reward_model", "endpoint", "people"] = Field(
        default="auto", description="`auto`: the reward model where the turn trained one, else none"
    )
    endpoint: EndpointSpec | None = Field(default=None, description="an OpenAI-compatible model, for kind endpoint")
    min_agreement: Share = Field(
        default=0.6, description="with people, on pairs that they chose among; below it the judge abstains"
    )
    max_pairs: AtLeastOne = Field(default=100, description="held-out pairs that it is asked about for that")
    min_pairs: AtLeastOne = Field(default=20, description="with fewer its agreement cannot be told, and it abstains")
    min_position_consistency: Share = Field(
        default=0.6,
        description="share of duels judged alike in both orders (endpoint); a coin has 0.5, GPT-4 0.65 (2306.05685)",
    )
    tie_margin: Number = Field(
        default=0.0, ge=0, description="rewards that differ by no more, in nats, are a tie (reward_model)"
    )

    @model_validator(mode="after")
    def _asks_somebody(self) -> Self:
        if (self.kind == "endpoint") != (self.endpoint is not None):
            raise ValueError("kind endpoint and the section endpoint go together: give both, or neither")
        return self
