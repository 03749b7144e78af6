"""Decides whether a candidate may be tried on people: promote_to_canary, hold or reject, with every reason.

The recipe has a rule a figure (`recipe.GateRule`). A figure that must improve does so when the interval of its
difference is clear of zero in the good direction; clear of zero in the bad one it rejects; anything else holds. A
margin passes when even the interval's bad end lies within it (a share of the champion's figure, or absolute, for rare
errors), rejects when even the good end lies beyond it, and holds where the interval straddles it. A bound of the
candidate's own interval passes, rejects and holds likewise; `min` and `max` look at the figure alone. A figure that is
missing, not finite or contradictory holds: no answer is no pass. One rejection rejects, else one hold holds. So nothing
that gets worse can turn another verdict into a promotion.

A candidate that is the champion itself, as after a small turn that was taken back, holds whatever is asked.

An improvement also needs enough users to be claimed at all: with n of them all pointing one way, chance alone does that
with probability 2·2⁻ⁿ (the sign test), so below 6 users no interval at 95 % means what it says, however narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.report import LOWER_IS_BETTER, Evaluation, tellable
from flytewheel.recipe import GateRule, GateSpec
from flytewheel.records import Decision, Verdict

_SEVERITY = {Decision.PROMOTE_TO_CANARY: 0, Decision.HOLD: 1, Decision.REJECT: 2}
_NAMED_CASES = 5

Finding = tuple[Decision, str]


def decide(evaluation: Evaluation, gate: GateSpec) -> Verdict:
    """Weighs an evaluation.

    Args:
        evaluation: Candidate against champion.
        gate: What each figure must show.

    Returns:
        The decision, a reason for each thing asked (for and against), and the figures that were looked at: `name`,
        `name.champion` and `name.difference`.
    """
    findings = [finding for name, rule in gate.rules.items() for finding in _judge(name, rule, evaluation)]
    if evaluation.unchanged:
        findings = [(Decision.HOLD, "nothing learnt: the candidate is the champion, weight for weight; it stays")]
    elif not findings:
        findings = [(Decision.HOLD, "cannot tell: the gate asks for nothing; name a figure under gate")]
    reasons = [text for _, text in findings]
    reasons += [*_list_changed_cases(evaluation), *evaluation.notes]
    figures: dict[str, float | None] = {}
    for name, found in evaluation.metrics.items():
        figures[name] = tellable(found.candidate.estimate)
        figures[f"{name}.champion"] = tellable(found.champion.estimate)
        figures[f"{name}.difference"] = tellable(found.difference.estimate)
    figures |= {name: tellable(count) for name, count in evaluation.counts.items()}
    return Verdict(max((decision for decision, _ in findings), key=_SEVERITY.__getitem__), tuple(reasons), figures)


def _judge(name: str, rule: GateRule, evaluation: Evaluation) -> Iterator[Finding]:
    found = evaluation.metrics.get(name)
    if found is None:
        if name in evaluation.counts and (rule.min, rule.max) != (None, None):
            yield from _judge_figure(name, rule, evaluation.counts[name])
        else:
            yield Decision.HOLD, f"cannot tell: {name} was not measured"
        return
    if rule.improve:
        yield _judge_improvement(name, found)
    if rule.max_worsening is not None:
        yield _judge_worsening(name, found, rule.max_worsening, relative=True)
    if rule.max_worsening_absolute is not None:
        yield _judge_worsening(name, found, rule.max_worsening_absolute, relative=False)
    yield from _judge_bounds(name, rule, found)
    yield from _judge_figure(name, rule, found.candidate.estimate)


def _judge_figure(name: str, rule: GateRule, figure: float | None) -> Iterator[Finding]:
    for bound, words, sign in ((rule.min, "at least", 1), (rule.max, "at most", -1)):
        if bound is None:
            continue
        if tellable(figure) is None or figure is None:
            yield Decision.HOLD, f"cannot tell: {name} is unknown"
        elif sign * (figure - bound) >= 0:
            yield Decision.PROMOTE_TO_CANARY, f"for: {name} {figure:.4g}; {words} {bound:.4g} was asked"
        else:
            yield Decision.REJECT, f"against: {name} {figure:.4g}; {words} {bound:.4g} was asked"


def _judge_bounds(name: str, rule: GateRule, found: Comparison) -> Iterator[Finding]:
    spread = found.candidate
    low, high = tellable(spread.low), tellable(spread.high)
    for bound, words, sign in ((rule.min_lower_bound, "above", 1), (rule.max_upper_bound, "below", -1)):
        if bound is None:
            continue
        if low is None or high is None or tellable(spread.estimate) is None or low > high:
            yield _cannot_tell(name, found)
            continue
        figures = (
            f"{name} {spread.estimate:.4g} [{low:.4g}, {high:.4g}] at {spread.level:.0%} "
            f"over {found.rows:,} rows of {found.users:,} users"
        )
        bad, good = (low, high) if sign > 0 else (high, low)
        if sign * (bad - bound) > 0:
            yield Decision.PROMOTE_TO_CANARY, f"for: {figures}; {words} {bound:.4g}"
        elif sign * (good - bound) < 0:
            yield Decision.REJECT, f"against: {figures}; it had to be {words} {bound:.4g}"
        else:
            yield Decision.HOLD, f"cannot tell: {figures}; the interval is not clear of {bound:.4g}"


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


def _judge_worsening(name: str, found: Comparison, margin: float, *, relative: bool) -> Finding:
    span = _good_span(name, found)
    champion = found.champion.estimate
    if span is None or champion is None:
        return _cannot_tell(name, found)
    figures = _describe(name, found)
    tolerated = margin * abs(champion) if relative else margin
    limit = f"the tolerated worsening of {tolerated:.4g}" + (f" ({margin:.0%} of the champion's)" if relative else "")
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
    suite, lines = evaluation.details.get("suite", {}), []
    if failing := suite.get("newly_failing"):
        lines.append(f"against: regression cases that passed before and fail now: {_name(failing)}")
    if passing := suite.get("newly_passing"):
        lines.append(f"for: regression cases that failed before and pass now: {_name(passing)}")
    return lines


def _name(cases: Sequence[str]) -> str:
    more = len(cases) - _NAMED_CASES
    return ", ".join(cases[:_NAMED_CASES]) + (f" and {more} more" if more > 0 else "")
