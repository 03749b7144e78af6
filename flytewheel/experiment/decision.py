"""Decides what is due for a rollout, out of evidence that is stored whole: the same evidence gives the same decision.

| found | decision |
|---|---|
| users an arm contradict the shares, of all or of one router | `stop_for_srm` |
| harm in a guardrail; a primary that is worse and not cleared as a guardrail | `roll_back` (or a person's) |
| an arm without data, a figure that is none, nothing new for too long, clocks that disagree | `hold` |
| something not cleared | `hold`, and once the longest time is over `reject_at_max_duration` |
| cleared, but dwell not over, a check of the stage not met (checks.py), paused, or approval missing | `hold` |
| all of that done | `advance`, or `promote` where the next stage is everyone |

Harm goes before missing data: what was credible stays so, and the champion is the safe place. Missing data goes before
the longest time: nothing was learnt of the candidate, so a person looks at the wiring first. `rederive` reads a stored
decision back: it asks the digest whether the evidence is the one that was stored, tells every outcome anew from its
figures, and decides again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from flytewheel.errors import ExperimentError
from flytewheel.experiment.analysis.srm import has_sample_ratio_mismatch
from flytewheel.experiment.checks import list_unmet
from flytewheel.recipe import AbTestingSpec, AutomationSpec
from flytewheel.records import digest

Decision = Literal["advance", "promote", "roll_back", "stop_for_srm", "reject_at_max_duration", "hold", "none"]

WAITS = "cleared; waits for approval"
PAUSED = "cleared; the rollout is paused"
_AHEAD_HOURS = 1.0  # that the newest interaction may lie in the future before the clocks are doubted


class Verdict(NamedTuple):
    """A decision with every reason; reasons hold no figures, so that an unchanged hold reads the same."""

    decision: Decision
    reasons: tuple[str, ...]


def list_rules(ab_testing: AbTestingSpec, automation: AutomationSpec, *, next_share: float) -> dict[str, Any]:
    """What a decision asks of a recipe, as evidence keeps it."""
    return {
        "confidence_level": ab_testing.confidence_level,
        "stage_duration_hours": ab_testing.stage_duration_hours,
        "max_duration_days": ab_testing.max_duration_days,
        "stale_after_hours": ab_testing.stale_after_hours,
        "rollback_on_regression": automation.rollback_on_regression,
        "auto_rollout": automation.auto_rollout,
        "next_share": next_share,
    }


def decide(evidence: Mapping[str, Any]) -> Verdict:
    """The decision that stored evidence gives: JSON, as `rollout.tick` writes it."""
    rules = evidence["rules"]
    if mismatch := [one for one in evidence["sample_ratios"] if one["mismatch"]]:
        return Verdict("stop_for_srm", tuple(dict.fromkeys(_word_mismatch(one) for one in mismatch)))
    harmed = _list_harm(evidence)
    if harmed and rules["rollback_on_regression"]:
        return Verdict("roll_back", harmed)
    if harmed:
        return Verdict("hold", (*harmed, "automation.rollback_on_regression is off: stop the experiment by hand"))
    if not evidence["guardrails"]:
        return Verdict("hold", ("no guardrail is set: nothing can clear the stage",))
    untold = tuple(f"{_name(one)}: {one['reason']}" for one in evidence["guardrails"] if one["outcome"] != "cleared")
    if doubts := _doubt(evidence):
        return Verdict("hold", tuple(dict.fromkeys((*untold, *doubts))))
    if untold and evidence["age_hours"] >= 24 * rules["max_duration_days"]:
        return Verdict("reject_at_max_duration", (f"not cleared within {rules['max_duration_days']:g} days", *untold))
    if untold:
        return Verdict("hold", untold)
    if evidence["stage_hours"] < rules["stage_duration_hours"]:
        return Verdict("hold", (f"cleared; the stage lasts {rules['stage_duration_hours']:g} hours",))
    if unmet := list_unmet(evidence):
        if evidence["age_hours"] >= 24 * rules["max_duration_days"]:
            return Verdict("reject_at_max_duration", (f"not met within {rules['max_duration_days']:g} days", *unmet))
        return Verdict("hold", unmet)
    if evidence.get("paused"):
        return Verdict("hold", (PAUSED,))
    if not rules["auto_rollout"] and not evidence["approved"]:
        return Verdict("hold", (WAITS,))
    step: Decision = "promote" if rules["next_share"] >= 1 else "advance"
    return Verdict(step, ("all guardrails cleared, the stage's time is over",))


def _list_harm(evidence: Mapping[str, Any]) -> tuple[str, ...]:
    """Guardrails that call harm, and primaries that are worse where no guardrail of theirs has told how much."""
    told = {(one["metric"], one["arm"]) for one in evidence["guardrails"] if one["outcome"] != "hold"}
    harmed = [one for one in evidence["guardrails"] if one["outcome"] == "harm"]
    worse = [
        one for one in evidence["primaries"] if one["outcome"] == "worse" and (one["metric"], one["arm"]) not in told
    ]
    return tuple(f"{_name(one)}: harm: {one['reason']}" for one in (*harmed, *worse))


def rederive(detail: Mapping[str, Any]) -> Verdict:
    """Decides a stored decision again, from its evidence alone.

    Args:
        detail: of a decision's line in the rollout's log: `evidence`, `digest`, `decision`.

    Raises:
        ExperimentError: the evidence is not what was hashed, or an outcome in it does not follow from its figures.
    """
    evidence = detail["evidence"]
    if digest(evidence) != detail["digest"]:
        raise ExperimentError("the evidence of this decision was changed after it was stored: its digest is another's")
    limit = -math.log(1 - evidence["rules"]["confidence_level"])
    for one in evidence["guardrails"]:
        told = _tell(one, limit)
        if told != one["outcome"]:
            raise ExperimentError(f"{one['metric']}: {one['outcome']} was stored, its figures say {told}")
    for ratio in evidence["sample_ratios"]:
        tests = 1 if ratio["router"] is None else sum(each["router"] is not None for each in evidence["sample_ratios"])
        told_mismatch = has_sample_ratio_mismatch(ratio["users"], ratio["shares"], tests=tests)
        if told_mismatch != ratio["mismatch"]:
            raise ExperimentError(f"sample ratio: {ratio['mismatch']} was stored, the users say {told_mismatch}")
    return decide(evidence)


def _tell(finding: Mapping[str, Any], limit: float) -> str:
    harm, cleared = finding["log_e_harm"], finding["log_e_cleared"]
    if harm is None or cleared is None:
        return "hold"
    return "harm" if harm >= limit else "cleared" if cleared >= limit else "hold"


def _doubt(evidence: Mapping[str, Any]) -> Sequence[str]:
    """Why what was counted may not be relied on, whatever it says."""
    doubts = []
    for one in evidence["guardrails"]:
        figures = [value for value in one.values() if isinstance(value, float)]
        if one["control"] is None or one["treatment"] is None:
            doubts.append(f"{_name(one)}: {one['reason']}")
        elif not all(math.isfinite(value) for value in figures):
            doubts.append(f"{_name(one)}: a figure is not finite")
    doubts += [f"no users in {arm}" for arm, users in evidence["users"].items() if not users and not doubts]
    newest, bound = evidence["newest_hours"], evidence["rules"]["stale_after_hours"]
    if newest is not None and newest > bound:
        doubts.append(f"stale: nothing was stored for more than {bound:g} hours")
    if newest is not None and newest < -_AHEAD_HOURS:
        doubts.append("the newest interaction lies in the future: the clocks disagree")
    return doubts


def _name(finding: Mapping[str, Any]) -> str:
    return str(finding["metric"])


def _word_mismatch(ratio: Mapping[str, Any]) -> str:
    where = "" if ratio["router"] is None else f" at router {ratio['router']}"
    return f"sample ratio mismatch{where}: users an arm contradict the share"
