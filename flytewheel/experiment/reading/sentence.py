"""What has come of an experiment, as one or two sentences for somebody who knows no statistics.

Figures are those that decided: the interval that holds at every look, in the words of the margin (percent of the
control where the margin is relative, points where it is absolute). A quantile's metric compares shares of slow answers,
so its sentence says shares, and both quantiles where they are known; it never invents "so many percent slower" from
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flytewheel.experiment.reading.findings import Finding
from flytewheel.experiment.reading.gain_words import tell_gains
from flytewheel.experiment.reading.history import ArmTotals, History, Look
from flytewheel.experiment.reading.words import NAMES as NAMES
from flytewheel.experiment.reading.words import say_number

VERDICTS = {
    "draft": "draft",
    "hold": "cannot tell yet",
    "advance": "goes on",
    "promote": "promoted",
    "roll_back": "taken back",
    "stop_for_srm": "stopped: broken split",
    "reject_at_max_duration": "not released: time is over",
    "stopped": "stopped",
    "none": "not looked at yet",
}


def name_verdict(history: History) -> str:
    """The verdict as a key of `VERDICTS`: that of the newest look, unless somebody ended it otherwise."""
    experiment, last = history.experiment, history.last
    if experiment.draft:
        return "draft"
    if experiment.running:
        return last.decision if last is not None else "none"
    if history.rollout is not None and history.rollout.state == "promoted":
        return "promote"
    ended = next((entry.action for entry in reversed(history.log) if entry.action in _ENDS), None)
    return ended if ended is not None and ended in VERDICTS else "stopped"


def tell(history: History) -> str:
    """The verdict in plain language."""
    experiment, verdict = history.experiment, name_verdict(history)
    if verdict == "draft":
        return f"A draft: nobody meets {experiment.treatment} before it is started."
    since = f"After {tell_span(_days(history))} and {_count(history.users, 'user')}"
    last = history.last
    if verdict == "none" or (last is None and verdict not in ("stopped", "promote")):
        return f"{since} nobody has looked yet; a tick does (`flytewheel rollout tick {experiment.name}`)."
    if verdict == "roll_back" and last is not None:
        harmed = [found for found in last.findings if found.outcome == "harm"]
        harmed = harmed or [found for found in last.findings if found.outcome == "worse"]
        told = "; ".join(tell_finding(found, history, canary=True) for found in harmed) or "; ".join(last.reasons)
        return f"{since} {told}: it was taken back."
    if verdict == "stop_for_srm" and last is not None:
        return f"{since} {_tell_split(last)}: it was stopped, and nothing can be concluded from its figures."
    if verdict == "reject_at_max_duration":
        return f"{since} its time is over and it could not be told that nothing is worse than allowed: not released."
    if verdict == "promote":
        if experiment.running:
            return f"{since} nothing is worse than allowed: {experiment.treatment} is to be the champion."
        told = f"{since} nothing was worse than allowed: {experiment.treatment} is the champion."
        brought = tell_gains(history.gains, experiment.control, experiment.treatment)
        return f"{told} {brought}" if brought else told
    if verdict == "stopped":
        return f"{since} it ended without a verdict: {experiment.reason or 'no reason was given'}."
    assert last is not None
    if verdict == "advance":
        return f"{since} nothing is worse than allowed: {_share(experiment.share)} of the users meet the canary now."
    return f"{since} {_tell_hold(last, history)}"


def tell_finding(found: Finding, history: History, *, canary: bool = False) -> str:
    """One metric in words, without a full stop."""
    who = "the canary's" if canary else "its"
    name = NAMES.get(found.metric, found.metric.replace("_", " "))
    control = history.experiment.control
    if found.difference is None or found.control is None:
        return f"{who} {name} cannot be told ({found.reason})"
    if found.quantile:
        return _tell_quantile(found, who, name, control, history.arms)
    interval, allowed = describe_interval(found), describe_margin(found)
    limit = f", {_compare(found, allowed)}" if allowed else ""
    return f"{who} {name} is {interval} {control}'s {_level(found.control)}{limit}"


def describe_interval(found: Finding) -> str:
    """`6 % to 14 % lower than`, or what it is where the interval holds zero."""
    relative = found.relative is not None and not found.quantile and bool(found.control)
    part = abs(found.control or 1.0) if relative else 1.0
    if found.low is None or found.high is None:
        size = (found.difference or 0.0) / part
        return f"{_size(abs(size), relative, found)} {'higher' if size > 0 else 'lower'} than"
    low, high = found.low / part, found.high / part
    if low > 0 or high < 0:
        near, far = sorted((abs(low), abs(high)))
        return f"{_range(near, far, relative, found)} {'higher' if low > 0 else 'lower'} than"
    return (
        f"between {_size(-low, relative, found)} lower and {_size(high, relative, found)} higher than"
        if low < 0 < high
        else "level with"
    )


def describe_margin(found: Finding) -> str:
    """What is allowed, in the interval's unit; empty where nothing was asked."""
    if found.relative is not None:
        return f"{say_number(100 * found.relative)} %"
    return "" if found.margin is None else _size(abs(found.margin), False, found)


