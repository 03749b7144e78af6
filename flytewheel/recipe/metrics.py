"""What an experiment measures: the recipe's section `ab_testing.metrics`.

A metric is one counter of a user over another, summed by user. The names of counters and of the metrics that need no
declaring stand here, so that a recipe is refused when it is read and not when the canary is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from flytewheel.strict import Many, Number, Positive, Section, Share

Role = Literal["primary", "guardrail", "watch"]
Worse = Literal["lower", "higher"]

COUNTERS: Mapping[str, str] = {
    "requests": "answers that the user was given, or was to be given",
    "failed": "broken off, or given by the control after the treatment failed",
    "timed": "whose latency is known",
    "slow": "of them above the control's frozen 95 % quantile (the treatment's above (1 + margin) times that)",
    "first_timed": "whose time to the first token is known",
    "first_slow": "of them above the control's frozen 95 % quantile",
    "metered": "whose tokens are known",
    "tokens": "tokens of the metered answers",
    "votes": "answers voted on: a thumb, a rating but 3, a correction; the last counts",
    "ups": "of them up",
    "downs": "of them down",
    "ratings": "answers rated from 1 to 5",
    "rating_sum": "sum of their last ratings",
    "corrected": "answers that someone corrected",
    "reformulated": "answers after which the question was put anew",
    "abandoned": "answers that were left",
    "copied": "answers that were copied",
    "cited": "answers with a source that was opened",
    "commented": "answers with a comment",
    "responded": "answers on which somebody said something: a thumb, rating, correction, edit, duel or comment",
    "rewarded": "answers with a reward",
    "reward_sum": "sum of their rewards, each in [-1, 1]",
    "checked": "answers compared with the context that they were to rest on",
    "grounded": "of them without an unsupported span",
    "spans": "numbers, names, commands, identifiers and quotations in them",
    "unsupported": "of these, which the context does not hold",
}


class Plain(NamedTuple):
    """A metric that needs no declaring; `tail` is the control's share beyond a quantile."""

    numerator: str
    denominator: str
    worse: Worse
    tail: float | None = None


BUILT_IN: Mapping[str, Plain] = {
    "thumbs_up_rate": Plain("ups", "votes", "lower"),
    "error_rate": Plain("failed", "requests", "higher"),
    "latency_p95": Plain("slow", "timed", "higher", tail=0.05),
    "correction_rate": Plain("corrected", "requests", "higher"),
    "conversion_rate": Plain("ups", "requests", "lower"),
    "first_token_p95": Plain("first_slow", "first_timed", "higher", tail=0.05),
    "satisfaction": Plain("rating_sum", "ratings", "lower"),
    "reformulation_rate": Plain("reformulated", "requests", "higher"),
    "abandonment_rate": Plain("abandoned", "requests", "higher"),
    "feedback_rate": Plain("responded", "requests", "lower"),
    "tokens_per_answer": Plain("tokens", "metered", "higher"),
    "groundedness": Plain("grounded", "checked", "lower"),
    "rated_quality": Plain("reward_sum", "rewarded", "lower"),
}


