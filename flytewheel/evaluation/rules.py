"""What one rule of the gate finds in one figure: for, against or cannot tell, with everything that a person needs.

Every reason says the figure, its interval, rows and users, and the bound that was asked; where it holds, also the next
step. The number of users that "would tell" is an estimate: an interval shrinks with one over the root of its users, so
one that reaches h beyond its estimate, with its bound at a distance g, is clear of that bound at n (h / g)² users.

An interval is believed when it is finite, holds its own estimate and has a level. To pass on one takes enough users
besides: with n of them all pointing one way, chance alone does that with probability 2·2⁻ⁿ (the sign test), so below 6
users no interval at 95 % means what it says, however narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.report import Evaluation, is_lower_better, tellable
from flytewheel.recipe import GateRule
from flytewheel.recipe.lm_eval import LM_EVAL
from flytewheel.records import Decision, Interval

Finding = tuple[Decision, str]

_MOST_USERS = 10_000_000  # more are as good as never
_SLACK = 1e-9  # an estimate and its resamples are summed in another order
_WANTED = {
    "perplexity": "it takes held-out answers of two users or more: collect more",
    "preference_accuracy": "it takes held-out preference pairs of two users or more: collect more",
    "implicit_reward_accuracy": "it takes held-out preference pairs of two users or more, and a champion that was "
    "trained: collect more",
    "regression_pass_rate": "it takes two regression cases or more: name a file under curation.regression_cases",
    "regressions": "it takes regression cases: name a file under curation.regression_cases",
    "worse_topics": "it takes a topic with evaluation.topics.min_users held-out users or more: collect more",
}


def judge(name: str, rule: GateRule, evaluation: Evaluation) -> Iterator[Finding]:
    """Judges the figure `name` by everything that `rule` asks; a finding each."""
    for decision, text in _judge(name, rule, evaluation):
        yield decision, text.replace(" users", " documents") if name.startswith(LM_EVAL) else text


def _judge(name: str, rule: GateRule, evaluation: Evaluation) -> Iterator[Finding]:
    if name in evaluation.metrics:
        yield from _judge_metric(name, rule, evaluation.metrics[name])
    elif name in evaluation.counts:
        yield from _judge_count(name, rule, evaluation.counts[name])
    else:
        yield Decision.HOLD, f"cannot tell: {name} was not measured, {_asked(rule)} was asked; {_how_to_get(name)}"


def least_users(level: float) -> int:
    """The fewest units with which a two-sided claim at `level` can be made: 2·2⁻ⁿ ≤ 1 − level."""
    return math.ceil(1 - math.log2(1 - level))


def users_to_tell(users: int, spread: Interval, bound: float) -> int | None:
    """How many users would tell on which side of `bound` the estimate lies, at this spread; `None` where none would.

    Args:
        users: So many gave the interval.
        spread: Its width shrinks with one over the root of the users.
        bound: Within the interval.
    """
    estimate, low, high = spread.estimate, spread.low, spread.high
    if estimate is None or low is None or high is None:
        return None
    gap = estimate - bound
    reach = estimate - low if gap > 0 else high - estimate
    if gap == 0:
        return None
    if reach * math.sqrt(users) > abs(gap) * math.sqrt(_MOST_USERS):
        return _MOST_USERS + 1
    return max(math.ceil(round(users * (reach / gap) ** 2, 6)), users + 1, least_users(spread.level))


def _judge_metric(name: str, rule: GateRule, found: Comparison) -> Iterator[Finding]:
    if rule.improve:
        yield _judge_improvement(name, found)
    if rule.max_worsening is not None:
        yield _judge_worsening(name, found, rule.max_worsening, relative=True)
    if rule.max_worsening_absolute is not None:
        yield _judge_worsening(name, found, rule.max_worsening_absolute, relative=False)
    if rule.min_lower_bound is not None:
        yield _judge_bound(name, found, rule.min_lower_bound, "above", 1)
    if rule.max_upper_bound is not None:
        yield _judge_bound(name, found, rule.max_upper_bound, "below", -1)
    for bound, words, sign in _figure_bounds(rule):
        yield _judge_figure(name, found, bound, words, sign)


def _judge_count(name: str, rule: GateRule, count: float | None) -> Iterator[Finding]:
    if wrong := sorted(rule.asked - {"min", "max"}):
        yield (
            Decision.HOLD,
            f"cannot tell: {name} is a count, which can be asked for max and min, not for {', '.join(wrong)}; "
            f"correct gate.{name}",
        )
    for bound, words, sign in _figure_bounds(rule):
        asked = f"{words} {bound:.4g} was asked"
        if tellable(count) is None or count is None:
            yield Decision.HOLD, f"cannot tell: {name} is unknown, {asked}; {_how_to_get(name)}"
        elif count < 0:
            yield Decision.HOLD, f"cannot tell: {name} {count:.4g} is no count, {asked}; measure it again"
        elif sign * (count - bound) >= 0:
            yield Decision.PROMOTE_TO_CANARY, f"for: {name} {count:.4g}; {asked}"
        else:
            yield Decision.REJECT, f"against: {name} {count:.4g}; {asked}"


def _judge_figure(name: str, found: Comparison, bound: float, words: str, sign: int) -> Finding:
    """The figure itself, whatever its interval; an interval that contradicts it holds all the same."""
    spread, asked = found.candidate, f"{words} {bound:.4g} was asked"
    figure = tellable(spread.estimate)
    bare = spread.low is None and spread.high is None
    if figure is None or not (bare or _fault(spread) is None):
        return _cannot_tell(name, found, spread, asked)
    text = f"{_describe(name, found)}; {asked}"
    if sign * (figure - bound) >= 0:
        return Decision.PROMOTE_TO_CANARY, f"for: {text}"
    return Decision.REJECT, f"against: {text}"


def _judge_bound(name: str, found: Comparison, bound: float, words: str, sign: int) -> Finding:
    spread, asked = found.candidate, f"{words} {bound:.4g} was asked"
    if found.users < 2 or _fault(spread) is not None or spread.low is None or spread.high is None:
        return _cannot_tell(name, found, spread, asked)
    figures = _describe(name, found)
    bad, good = (spread.low, spread.high) if sign > 0 else (spread.high, spread.low)
    if sign * (good - bound) < 0:
        return Decision.REJECT, f"against: {figures}; it had to be {words} {bound:.4g}"
    if sign * (bad - bound) <= 0:
        step = _say_users(found, spread, bound)
        return Decision.HOLD, f"cannot tell: {figures}; the interval is not clear of {bound:.4g}, {asked}; {step}"
    return _check_users(figures, found, spread, asked) or (
        Decision.PROMOTE_TO_CANARY,
        f"for: {figures}; {asked}",
    )


def _judge_improvement(name: str, found: Comparison) -> Finding:
    spread, asked = found.difference, "an improvement was asked"
    span = _good_span(name, found)
    if span is None:
        return _cannot_tell(name, found, spread, asked)
    figures = _compare(name, found)
    if span[1] < 0:
        return Decision.REJECT, f"against: {figures}; it had to improve and is clearly worse"
    if span[0] <= 0:
        step = _say_users(found, spread, 0.0)
        return (
            Decision.HOLD,
            f"cannot tell: {figures}; it had to improve and the interval is not clear of zero; {step}",
        )
    return _check_users(figures, found, spread, asked) or (
        Decision.PROMOTE_TO_CANARY,
        f"for: {figures}; better, clear of zero",
    )


def _judge_worsening(name: str, found: Comparison, margin: float, *, relative: bool) -> Finding:
    champion = tellable(found.champion.estimate)
    span = _good_span(name, found)
    if span is None or champion is None:
        asked = f"{margin:.4g}" + (" of the champion's" if relative else "")
        return _cannot_tell(name, found, found.difference, f"no worsening by more than {asked} was asked")
    figures = _compare(name, found)
    tolerated = margin * abs(champion) if relative else margin
    limit = f"the tolerated worsening of {tolerated:.4g}" + (f" ({margin:.0%} of the champion's)" if relative else "")
    if span[1] < -tolerated:
        return Decision.REJECT, f"against: {figures}; worse than {limit}"
    if span[0] < -tolerated:
        step = _say_users(found, found.difference, tolerated if is_lower_better(name, found) else -tolerated)
        return Decision.HOLD, f"cannot tell: {figures}; the interval reaches beyond {limit}; {step}"
    return _check_users(figures, found, found.difference, f"at most {limit} was asked") or (
        Decision.PROMOTE_TO_CANARY,
        f"for: {figures}; not worse than {limit}",
    )


def _figure_bounds(rule: GateRule) -> Iterator[tuple[float, str, int]]:
    if rule.min is not None:
        yield rule.min, "at least", 1
    if rule.max is not None:
        yield rule.max, "at most", -1


def _good_span(name: str, found: Comparison) -> tuple[float, float] | None:
    """The interval of the improvement (positive is good), or nothing where a figure is missing or makes no sense."""
    spread = found.difference
    estimates = (found.candidate.estimate, found.champion.estimate)
    if found.users < 2 or any(tellable(one) is None for one in estimates) or _fault(spread) is not None:
        return None
    if spread.low is None or spread.high is None:
        return None
    return (-spread.high, -spread.low) if is_lower_better(name, found) else (spread.low, spread.high)


def _fault(spread: Interval) -> str | None:
    """Why an interval cannot be believed; nothing where it can."""
    low, high, estimate = tellable(spread.low), tellable(spread.high), tellable(spread.estimate)
    if low is None or high is None or estimate is None:
        return "is missing or not a finite number"
    slack = _SLACK * max(1.0, abs(low), abs(high))
    if low > high:
        return f"contradicts itself: its interval [{low:.4g}, {high:.4g}] ends before it begins"
    if not low - slack <= estimate <= high + slack:
        return f"contradicts itself: {estimate:.4g} lies outside its interval [{low:.4g}, {high:.4g}]"
    if not 0.5 < spread.level < 1:
        return f"has an interval at level {spread.level}, which says nothing: expected one between 0.5 and 1"
    return None


def _cannot_tell(name: str, found: Comparison, spread: Interval, asked: str) -> Finding:
    if found.users < 2:
        cause = f"{found.rows} rows of {found.users} users were measured, it takes two users or more, {asked}"
        return Decision.HOLD, f"cannot tell: {name} is unknown; {cause}; {_how_to_get(name)}"
    fault = _fault(spread) or "is missing or not a finite number"
    cause = f"a figure of {found.rows:,} rows of {found.users:,} users {fault}, {asked}"
    return Decision.HOLD, f"cannot tell: {name} is unknown; {cause}; evaluate again, or see the notes of the evaluation"


def _check_users(figures: str, found: Comparison, spread: Interval, asked: str) -> Finding | None:
    """Holds what would pass on too few users."""
    least = least_users(spread.level)
    if found.users >= least:
        return None
    few = f"{found.users} users are too few to claim it, it takes {least}"
    return Decision.HOLD, f"cannot tell: {figures}; {asked}; {few}: collect more"


def _say_users(found: Comparison, spread: Interval, bound: float) -> str:
    needed = users_to_tell(found.users, spread, bound)
    if needed is None:
        return "no number of users would tell: the estimate lies on the bound itself"
    if needed > _MOST_USERS:
        return f"collect more: at this spread it would take more than {_MOST_USERS:,} users to tell"
    return f"collect more: at this spread about {needed:,} users would tell"


def _how_to_get(name: str) -> str:
    if name.startswith(LM_EVAL):
        return "look at evaluation.lm_eval and at the notes of the evaluation, or take the rule out of gate.lm_eval"
    return _WANTED.get(name, f"switch on under evaluation what measures it, or write gate.{name}: null")


def _asked(rule: GateRule) -> str:
    words = []
    for key, value in rule:
        if key in rule.asked:
            words.append(key if value is True else f"{key} {value:g}")
    return ", ".join(words)


def _describe(name: str, found: Comparison) -> str:
    spread = found.candidate
    interval = "" if spread.low is None or spread.high is None else f" [{spread.low:.4g}, {spread.high:.4g}]"
    level = f" at {_percent(spread.level)}" if interval else " without an interval"
    return f"{name} {spread.estimate:.4g}{interval}{level} over {found.rows:,} rows of {found.users:,} users"


def _compare(name: str, found: Comparison) -> str:
    spread = found.difference
    return (
        f"{name} {found.candidate.estimate:.4g}, champion {found.champion.estimate:.4g}, "
        f"difference {spread.estimate:+.4g} [{spread.low:+.4g}, {spread.high:+.4g}] at {_percent(spread.level)} "
        f"over {found.rows:,} rows of {found.users:,} users"
    )


def _percent(level: float) -> str:
    """`95%`, and `99.94%` where rounding would say 100."""
    return f"{100 * level:.4f}".rstrip("0").rstrip(".") + "%"
