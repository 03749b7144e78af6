from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.gate import decide, least_users
from flytewheel.evaluation.report import LOWER_IS_BETTER, Evaluation
from flytewheel.recipe import GateSpec
from flytewheel.records import Decision, Interval, Verdict

PROMOTE, HOLD, REJECT = Decision.PROMOTE_TO_CANARY, Decision.HOLD, Decision.REJECT
NOTHING = dict.fromkeys(GateSpec.model_fields)
METRICS = ("perplexity", "preference_accuracy", "regression_pass_rate", "rouge_l", "bleu")


def compare(candidate: float, champion: float, low: float, high: float, *, users: int = 30) -> Comparison:
    difference = candidate - champion
    return Comparison(
        Interval(candidate, candidate, candidate),
        Interval(champion, champion, champion),
        Interval(difference, low, high),
        99,
        users,
    )


def judge(
    improve: tuple[str, ...] = (), keep: tuple[str, ...] = (), margin: float = 0.05, **found: Comparison
) -> Verdict:
    return decide(Evaluation(metrics=found), ask(improve, keep, margin))


def ask(improve: tuple[str, ...] = (), keep: tuple[str, ...] = (), margin: float = 0.05) -> GateSpec:
    """A gate that asks for these improvements and margins, and for nothing else."""
    rules: dict[str, dict[str, Any]] = {}
    for name in (*improve, *keep):
        how = "max_worsening_absolute" if name == "degenerate_share" else "max_worsening"
        rules.setdefault(name, {}).update(
            ({"improve": True} if name in improve else {}) | ({how: margin} if name in keep else {})
        )
    return GateSpec.model_validate({**NOTHING, **rules})


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
        (compare(0.8, 0.6, 0.1, 0.3, users=5), HOLD, "5 users are too few to claim an improvement, it takes 6"),
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
    assert "cannot tell: rouge_l was not measured" in verdict.reasons


def test_a_gate_that_asks_for_nothing_holds() -> None:
    assert judge(bleu=compare(30, 20, 5, 15)).decision is HOLD


def test_unknown_figures_hold_and_say_why() -> None:
    unknown = Interval(None, None, None)
    verdict = judge(keep=("bleu",), bleu=Comparison(unknown, unknown, unknown, 3, 1))
    assert verdict.decision is HOLD
    assert verdict.reasons == (
        "cannot tell: bleu is unknown; 3 rows of 1 users were measured, it takes two users or more",
    )
    assert verdict.metrics["bleu"] is None


def test_least_users_by_hand() -> None:
    """2 * 2**-5 = 0.0625 > 0.05 >= 2 * 2**-6; at 90 %: 2 * 2**-5 <= 0.1."""
    assert [least_users(level) for level in (0.9, 0.95, 0.99)] == [5, 6, 8]


def figures(level: float = 0.95) -> st.SearchStrategy[Comparison]:
    number = st.floats(-2, 2) | st.sampled_from([0.0, 0.05, -0.05, 1.0])

    def build(champion: float, difference: float, low: float, high: float, users: int) -> Comparison:
        span = Interval(difference, difference - low, difference + high, level)
        return Comparison(Interval(champion + difference, 0, 1), Interval(champion, 0, 1), span, 50, users)

    width = st.floats(0, 1)
    return st.builds(build, number, number, width, width, st.integers(2, 40))


def gates() -> st.SearchStrategy[GateSpec]:
    names = st.lists(st.sampled_from(METRICS), unique=True, max_size=3).map(tuple)
    return st.builds(ask, names, names, st.floats(0, 0.5))


def evaluations() -> st.SearchStrategy[Evaluation]:
    return st.fixed_dictionaries({name: figures() for name in METRICS}).map(lambda found: Evaluation(metrics=found))


RANK = {PROMOTE: 0, HOLD: 1, REJECT: 2}


@given(evaluations(), gates(), st.sampled_from(METRICS), st.floats(0, 3), st.booleans())
@settings(max_examples=400, deadline=None)
def test_what_gets_worse_is_never_promoted_for_it(
    evaluation: Evaluation, gate: GateSpec, name: str, loss: float, low_end_only: bool
) -> None:
    """The whole interval moves in the bad direction, or its bad end alone: the verdict never gets kinder to it."""
    found = evaluation.metrics[name]
    sign = 1 if name in LOWER_IS_BETTER else -1
    ours, span = found.candidate, found.difference
    shift: dict[str, Any] = {"estimate": span.estimate, "low": span.low, "high": span.high}
    moved = ("high" if sign > 0 else "low",) if low_end_only else ("estimate", "low", "high")
    shift |= {key: shift[key] + sign * loss for key in moved}
    worse = replace(
        found,
        candidate=ours if low_end_only else replace(ours, estimate=ours.estimate + sign * loss),
        difference=replace(span, **shift),
    )
    before = decide(evaluation, gate).decision
    after = decide(replace(evaluation, metrics={**evaluation.metrics, name: worse}), gate).decision
    if before is not PROMOTE:
        assert after is not PROMOTE
    if not low_end_only:
        assert RANK[after] >= RANK[before]


@given(
    evaluations(),
    gates(),
    st.sampled_from(
        ["candidate.estimate", "champion.estimate", "difference.estimate", "difference.low", "difference.high"]
    ),
    st.sampled_from([None, math.nan, math.inf, -math.inf]),
)
@settings(max_examples=300, deadline=None)
def test_missing_figures_never_pass(evaluation: Evaluation, gate: GateSpec, place: str, value: float | None) -> None:
    side, key = place.split(".")
    metrics = {
        name: replace(found, **{side: replace(getattr(found, side), **{key: value})})
        for name, found in evaluation.metrics.items()
    }
    verdict = decide(replace(evaluation, metrics=metrics), gate)
    assert verdict.decision is HOLD
    assert all(reason.startswith("cannot tell") for reason in verdict.reasons)


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
