from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.report import LOWER_IS_BETTER, Evaluation
from flytewheel.recipe import GateRule, GateSpec
from flytewheel.records import Decision, Interval
from tests.evaluation.verdicts import COUNTS, HOLD, METRICS, NOTHING, PROMOTE, REJECT, ask, compare, judge


@pytest.mark.parametrize(
    ("found", "decision", "words"),
    [
        (
            compare(0.8, 0.6, 0.1, 0.3),
            PROMOTE,
            "for: preference_accuracy 0.8, champion 0.6, difference +0.2 [+0.1, +0.3] at 95%",
        ),
        (compare(0.8, 0.6, 0.0, 0.3), HOLD, "not clear of zero"),
        (compare(0.6, 0.6, -0.1, 0.1), HOLD, "not clear of zero"),
        (compare(0.5, 0.6, -0.2, -0.01), REJECT, "against: preference_accuracy"),
        (compare(0.8, 0.6, 0.1, 0.3, users=5), HOLD, "5 users are too few to claim it, it takes 6: collect more"),
        (compare(0.5, 0.6, -0.2, -0.01, users=3), REJECT, "clearly worse"),
    ],
)
def test_a_metric_that_must_improve(found: Comparison, decision: Decision, words: str) -> None:
    verdict = judge(("preference_accuracy",), preference_accuracy=found)
    assert verdict.decision is decision
    assert words in verdict.reasons[0]


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (-0.5, -0.2, PROMOTE),
        (-0.1, 0.1, PROMOTE),  # 5 % of a perplexity of 2 is 0.1: the bad end just reaches it
        (-0.1, 0.11, HOLD),
        (0.05, 0.2, HOLD),
        (0.1, 0.2, HOLD),
        (0.11, 0.2, REJECT),
    ],
)
def test_a_metric_that_must_not_worsen_and_is_better_when_lower(low: float, high: float, decision: Decision) -> None:
    verdict = judge(keep=("perplexity",), perplexity=compare(2.0, 2.0, low, high))
    assert verdict.decision is decision
    assert "tolerated worsening of 0.1 (5% of the champion's)" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [(0.0, 0.0, PROMOTE), (0.0, 0.05, PROMOTE), (0.0, 0.06, HOLD), (0.06, 0.2, REJECT), (-0.3, -0.1, PROMOTE)],
)
def test_the_margin_of_rare_errors_is_absolute(low: float, high: float, decision: Decision) -> None:
    """The champion has none: a relative margin would tolerate none either; 5 points of all answers are tolerated."""
    verdict = judge(keep=("degenerate_share",), degenerate_share=compare(high, 0.0, low, high))
    assert verdict.decision is decision
    assert "the tolerated worsening of 0.05" in verdict.reasons[0]


def test_lower_perplexity_counts_as_improvement() -> None:
    better, worse = compare(1.5, 2.0, -0.6, -0.4), compare(2.5, 2.0, 0.4, 0.6)
    assert judge(("perplexity",), perplexity=better).decision is PROMOTE
    assert judge(("perplexity",), perplexity=worse).decision is REJECT


def test_one_rejection_outweighs_all_and_every_reason_is_given() -> None:
    verdict = judge(
        ("preference_accuracy", "bleu"),
        ("perplexity",),
        preference_accuracy=compare(0.8, 0.6, 0.1, 0.3),
        bleu=compare(20, 20, -1, 1),
        perplexity=compare(3, 2, 0.5, 1.5),
    )
    assert verdict.decision is REJECT
    assert [reason.split(":")[0] for reason in verdict.reasons] == [
        "against",
        "for",
        "cannot tell",
    ]  # as the recipe lists its rules
    assert verdict.metrics["perplexity.champion"] == 2
    assert verdict.metrics["perplexity.difference"] == 1


def test_changed_regression_cases_are_named() -> None:
    found = Evaluation(
        metrics={"bleu": compare(20, 20, -0.1, 0.1)},
        details={"suite": {"newly_failing": [f"case-{n}" for n in range(7)], "newly_passing": ["case-9"]}},
    )
    reasons = decide(found, ask(keep=("bleu",))).reasons
    assert reasons[1] == (
        "against: regression cases that passed before and fail now: case-0, case-1, case-2, case-3, case-4 and 2 more"
    )
    assert reasons[2] == "for: regression cases that failed before and pass now: case-9"


def test_a_metric_that_was_not_measured_holds() -> None:
    verdict = judge(("rouge_l",), ("bleu",), bleu=compare(1, 1, 0, 0))
    assert verdict.decision is HOLD
    assert (
        "cannot tell: rouge_l was not measured, improve was asked; switch on under evaluation what measures it, or "
        "write gate.rouge_l: null"
    ) in verdict.reasons


def test_a_gate_that_asks_for_nothing_holds() -> None:
    assert judge(bleu=compare(30, 20, 5, 15)).decision is HOLD


