"""How a candidate is judged: the recipe's sections `evaluation` and `gate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from flytewheel.recipe.groundedness import GroundednessSpec
from flytewheel.recipe.judging import JudgeSpec
from flytewheel.recipe.lm_eval import LM_EVAL, LmEvalSpec
from flytewheel.recipe.safety import ForgettingSpec, SafetySpec
from flytewheel.recipe.speed import SpeedSpec
from flytewheel.strict import AtLeastOne, Number, Positive, Section, Share


class ReviewSpec(Section):
    """Which answers people are asked to compare, blind, at the router's `/ui/review`."""

    enable: bool = True
    examples: AtLeastOne = Field(default=100, description="most duels that are put up: answers that differ")
    shared: Share = Field(default=0.2, description="share of them shown to every reviewer, for their agreement")
    open_days: Positive = Field(default=7.0, description="then the next turn closes it, complete or not")


class TopicsSpec(Section):
    """When a candidate counts as worse on a topic, whatever it is on average."""

    margin: Share = Field(default=0.05, description="tolerated worsening, as a share of the champion's figure there")
    min_users: Annotated[int, Field(ge=2)] = Field(default=8, description="of a topic; with fewer nothing is claimed")


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
    topics: TopicsSpec = TopicsSpec()
    speed: SpeedSpec = SpeedSpec()
    review: ReviewSpec = ReviewSpec()
    groundedness: GroundednessSpec = GroundednessSpec()
    lm_eval: LmEvalSpec = LmEvalSpec()


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
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"no figure is at least {self.min:g} and at most {self.max:g}: correct min or max")
        low, high = self.min_lower_bound, self.max_upper_bound
        if low is not None and high is not None and low >= high:
            raise ValueError(f"no interval lies above {low:g} and below {high:g}: correct one of the bounds")
        return self

    @property
    def asked(self) -> frozenset[str]:
        """Names of what is asked for."""
        return frozenset(name for name, value in self if value is not None and value is not False)


def _asks_of_a_count(rule: GateRule | None) -> GateRule | None:
    if rule is not None and (wrong := sorted(rule.asked - {"min", "max"})):
        raise ValueError(f"a count has no interval and no champion: ask for max or min, not {', '.join(wrong)}")
    return rule


def _asks_of_neither(rule: GateRule | None) -> GateRule | None:
    worsening = {"improve", "max_worsening", "max_worsening_absolute"}
    if rule is not None and (wrong := sorted(rule.asked & worsening)):
        raise ValueError(
            f"neither more nor less of it is better: ask for min, max, min_lower_bound or max_upper_bound, "
            f"not {', '.join(wrong)}"
        )
    return rule


Rule = GateRule | None
CountRule = Annotated[Rule, AfterValidator(_asks_of_a_count)]  # of `Evaluation.counts`
NeutralRule = Annotated[Rule, AfterValidator(_asks_of_neither)]  # of a figure that is good in the middle


SPEED_FIGURES = ("tokens_per_s", "first_token_ms")


class GateSpec(Section):
    """What a candidate must show before people meet it, a rule a figure. `null` takes a rule away."""

    perplexity: Rule = GateRule(max_worsening=0.05)
    preference_accuracy: Rule = GateRule(improve=True)
    implicit_reward_accuracy: Rule = None
    win_rate: Rule = Field(default=None, description="share of duels that a judge gives the candidate; ties half")
    win_rate_length_controlled: Rule = Field(default=None, description="the same, had both answers been equally long")
    regression_pass_rate: Rule = GateRule(max_worsening=0.05)
    regressions: CountRule = Field(
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
    length_ratio: NeutralRule = Field(default=None, description="words of the answers over words of the references")
    degenerate_share: Rule = Field(
        default=GateRule(max_worsening_absolute=0.05), description="answers that loop, are empty or did not stop"
    )
    looping_share: Rule = GateRule(max_worsening_absolute=0.05)
    empty_share: Rule = None
    unstopped_share: Rule = Field(
        default=GateRule(max_worsening_absolute=0.05),
        description="answers cut by the limit (not where the reference is as long), or with markers",
    )
    unsupported_share: Rule = Field(
        default=None, description="numbers, names, commands … of answers that their context does not hold"
    )
    ungrounded_answers: Rule = Field(default=None, description="answers with at least one of these")
    unsupported_claims_share: Rule = Field(
        default=None, description="claims that the model behind evaluation.groundedness.endpoint does not find there"
    )
    toxic_share: Rule = Field(
        default=None, description="answers with insults, slurs or threats; a recipe that measures safety has a rule"
    )
    pii_leak_share: Rule = Field(
        default=None, description="answers with personal data or secrets that the prompt does not hold; likewise"
    )
    leaked_canaries: CountRule = Field(
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
    worse_topics: CountRule = Field(
        default=GateRule(max=0), description="topics on which the candidate is clearly worse (evaluation.topics)"
    )

    tokens_per_s: Rule = Field(default=None, description="of the exported file; asked after the export, as the next")
    first_token_ms: Rule = Field(default=None, description="median time to the first token of the exported file")
    lm_eval: Mapping[str, GateRule] | None = Field(
        default=None, description="rules about tasks of evaluation.lm_eval, by task/metric"
    )

    @model_validator(mode="before")
    @classmethod
    def _says_how_old_keys_are_written(cls, data: Any) -> Any:
        old = [
            key for key in ("must_improve", "must_not_worsen", "margin") if isinstance(data, Mapping) and key in data
        ]
        if old:
            raise ValueError(f"{', '.join(old)}: a gate has a rule a figure now, write {_rewrite(data)}")
        return data

    @property
    def rules(self) -> dict[str, GateRule]:
        """The rules that are asked before the export, by figure."""
        return {name: rule for name, rule in self._asked().items() if name not in SPEED_FIGURES}

    @property
    def speed_rules(self) -> dict[str, GateRule]:
        """Those that only an exported file can answer: the release asks them (`release.launch_canary`)."""
        return {name: rule for name, rule in self._asked().items() if name in SPEED_FIGURES}

    def _asked(self) -> dict[str, GateRule]:
        named = {name: getattr(self, name) for name in type(self).model_fields if name != "lm_eval"}
        asked = {name: rule for name, rule in named.items() if rule is not None}
        return asked | {f"{LM_EVAL}{name}": rule for name, rule in (self.lm_eval or {}).items()}


_KEPT = ("perplexity", "regression_pass_rate", "degenerate_share")  # what `must_not_worsen` was by default


def _rewrite(old: Mapping[str, Any]) -> str:
    """The lists of a recipe before rules, as rules; its defaults where it has none."""

    def names(key: str, default: tuple[str, ...]) -> list[str]:
        given = old.get(key, default)
        return [str(name) for name in given] if isinstance(given, list | tuple) else []

    margin = old.get("margin", 0.05)
    rules = {name: ["improve: true"] for name in names("must_improve", ("preference_accuracy",))}
    for name in names("must_not_worsen", _KEPT):
        how = "max_worsening_absolute" if name == "degenerate_share" else "max_worsening"
        rules.setdefault(name, []).append(f"{how}: {margin}")
    lines = [f"{name}: {{{', '.join(asked)}}}" for name, asked in rules.items()]
    lines += [f"{name}: null" for name in ("preference_accuracy", *_KEPT) if name not in rules]
    return "; ".join(lines)