class MetricSpec(Section):
    """A metric of the experiment. A built-in one needs its name alone, an own one its two counters and a direction."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    numerator: str | None = None
    denominator: str | None = None
    worse: Worse | None = Field(default=None, description="which direction is bad")
    role: Role = Field(default="watch", description="a primary decides, a guardrail may not worsen, watch is shown")
    relative_margin: Share | None = Field(default=None, description="of the control's rate, that it may worsen by")
    absolute_margin: Positive | None = Field(default=None, description="in the metric's own units")
    cap: Annotated[Number, Field(gt=0.5, le=1)] | None = Field(
        default=None, description="quantile of the users' sums that heavier users are cut to"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        own = {"numerator": self.numerator, "denominator": self.denominator, "worse": self.worse}
        if self.name in BUILT_IN:
            if given := [key for key, value in own.items() if value is not None]:
                raise ValueError(f"{self.name} is built in: leave out {', '.join(given)}, or take another name")
        elif missing := [key for key, value in own.items() if value is None]:
            raise ValueError(
                f"{self.name} is none of the built-in metrics ({', '.join(BUILT_IN)}): an own one needs "
                + " and ".join(missing)
            )
        for key in ("numerator", "denominator"):
            if own[key] is not None and own[key] not in COUNTERS:
                raise ValueError(f"{key} {own[key]!r} of {self.name} is no counter: known are {', '.join(COUNTERS)}")
        return self

    @model_validator(mode="after")
    def _has_one_margin(self) -> Self:
        check_margin(self.name, self.relative_margin, self.absolute_margin, needed=self.role == "guardrail")
        return self


def check_margin(name: str, relative: float | None, absolute: float | None, *, needed: bool) -> None:
    """Refuses two margins, none where one is `needed`, and an absolute one on a quantile.

    Raises:
        ValueError: with what to write instead.
    """
    if (needed and relative is None and absolute is None) or (relative is not None and absolute is not None):
        raise ValueError("give either relative_margin or absolute_margin")
    tail = BUILT_IN[name].tail if name in BUILT_IN else None
    if tail is not None and absolute is not None:
        raise ValueError(f"{name} takes a relative_margin: 0.05 lets the 95 % quantile be 5 % slower")


def list_unknown(names: Sequence[str], declared: Sequence[MetricSpec]) -> list[str]:
    """Those of `names` that are neither built in nor declared."""
    known = {*BUILT_IN, *(spec.name for spec in declared)}
    return [name for name in names if name not in known]


class Guardrail(Section):
    """A metric that may not worsen: one margin, relative or absolute."""

    metric: str
    relative_margin: Share | None = Field(
        default=None, description="of the control's rate; latency_p95: of its p95, 0.05 is at most 5 % slower"
    )
    absolute_margin: Positive | None = Field(default=None, description="in the metric's own units")

    @model_validator(mode="after")
    def _one_margin(self) -> Self:
        check_margin(self.metric, self.relative_margin, self.absolute_margin, needed=True)
        return self


class Measured(Section):
    """What is measured of an experiment and may not worsen; a base of the section `ab_testing`."""

    primary_metric: str = "thumbs_up_rate"
    guardrails: Many[Guardrail] = (
        Guardrail(metric="thumbs_up_rate", relative_margin=0.05),
        Guardrail(metric="latency_p95", relative_margin=0.05),
        Guardrail(metric="error_rate", absolute_margin=0.01),
    )
    metrics: Many[MetricSpec] = Field(
        default=(), description="further metrics, and roles, margins and caps of built-in ones"
    )

    @model_validator(mode="after")
    def _each_metric_is_guarded_once(self) -> Self:
        names = [guardrail.metric for guardrail in self.guardrails]
        if len(set(names)) < len(names):
            raise ValueError(f"guardrails name a metric twice: {names}; give each one margin")
        declared = [spec.name for spec in self.metrics]
        if len(set(declared)) < len(declared):
            raise ValueError(f"metrics declare a name twice: {declared}")
        if twice := [spec.name for spec in self.metrics if spec.name in names and spec.role == "guardrail"]:
            raise ValueError(f"{twice[0]} is a guardrail under guardrails and under metrics; keep one")
        return self

    @model_validator(mode="after")
    def _metrics_are_known(self) -> Self:
        asked = [*(guardrail.metric for guardrail in self.guardrails), self.primary_metric]
        if unknown := list_unknown(asked, self.metrics):
            raise ValueError(
                f"no metric {unknown[0]!r}: built in are {', '.join(BUILT_IN)}; declare others under ab_testing.metrics"
            )
        return self

    @property
    def guarded(self) -> tuple[Guardrail, ...]:
        """Every guardrail: those under `guardrails`, and the metrics with that role."""
        return (
            *self.guardrails,
            *(
                Guardrail(metric=spec.name, relative_margin=spec.relative_margin, absolute_margin=spec.absolute_margin)
                for spec in self.metrics
                if spec.role == "guardrail"
            ),
        )

    @property
    def primaries(self) -> tuple[str, ...]:
        """Names of the metrics that the experiment is for; `primary_metric` where none is declared, or it is set."""
        declared = tuple(spec.name for spec in self.metrics if spec.role == "primary")
        if declared and "primary_metric" not in self.model_fields_set:
            return declared
        return (self.primary_metric, *(name for name in declared if name != self.primary_metric))
