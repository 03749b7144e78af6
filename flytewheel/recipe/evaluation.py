"""How a candidate is judged: the recipe's sections `evaluation` and `gate`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from flytewheel.recipe.groundedness import GroundednessSpec
from flytewheel.strict import AtLeastOne, Number, Section, Share


class EvaluationSpec(Section):
    """How candidate and champion are compared on the held-out users."""

    max_examples: AtLeastOne = Field(default=100, description="test prompts whose answers are generated")
    max_scored_rows: AtLeastOne = Field(default=1000, description="test rows whose perplexity is measured")
    max_new_tokens: AtLeastOne = 128
    batch_size: AtLeastOne = 16
    bootstrap_samples: AtLeastOne = 2000
    confidence_level: Annotated[Number, Field(gt=0.5, lt=1)] = 0.95
    groundedness: GroundednessSpec = GroundednessSpec()


class GateRule(Section):
    """What one figure must show; everything that is named must hold. A figure that is missing or not finite holds.

    `improve` and the two margins look at the difference from the champion, the others at the candidate alone: the ends
    of its interval, or, with `min` and `max`, the figure itself.
    """

    improve: bool = Field(default=False, description="better than the champion, interval clear of zero")
    max_worsening: Share | None = Field(default=None, description="tolerated, as a share of the champion's figure")
    max_worsening_absolute: Share | None = Field(default=None, description="tolerated, in the figure's own unit")
    min_lower_bound: Number | None = Field(default=None, description="the interval lies above this")
    max_upper_bound: Number | None = Field(default=None, description="the interval lies below this")
    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self == type(self).model_construct():
            raise ValueError("asks for nothing: name improve, max_worsening, min_lower_bound, max …, or write null")
        if self.max_worsening is not None and self.max_worsening_absolute is not None:
            raise ValueError("give either max_worsening or max_worsening_absolute")
        return self


Rule = GateRule | None


class GateSpec(Section):
    """What a candidate must show before people meet it, a rule a figure. `null` takes a rule away."""

    perplexity: Rule = GateRule(max_worsening=0.05)
    preference_accuracy: Rule = GateRule(improve=True)
    implicit_reward_accuracy: Rule = None
    regression_pass_rate: Rule = GateRule(max_worsening=0.05)
    regressions: Rule = Field(
        default=None, description="cases of the suite that the champion passes, the candidate not"
    )
    rouge_l: Rule = None
    bleu: Rule = None
    length_ratio: Rule = None
    degenerate_share: Rule = GateRule(max_worsening_absolute=0.05)
    unsupported_share: Rule = Field(
        default=None, description="numbers, names, commands … of answers that their context does not hold"
    )
    ungrounded_answers: Rule = Field(default=None, description="answers with at least one of these")
    unsupported_claims_share: Rule = Field(
        default=None, description="claims that the model behind evaluation.groundedness.endpoint does not find there"
    )

    @property
    def rules(self) -> dict[str, GateRule]:
        """The rules that are asked, by figure."""
        return {name: rule for name in type(self).model_fields if (rule := getattr(self, name)) is not None}
