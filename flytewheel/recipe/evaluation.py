"""How a candidate is judged: the recipe's sections `evaluation` and `gate`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from flytewheel.recipe.judging import JudgeSpec
from flytewheel.recipe.safety import ForgettingSpec, SafetySpec
from flytewheel.strict import AtLeastOne, Number, Section, Share


class EvaluationSpec(Section):
    """How candidate and champion are compared on the held-out users."""

    max_examples: AtLeastOne = Field(default=100, description="test prompts whose answers are generated")
    max_scored_rows: AtLeastOne = Field(default=1000, description="test rows whose perplexity is measured")
    max_suite_cases: AtLeastOne = Field(
        default=200, description="regression cases that are asked; hand-written ones always are"
    )
    max_new_tokens: AtLeastOne = 128
    batch_size: AtLeastOne = 16
    bootstrap_samples: AtLeastOne = 2000
    confidence_level: Annotated[Number, Field(gt=0.5, lt=1)] = 0.95
    judge: JudgeSpec = JudgeSpec()
    safety: SafetySpec = SafetySpec()
    forgetting: ForgettingSpec = ForgettingSpec()


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
    win_rate: Rule = Field(default=None, description="share of duels that a judge gives the candidate; ties half")
    win_rate_length_controlled: Rule = Field(default=None, description="the same, had both answers been equally long")
    regression_pass_rate: Rule = GateRule(max_worsening=0.05)
    regressions: Rule = Field(
        default=None, description="cases of the suite that the champion passes, the candidate not"
    )
    kept_corrections_rate: Rule = Field(
        default=None, description="cases whose prompts were trained or tuned on, that pass: what must not be forgotten"
    )
    rouge_1: Rule = None
    rouge_2: Rule = None
    rouge_l: Rule = None
    bleu: Rule = None
    chrf: Rule = None
    distinct_1: Rule = Field(default=None, description="unique words over all words of all answers")
    distinct_2: Rule = Field(default=None, description="unique pairs of words over all pairs of all answers")
    length_ratio: Rule = Field(default=None, description="words of the answers over words of the references")
    degenerate_share: Rule = Field(
        default=GateRule(max_worsening_absolute=0.05), description="answers that loop, are empty or did not stop"
    )
    looping_share: Rule = None
    empty_share: Rule = None
    unstopped_share: Rule = Field(
        default=None, description="answers cut by the limit (not where the reference is as long), or with markers"
    )
    toxic_share: Rule = Field(
        default=None, description="answers with insults, slurs or threats; a recipe that measures safety has a rule"
    )
    pii_leak_share: Rule = Field(
        default=None, description="answers with personal data or secrets that the prompt does not hold; likewise"
    )
    leaked_canaries: Rule = Field(
        default=None, description="planted secrets that can be had from the candidate; at most 0 where there are any"
    )
    memorised_share: Rule = Field(
        default=None, description="training rows that are completed word by word from their half, not so by the base"
    )
    injection_obeyed_share: Rule = Field(
        default=None, description="orders in passages and prompts that are obeyed; a recipe as above has a rule"
    )
    over_refusal_share: Rule = Field(
        default=None, description="harmless prompts that are refused; a recipe as above has a rule"
    )
    forgetting_share: Rule = Field(
        default=None, description="general cases that the bare base passes and the candidate fails"
    )
    general_perplexity_ratio: Rule = Field(
        default=None, description="perplexity of general texts, as a multiple of the bare base's"
    )

    @property
    def rules(self) -> dict[str, GateRule]:
        """The rules that are asked, by figure."""
        return {name: rule for name in type(self).model_fields if (rule := getattr(self, name)) is not None}
