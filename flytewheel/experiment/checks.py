"""Decides what a step asks for beside cleared guardrails: the checks that a recipe names for each stage.

| check | holds where the stored evidence says |
|---|---|
| `no_regressions` | every guardrail is cleared (decision.py asks for it at every step, named or not) |
| `positive_trend` | some primary metric lies on the good side of the control, and none is credibly worse |
| `significant_improvement` | some primary is `better`: it crossed its group-sequential boundary at a planned look |
| `final_validation` | every earlier step's stored verdict derives again from its own evidence |

`ab_testing.stage_checks` has a list for each stage: what the step out of it asks for. Those of the last stage, which
has no control to compare with, are asked for by the step to it. The way back must have been exercised, too
(`rollback_drill_s`): a rollout that has not been taken back in a drill does not grow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DRILL = "the way back was not exercised yet"


def choose_checks(stage_checks: Sequence[Sequence[str]], stage: int, last: int) -> list[str]:
    """The checks of the step out of `stage`; `last` is the index of the stage that has everybody."""
    places = [stage, last] if stage + 1 >= last else [stage]
    named = [check for place in places if place < len(stage_checks) for check in stage_checks[place]]
    return sorted({*named, *(["final_validation"] if stage + 1 >= last else [])})


def list_unmet(evidence: Mapping[str, Any]) -> tuple[str, ...]:
    """Why a cleared stage may not be left yet; no figures, so that an unchanged hold reads the same."""
    rules = evidence["rules"]
    unmet = []
    for check in rules.get("checks", ()):
        fault = _CHECKS[check](evidence)
        if fault:
            unmet.append(f"{check}: {fault}")
    return (*unmet, *_doubt_way_back(evidence))


def wants_drill(evidence: Mapping[str, Any]) -> bool:
    """Whether nobody has exercised the way back since this experiment began, or the last time it failed."""
    if evidence.get("rules", {}).get("rollback_drill_s") is None or "drill" not in evidence:
        return False
    return bool(_doubt_way_back(evidence))


def _doubt_way_back(evidence: Mapping[str, Any]) -> tuple[str, ...]:
    limit_s = evidence["rules"].get("rollback_drill_s")
    if limit_s is None or "drill" not in evidence:  # evidence of before there were drills
        return ()
    drill = evidence["drill"]
    if drill is None:
        return (DRILL,)
    if not drill["passed"]:
        return tuple(f"the way back failed: {fault}" for fault in drill["faults"]) or ("the way back failed",)
    return () if drill["seconds"] <= limit_s else (f"the way back took longer than {limit_s:g} s",)


def _has_trend(evidence: Mapping[str, Any]) -> str:
    trends = [one for one in evidence.get("trends", {}).values() if one is not None]
    if not trends:
        return "no primary metric tells yet"
    return "" if max(trends) > 0 else "no primary metric is on the good side of the control"


def _has_improvement(evidence: Mapping[str, Any]) -> str:
    better = any(one["outcome"] == "better" for one in evidence["primaries"])
    return "" if better else "no primary metric is better, so far, at a planned look"


def _is_valid(evidence: Mapping[str, Any]) -> str:
    unsound = [step for step in evidence.get("steps", ()) if not step["sound"]]
    return "; ".join(f"the step out of stage {step['stage']} does not derive from its evidence" for step in unsound)


_CHECKS = {
    "no_regressions": lambda evidence: "",
    "positive_trend": _has_trend,
    "significant_improvement": _has_improvement,
    "final_validation": _is_valid,
}
