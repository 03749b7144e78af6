"""A plan in lines that a person reads, wherever it is shown: at the terminal, in a report, on a page."""

from __future__ import annotations

from flytewheel.experiment.planning.plan import WANTED, Guarded, Plan, Remedies, Stage
from flytewheel.experiment.planning.traffic import Traffic


def describe_plan(plan: Plan) -> list[str]:
    """The plan in sentences: what it decides, when, and what would do where it does not."""
    verdict = (
        f"a candidate as good as the champion is released after {_days(plan.days)}, and comes through within"
        f" {plan.max_days:g} days with {plan.comes_through:.0%}"
        if plan.decides
        else f"this design cannot decide: {'; '.join(plan.limits)}"
    )
    lines = [verdict]
    for stage in plan.stages:
        lines.append(f"stage {stage.stage} at {stage.share:.0%}: {describe_stage(stage)}")
    lines += describe_primary(plan)
    if plan.remedies is not None:
        lines += describe_remedies(plan.remedies)
    return lines


def describe_stage(stage: Stage) -> str:
    """When a stage is cleared, and what it finds by when."""
    return f"cleared after {_days(stage.days)}; {'; '.join(describe_guarded(guarded) for guarded in stage.guardrails)}"


def describe_guarded(guarded: Guarded) -> str:
    """One guardrail in one stage."""
    if guarded.days_to_harm is None:
        found = f"found with {guarded.finds:.0%} only"
    else:
        found = f"found after {_days(guarded.days_to_harm)} ({guarded.finds:.0%})"
    least = (
        "" if guarded.detectable is None else f", {show_size(guarded.detectable, guarded.relative)} with {WANTED:.0%}"
    )
    return f"{guarded.metric} worse by {show_size(guarded.harm, guarded.relative)} is {found}{least}"


def describe_primary(plan: Plan) -> list[str]:
    """What the primary metric tells at each stage's end."""
    if plan.primary_note:
        return [plan.primary_note]
    told = (
        f"{'more than it can be' if stage.mde is None else show_size(stage.mde, False)} by day {stage.days:.0f}"
        for stage in plan.primary
    )
    return [f"{plan.primary_metric}: a difference is found with {WANTED:.0%} from {', '.join(told)}"]


def describe_remedies(found: Remedies) -> list[str]:
    """What would do, a line each."""
    margins = ", ".join(f"{metric} {margin:g}" for metric, margin in (found.margins or {}).items())
    told = (
        ("a first share of", None if found.share is None else f"{found.share:.0%}"),
        ("margins of", margins or None),
        ("users a day:", None if found.users_per_day is None else f"{found.users_per_day:,.0f}"),
        ("max_duration_days:", None if found.max_days is None else f"{found.max_days:g}"),
    )
    lines = [f"would decide by itself: {what} {value}" for what, value in told if value is not None]
    return lines or ["no share up to a half, margin, number of users or duration within reach would decide"]


def show_size(value: float, relative: bool) -> str:
    """A harm or an effect in its own unit."""
    return f"{100 * value:.3g} %" if relative else f"{100 * value:.3g} points"


def _days(days: float | None) -> str:
    return "more time than there is" if days is None else f"{days:.1f} days"


def describe_traffic(traffic: Traffic) -> str:
    """What the plan rests on."""
    rates = ", ".join(f"{metric} {found.rate:.4g}" for metric, found in sorted(traffic.baselines.items()))
    return (
        f"traffic ({traffic.source}): {traffic.users_per_day:,.0f} users a day, {traffic.returning:.0%} of them on"
        f" another day too, {traffic.requests:.3g} ± {traffic.requests_spread:.2g} requests each; {rates}"
    )