def test_unknown_figures_hold_and_say_why() -> None:
    unknown = Interval(None, None, None)
    verdict = judge(keep=("bleu",), bleu=Comparison(unknown, unknown, unknown, 3, 1))
    assert verdict.decision is HOLD
    assert verdict.reasons == (
        "cannot tell: bleu is unknown; 3 rows of 1 users were measured, it takes two users or more, no worsening by "
        "more than 0.05 of the champion's was asked; switch on under evaluation what measures it, or write "
        "gate.bleu: null",
    )
    assert verdict.metrics["bleu"] is None


def number() -> st.SearchStrategy[float]:
    return st.floats(-2, 2) | st.sampled_from([0.0, 0.05, -0.05, 1.0])


def figures(level: float = 0.95) -> st.SearchStrategy[Comparison]:
    def build(champion: float, difference: float, spread: tuple[float, ...], users: int) -> Comparison:
        ours, span = champion + difference, Interval(difference, difference - spread[0], difference + spread[1], level)
        return Comparison(
            Interval(ours, ours - spread[2], ours + spread[3], level), Interval(champion, 0, 1), span, 50, users
        )

    return st.builds(build, number(), number(), st.tuples(*[st.floats(0, 1)] * 4), st.integers(2, 40))


def rules() -> st.SearchStrategy[GateRule]:
    """Every kind of rule, one to all at once."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "improve": st.just(True),
        "max_worsening": st.floats(0, 0.5),
        "max_worsening_absolute": st.floats(0, 0.5),
        "min_lower_bound": number(),
        "max_upper_bound": number(),
        "min": number(),
        "max": number(),
    }

    def ask_for(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        if {"max_worsening", "max_worsening_absolute"} <= {*names}:
            names.remove("max_worsening")
        return st.fixed_dictionaries({name: kinds[name] for name in names})

    some = st.lists(st.sampled_from(sorted(kinds)), unique=True, min_size=1).flatmap(ask_for)
    return some.filter(_can_be_met).map(GateRule.model_validate)


def _can_be_met(asked: dict[str, Any]) -> bool:
    above, below = asked.get("min_lower_bound", -3), asked.get("max_upper_bound", 3)
    return bool(asked.get("min", -3) <= asked.get("max", 3) and above < below)


def gates(names: tuple[str, ...] = METRICS) -> st.SearchStrategy[GateSpec]:
    """One rule a figure, and counts that are asked for their bounds."""
    bounds = st.integers(0, 3).map(lambda most: GateRule(max=most))
    asked = st.dictionaries(st.sampled_from(names), rules(), max_size=3)
    counted = st.dictionaries(st.sampled_from(COUNTS), bounds, max_size=2)
    return st.builds(lambda first, second: GateSpec.model_validate({**NOTHING, **first, **second}), asked, counted)


def evaluations() -> st.SearchStrategy[Evaluation]:
    metrics = st.fixed_dictionaries({name: figures() for name in METRICS})
    counts = st.fixed_dictionaries({name: st.integers(0, 4) for name in COUNTS})
    return st.builds(lambda found, counted: Evaluation(metrics=found, counts=counted), metrics, counts)


RANK = {PROMOTE: 0, HOLD: 1, REJECT: 2}


GOOD_WHEN_LOW = {"max", "max_upper_bound"}
GOOD_WHEN_HIGH = {"min", "min_lower_bound"}


def _points_one_way(name: str, gate: GateSpec) -> bool:
    """Whether the rule of a figure asks for nothing that its worsening would serve, such as `max` of an accuracy."""
    against = GOOD_WHEN_HIGH if name in LOWER_IS_BETTER else GOOD_WHEN_LOW
    rule = gate.rules.get(name)
    return rule is None or not rule.asked & against


@given(evaluations(), gates(), st.sampled_from(METRICS), st.floats(0, 3), st.booleans())
@settings(max_examples=300, deadline=None)
def test_what_gets_worse_is_never_promoted_for_it(
    evaluation: Evaluation, gate: GateSpec, name: str, loss: float, bad_end_only: bool
) -> None:
    """The whole interval moves in the bad direction, or its bad end alone: the verdict never gets kinder to it."""
    assume(_points_one_way(name, gate))
    found = evaluation.metrics[name]
    sign = 1 if name in LOWER_IS_BETTER else -1
    moved = ("high" if sign > 0 else "low",) if bad_end_only else ("estimate", "low", "high")

    def worsen(span: Interval) -> Interval:
        return replace(span, **{key: getattr(span, key) + sign * loss for key in moved})

    worse = replace(found, candidate=worsen(found.candidate), difference=worsen(found.difference))
    before = decide(evaluation, gate).decision
    after = decide(replace(evaluation, metrics={**evaluation.metrics, name: worse}), gate).decision
    if before is not PROMOTE:
        assert after is not PROMOTE
    if not bad_end_only:
        assert RANK[after] >= RANK[before]


@given(evaluations(), gates(), st.sampled_from(COUNTS), st.integers(0, 3))
@settings(deadline=None)
def test_a_larger_count_is_never_kinder(evaluation: Evaluation, gate: GateSpec, name: str, more: int) -> None:
    counts = {**evaluation.counts, name: (evaluation.counts[name] or 0) + more}
    after = decide(replace(evaluation, counts=counts), gate).decision
    assert RANK[after] >= RANK[decide(evaluation, gate).decision]


@given(
    evaluations(),
    gates(),
    st.sampled_from([f"{side}.{key}" for side in ("candidate", "difference") for key in ("estimate", "low", "high")]),
    st.sampled_from([None, math.nan, math.inf, -math.inf]),
)
@settings(max_examples=200, deadline=None)
def test_missing_figures_never_pass(evaluation: Evaluation, gate: GateSpec, place: str, value: float | None) -> None:
    """Whichever number is missing: of every rule that looks at it nothing is left but that it cannot tell."""
    side, key = place.split(".")
    metrics = {
        name: replace(found, **{side: replace(getattr(found, side), **{key: value})})
        for name, found in evaluation.metrics.items()
    }
    broken = replace(evaluation, metrics=metrics, counts=dict.fromkeys(evaluation.counts, value))
    looks_at = {
        "candidate": {"min_lower_bound", "max_upper_bound", "min", "max"},
        "difference": {"improve", "max_worsening", "max_worsening_absolute"},
    }
    for name, rule in gate.rules.items():
        verdict = decide(broken, GateSpec.model_validate({**NOTHING, name: rule}))
        if name in COUNTS or rule.asked & looks_at[side]:
            assert verdict.decision is not PROMOTE
            assert any(reason.startswith(f"cannot tell: {name} is unknown") for reason in verdict.reasons)


@given(evaluations(), st.sampled_from(METRICS), rules(), st.sampled_from([None, math.nan, math.inf, -math.inf]))
@settings(deadline=None)
def test_without_a_champions_figure_nothing_is_said_of_a_difference(
    evaluation: Evaluation, name: str, rule: GateRule, value: float | None
) -> None:
    found = evaluation.metrics[name]
    broken = replace(found, champion=replace(found.champion, estimate=value))
    verdict = decide(Evaluation(metrics={name: broken}), GateSpec.model_validate({**NOTHING, name: rule}))
    if rule.asked & {"improve", "max_worsening", "max_worsening_absolute"}:
        assert verdict.decision is not PROMOTE


@given(evaluations(), gates(), st.sampled_from(METRICS), rules(), st.sampled_from(COUNTS), st.booleans())
@settings(max_examples=200, deadline=None)
def test_another_rule_is_never_kinder(
    evaluation: Evaluation, gate: GateSpec, name: str, rule: GateRule, count: str, measured: bool
) -> None:
    """A rule on a figure that had none, also on one that nobody measured; a gate with no rule at all is no gate."""
    assume(gate.rules)
    assume(name not in gate.rules)
    if not measured:
        evaluation = replace(
            evaluation, metrics={each: found for each, found in evaluation.metrics.items() if each != name}
        )
    before = decide(evaluation, gate)
    after = decide(evaluation, GateSpec.model_validate({**dict(gate), name: rule}))
    assert RANK[after.decision] >= RANK[before.decision]
    assert {*before.reasons} <= {*after.reasons}
    stricter = GateSpec.model_validate({**dict(gate), count: {"max": 0}})
    assert RANK[decide(evaluation, stricter).decision] >= RANK[before.decision] or count in gate.rules


@given(evaluations(), gates())
@settings(deadline=None)
def test_every_reason_says_figure_rows_and_users(evaluation: Evaluation, gate: GateSpec) -> None:
    verdict = decide(evaluation, gate)
    for reason in verdict.reasons:
        side, _, text = reason.partition(": ")
        assert side in ("for", "against", "cannot tell")
        name = text.split(" ")[0].rstrip(",")
        assert name in gate.rules or not gate.rules
        if name in METRICS:
            assert "over 50 rows of" in text
            assert "] at 95%" in text
        if side == "cannot tell" and name in METRICS:
            assert "collect more" in text or "no number of users would tell" in text


@pytest.mark.parametrize("improve", [(), ("preference_accuracy",)])
def test_the_champion_itself_holds_whatever_is_asked(improve: tuple[str, ...]) -> None:
    """Nothing has to improve, all is as good: without the rule the champion would be tried against itself."""
    found = {name: compare(0.8, 0.8, 0.0, 0.0) for name in METRICS}
    gate = ask(improve, ("perplexity",))
    verdict = decide(Evaluation(metrics=found, unchanged=True), gate)
    assert verdict.decision is HOLD
    assert verdict.reasons == ("nothing learnt: the candidate is the champion, weight for weight; it stays",)
    assert verdict.metrics["perplexity.difference"] == 0
    if not improve:
        assert decide(Evaluation(metrics=found), gate).decision is PROMOTE
