"""Decides whether a candidate may be tried on people: promote_to_canary, hold or reject, with every reason.

A metric that must improve does so when the interval of its difference is clear of zero in the good direction; clear of
zero in the bad one it rejects; anything else holds. A metric that must not worsen passes when even the interval's bad
end lies within the margin (a share of the champion's figure; absolute for rare errors), rejects when even the good
end lies beyond it, and holds where the interval straddles it. A figure that is missing, not finite or contradictory
holds: no answer is no pass. One rejection rejects, else one hold holds. So nothing that gets worse can turn another
verdict into a promotion.

A candidate that is the champion itself, as after a small turn that was taken back, holds whatever is asked.

An improvement also needs enough users to be claimed at all: with n of them all pointing one way, chance alone does that
with probability 2·2⁻ⁿ (the sign test), so below 6 users no interval at 95 % means what it says, however narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.report import LOWER_IS_BETTER, Evaluation, tellable
from flytewheel.recipe import GateSpec
from flytewheel.records import Decision, Verdict

RARE = frozenset({"degenerate_share"})  # errors near zero: a share of the champion's figure would tolerate nothing
_SEVERITY = {Decision.PROMOTE_TO_CANARY: 0, Decision.HOLD: 1, Decision.REJECT: 2}
_NAMED_CASES = 5

Finding = tuple[Decision, str]


def decide(evaluation: Evaluation, gate: GateSpec) -> Verdict:
    """Weighs an evaluation.

    Args:
        evaluation: Candidate against champion.
        gate: What must improve, what must not worsen, and by which margin.

    Returns:
        The decision, a reason for each thing asked (for and against), and the figures that were looked at: `name`,
        `name.champion` and `name.difference`.

    Raises:
        EvaluationError: the gate asks for a metric that was not measured.
    """
    asked = list(dict.fromkeys([*gate.must_improve, *gate.must_not_worsen]))
    unknown = [name for name in asked if name not in evaluation.metrics]
    if unknown:
        known = ", ".join(sorted(evaluation.metrics)) or "none"
        raise EvaluationError(
            f"the gate asks for {', '.join(unknown)}, measured were {known}; correct the recipe's gate"
        )
    findings = [
        *(_judge_improvement(name, evaluation.metrics[name]) for name in gate.must_improve),
        *(_judge_worsening(name, evaluation.metrics[name], gate.margin) for name in gate.must_not_worsen),
    ]
    if evaluation.unchanged:
        findings = [(Decision.HOLD, "nothing learnt: the candidate is the champion, weight for weight; it stays")]
    elif not findings:
        findings = [(Decision.HOLD, "cannot tell: the gate asks for nothing; name a metric under gate.must_improve")]
    reasons = [text for _, text in findings]
    reasons += _list_changed_cases(evaluation)
    figures: dict[str, float | None] = {}
    for name, found in evaluation.metrics.items():
        figures[name] = tellable(found.candidate.estimate)
        figures[f"{name}.champion"] = tellable(found.champion.estimate)
        figures[f"{name}.difference"] = tellable(found.difference.estimate)
    return Verdict(max((decision for decision, _ in findings), key=_SEVERITY.__getitem__), tuple(reasons), figures)


def least_users(level: float) -> int:
    """The fewest units with which a two-sided claim at `level` can be made: 2·2⁻ⁿ ≤ 1 − level."""
    return math.ceil(1 - math.log2(1 - level))


def _judge_improvement(name: str, found: Comparison) -> Finding:
    span = _good_span(name, found)
    if span is None:
        return _cannot_tell(name, found)
    figures = _describe(name, found)
    least = least_users(found.difference.level)
    if span[1] < 0:
        return Decision.REJECT, f"against: {figures}; it had to improve and is clearly worse"
    if found.users < least:
        return (
            Decision.HOLD,
            f"cannot tell: {figures}; {found.users} users are too few to claim an improvement, it takes {least}",
        )
    if span[0] > 0:
        return Decision.PROMOTE_TO_CANARY, f"for: {figures}; better, clear of zero"
    return Decision.HOLD, f"cannot tell: {figures}; it had to improve and the interval is not clear of zero"


def _judge_worsening(name: str, found: Comparison, margin: float) -> Finding:
    span = _good_span(name, found)
    champion = found.champion.estimate
    if span is None or champion is None:
        return _cannot_tell(name, found)
    figures = _describe(name, found)
    if name in RARE:
        tolerated, of = margin, "of all answers"
    else:
        tolerated, of = margin * abs(champion), "of the champion's"
    limit = f"the tolerated worsening of {tolerated:.4g} ({margin:.0%} {of})"
    if span[0] >= -tolerated:
        return Decision.PROMOTE_TO_CANARY, f"for: {figures}; not worse than {limit}"
    if span[1] < -tolerated:
        return Decision.REJECT, f"against: {figures}; worse than {limit}"
    return Decision.HOLD, f"cannot tell: {figures}; the interval reaches beyond {limit}"


def _good_span(name: str, found: Comparison) -> tuple[float, float] | None:
    """The interval of the improvement (positive is good), or nothing where a figure is missing or makes no sense."""
    spread = found.difference
    numbers = (found.candidate.estimate, found.champion.estimate, spread.estimate, spread.low, spread.high)
    if any(tellable(number) is None for number in numbers) or spread.low is None or spread.high is None:
        return None
    if spread.low > spread.high:
        return None
    return (-spread.high, -spread.low) if name in LOWER_IS_BETTER else (spread.low, spread.high)


def _cannot_tell(name: str, found: Comparison) -> Finding:
    if found.users < 2:
        cause = f"{found.rows} rows of {found.users} users were measured, it takes two users or more"
    else:
        cause = f"a figure of {found.rows} rows is missing or not a finite number"
    return Decision.HOLD, f"cannot tell: {name} is unknown; {cause}"


def _describe(name: str, found: Comparison) -> str:
    spread = found.difference
    return (
        f"{name} {found.candidate.estimate:.4g}, champion {found.champion.estimate:.4g}, "
        f"difference {spread.estimate:+.4g} [{spread.low:+.4g}, {spread.high:+.4g}] at {spread.level:.0%} "
        f"over {found.rows:,} rows of {found.users:,} users"
    )


def _list_changed_cases(evaluation: Evaluation) -> list[str]:
    """Says which regression cases changed sides; the pass rate decides, the names tell a person where to look."""
    lines = []
    if evaluation.newly_failing:
        lines.append(f"against: regression cases that passed before and fail now: {_name(evaluation.newly_failing)}")
    if evaluation.newly_passing:
        lines.append(f"for: regression cases that failed before and pass now: {_name(evaluation.newly_passing)}")
    return lines


def _name(cases: Sequence[str]) -> str:
    more = len(cases) - _NAMED_CASES
    return ", ".join(cases[:_NAMED_CASES]) + (f" and {more} more" if more > 0 else "")
