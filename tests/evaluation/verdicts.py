"""Evaluations made up figure by figure, and what the gate says of them, for the tests of gate and rules."""

from __future__ import annotations

from typing import Any

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.report import Evaluation
from flytewheel.recipe import GateSpec
from flytewheel.records import Decision, Interval, Verdict

PROMOTE, HOLD, REJECT = Decision.PROMOTE_TO_CANARY, Decision.HOLD, Decision.REJECT
NOTHING = dict.fromkeys(GateSpec.model_fields)
METRICS = ("perplexity", "preference_accuracy", "regression_pass_rate", "rouge_l", "bleu")
COUNTS = ("regressions", "worse_topics")


def compare(candidate: float, champion: float, low: float, high: float, *, users: int = 30) -> Comparison:
    difference = min(max(candidate - champion, low), high)
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