def tell_span(days: float) -> str:
    """`3 days`, `5 hours`, `20 minutes`."""
    if days >= 1.5:
        return _count(round(days), "day")
    if days >= 1.5 / 24:
        return _count(round(days * 24), "hour")
    return _count(max(round(days * 1440), 1), "minute")


# ------------------------------------------------------------------------------------------------------------ parts

_ENDS = (
    "promote",
    "promoted",
    "roll_back",
    "stop_for_srm",
    "reject_at_max_duration",
    "superseded",
    "stopped",
)


def _days(history: History) -> float:
    since = history.experiment.created_at
    until = history.experiment.stopped_at or history.as_of
    return max((until - since).total_seconds() / 86_400, 0.0) if since is not None and until is not None else 0.0


def _tell_quantile(found: Finding, who: str, name: str, control: str, arms: Sequence[ArmTotals]) -> str:
    known = {arm.arm: arm.p95_ms for arm in arms}
    before, after = known.get("control"), known.get("treatment")
    allowed = describe_margin(found)
    told = f"{who} {name} "
    if before and after:
        by = (after / before - 1) * 100
        told += f"is {after:,.0f} ms against {control}'s {before:,.0f} ms ({say_number(abs(by))} % "
        told += f"{'slower' if by >= 0 else 'faster'}; {allowed} slower is allowed), and "
    else:
        told += f"may be {allowed} slower than {control}'s, and "
    share = found.treatment or 0.0
    error = "" if found.low is None or found.high is None else _spread(found)
    sure = {"harm": "credibly more than", "cleared": "credibly no more than"}.get(found.outcome, "against")
    return (
        told + f"{_percent(share)} of its answers take longer than that{error}, {sure} the {_level(found.control)} due"
    )


def _spread(found: Finding) -> str:
    ends = [max((found.control or 0.0) + end, 0.0) for end in (found.low or 0.0, found.high or 0.0)]
    return f" ({say_number(100 * ends[0])} % to {_percent(ends[1])})"


def _tell_split(look: Look) -> str:
    seen = " and ".join(f"{count:,} in {arm}" for arm, count in look.users.items())
    meant = f" where {_share(look.share)} were meant to meet the treatment" if look.share is not None else ""
    return f"the split contradicts itself: {seen}{meant}"


def _tell_hold(look: Look, history: History) -> str:
    guarded = [found for found in look.findings if found.role == "guardrail"]
    harmed = [found for found in guarded if found.outcome == "harm"]
    if harmed:
        told = "; ".join(tell_finding(found, history, canary=True) for found in harmed)
        return f"{told}: it waits for a person."
    open_ = [found for found in guarded if found.outcome != "cleared"]
    if not open_:
        return f"nothing is worse than allowed; it holds: {'; '.join(look.reasons)}."
    told = "; ".join(_tell_open(found, history) for found in open_)
    rest = len(guarded) - len(open_)
    done = f" {_count(rest, 'other metric')} {'is' if rest == 1 else 'are'} cleared." if rest else ""
    return f"it cannot be told yet: {told}.{done}"


def _tell_open(found: Finding, history: History) -> str:
    if found.low is None:
        name = NAMES.get(found.metric, found.metric.replace("_", " "))
        return f"{name}: {found.reason}"
    return tell_finding(found, history)


def _compare(found: Finding, allowed: str) -> str:
    if found.outcome == "worse":
        return "credibly worse"
    sure = {"harm": f"more than the {allowed} allowed", "cleared": f"within the {allowed} allowed"}
    return sure.get(found.outcome, f"where {allowed} {found.worse} is allowed")


def _level(value: float | None) -> str:
    return _percent(value) if value is not None and abs(value) <= 1 else say_number(value or 0.0)


def _range(near: float, far: float, relative: bool, found: Finding) -> str:
    if relative:
        return f"{say_number(100 * near)} % to {say_number(100 * far)} %"
    return f"{_size(near, relative, found).removesuffix(' points')} to {_size(far, relative, found)}"


def _size(value: float, relative: bool, found: Finding) -> str:
    if relative:
        return f"{say_number(100 * value)} %"
    return f"{say_number(100 * value)} points" if abs(found.control or 0.0) <= 1 else say_number(value)


def _percent(value: float) -> str:
    return f"{say_number(100 * value)} %"


def _share(value: float | None) -> str:
    return "?" if value is None else _percent(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def describe_outcomes(findings: Sequence[Finding]) -> Mapping[str, int]:
    """How many metrics have each outcome."""
    return {kind: sum(found.outcome == kind for found in findings) for kind in ("harm", "hold", "cleared")}
