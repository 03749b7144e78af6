"""One look at an experiment, for every reader: `analyse`.

What is asked of each role:
- a *guardrail* is judged in the present stage alone, at every look (flytewheel/experiment/guardrails.py);
- a *primary* is compared over all stages, each a stratum. Its α has two sides, each half of it. *Better* can wait: it
  is decided at the planned looks, by a group-sequential boundary (sequential.py); one that was crossed stays crossed,
  because the experiment could have stopped there. *Worse* cannot wait: a one-sided e-value against no difference
  (e_values.py) decides it at any look. Several primaries, or treatments, share α by Holm (holm.py);
- what is *watched* has its interval.
Each of them has an interval that holds at every look (always_valid.py). Whatever cannot be told is `hold`, with the
reason; nothing is ever a neutral number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.special import ndtri

from flytewheel.experiment import guardrails
from flytewheel.experiment.analysis.always_valid import bound_difference
from flytewheel.experiment.analysis.differences import Difference, compare
from flytewheel.experiment.analysis.e_values import MIN_EVENTS, choose_tau, log_e_value
from flytewheel.experiment.analysis.holm import step_down
from flytewheel.experiment.analysis.records import Analysis, Design, Finding, PastLook, SampleRatio
from flytewheel.experiment.analysis.sequential import find_boundaries
from flytewheel.experiment.analysis.srm import has_sample_ratio_mismatch, srm_log_e_value
from flytewheel.experiment.analysis.strata import Stratum, combine
from flytewheel.experiment.metrics import ArmMoments, ArmSums, Metric, StageCounts, UserSums

PLANNED_DIFFERENCE = 0.05  # of the control's rate, that an interval without a margin is tuned to
REPEATED = "a user counts twice in an arm"
UNWEIGHED = "a user has no probability of the arm in the log"


def analyse(
    design: Design,
    stages: Sequence[StageCounts],
    *,
    look: int,
    history: Sequence[PastLook] = (),
    routers: Mapping[str, Mapping[str, int]] | None = None,
) -> Analysis:
    """Analyses what was counted so far.

    Args:
        design: what was fixed before the data.
        stages: counts by stage with its shares, the present one last; at least one.
        look: the planned look that this is, from 1; 0 for a look between them.
        history: what earlier planned looks left (`Analysis.to_history`), of all of them.
        routers: users an arm in the present stage, by router, where that is known.
    """
    present = stages[-1]
    arms = [arm for arm in dict.fromkeys((*present.shares, *present.users)) if arm != design.control]
    findings: list[Finding] = []
    questions: list[tuple[Metric, Finding]] = []
    for metric in design.metrics:
        for arm in arms:
            if metric.role == "primary":
                questions.append((metric, _measure(design, metric, arm, stages)))
            else:
                findings.append(_look_at(design, metric, arm, present))
    primaries = _decide(design, questions, look, history)
    return Analysis(look, dict(present.users), (*primaries, *findings), _check_split(stages, routers or {}))


def _look_at(design: Design, metric: Metric, arm: str, stage: StageCounts) -> Finding:
    found, blank = _begin(design, metric, arm, stage)
    if found is None:
        return blank
    if metric.role == "guardrail":
        return guardrails.judge(
            metric,
            found,
            blank,
            burn_in_users=design.burn_in_users,
            confidence_level=design.confidence_level,
        )
    lacking = _find_lacking(design, metric, [found])
    if lacking is not None:
        return replace(blank, outcome="watch", reason=lacking)
    stratum = found.to_stratum(share=metric.is_share)
    return _fill(design, metric, replace(blank, outcome="watch", reason=""), stratum.difference, stratum.variance)


def _measure(design: Design, metric: Metric, arm: str, stages: Sequence[StageCounts]) -> Finding:
    """A primary over all stages, not decided yet: z and information are None where nothing can be told."""
    last, blank = _begin(design, metric, arm, stages[-1])
    read = [_begin(design, metric, arm, stage)[0] for stage in stages]
    # Told by size alone, so that no outcome can choose its stratum.
    counted = [
        one
        for one in read
        if one is not None and min(one.control.users, one.treatment.users) >= max(2, design.burn_in_users)
    ]
    blank = replace(blank, strata=len(counted))
    if not counted:
        reason = blank.reason if last is None else _find_lacking(design, metric, [last]) or "zero variance"
        return replace(blank, reason=reason)
    lacking = _find_lacking(design, metric, counted)
    if lacking is not None:
        return replace(blank, reason=lacking)
    strata: list[Stratum] = [one.to_stratum(share=metric.is_share) for one in counted]
    return _fill(design, metric, blank, *combine(strata))


def _begin(design: Design, metric: Metric, arm: str, stage: StageCounts) -> tuple[Difference | None, Finding]:
    sums = stage.sums.get(metric.name, {})
    blank = Finding(
        metric.name,
        "hold",
        "",
        control_users=sums[design.control].users if design.control in sums else 0,
        treatment_users=sums[arm].users if arm in sums else 0,
        role=metric.role,
        arm=arm,
    )
    if any(_repeats(each) for each in sums.values()):
        return None, replace(blank, reason=REPEATED)
    if any(_lacks_weights(each) for each in sums.values()):
        return None, replace(blank, reason=UNWEIGHED)
    if metric.is_share and (outside := [name for name, each in sums.items() if _leaves_range(each)]):
        return None, replace(blank, reason=f"shares outside 0 to 1 in {' and '.join(outside)}")
    found = compare(metric, sums, arm, design.control)
    if isinstance(found, tuple):
        return None, replace(blank, reason=f"no data in {' and '.join(found)}")
    adjusted = found.adjustment
    return found, replace(
        blank,
        control=found.control.estimate,
        treatment=found.treatment.estimate,
        difference=found.value,
        theta=adjusted.theta if adjusted else None,
        variance_kept=adjusted.kept if adjusted else None,
        cap=found.cap,
        capped_users=found.capped_users,
    )


def _lacks_weights(sums: ArmSums) -> bool:
    return isinstance(sums, UserSums) and sums.weights is not None and not bool(np.isfinite(sums.weights).all())


def _repeats(sums: ArmSums) -> bool:
    if isinstance(sums, ArmMoments) or sums.keys is None:
        return False
    return len(np.unique(sums.keys)) < sums.users


def _leaves_range(sums: ArmSums) -> bool:
    """Whether a user has fewer than none or more than all; NaN is told elsewhere."""
    if isinstance(sums, ArmMoments):
        return sums.outside > 0
    room = 1e-9 * np.abs(sums.denominators)
    return bool(((sums.numerators < -room) | (sums.numerators > sums.denominators + room)).any())


def _find_lacking(design: Design, metric: Metric, read: Sequence[Difference]) -> str | None:
    if all(min(one.control.users, one.treatment.users) < max(2, design.burn_in_users) for one in read):
        return f"burn-in: fewer than {design.burn_in_users} users in an arm"
    if not metric.is_share:
        return None
    for place in (0, 1):
        arms = [(one.control, one.treatment)[place] for one in read]
        events = sum(arm.estimate * arm.total for arm in arms)
        if min(events, sum(arm.total for arm in arms) - events) < MIN_EVENTS:
            return f"burn-in: fewer than {MIN_EVENTS:.0f} events, or chances without one, in an arm"
    return None


def _fill(design: Design, metric: Metric, blank: Finding, difference: float, variance: float) -> Finding:
    if not math.isfinite(variance) or variance <= 0 or not math.isfinite(difference):
        return replace(blank, reason="zero variance")
    planned = metric.absolute_margin or (metric.relative_margin or PLANNED_DIFFERENCE) * abs(blank.control or 0.0)
    alpha = 1 - design.confidence_level
    told = replace(
        blank,
        difference=difference,
        standard_error=math.sqrt(variance),
        information=1 / variance,
        z=difference / math.sqrt(variance),
    )
    if planned <= 0:
        return replace(told, reason="the control's rate is zero: give an absolute margin")
    tau = choose_tau(planned, alpha)
    half = float(bound_difference(variance, tau=tau, alpha=alpha))
    told = replace(told, interval=(difference - half, difference + half))
    if metric.role != "primary" or told.z is None:
        return told
    toward_bad = -1.0 if metric.worse == "lower" else 1.0
    return replace(told, log_e_harm=float(log_e_value(toward_bad * told.z, 1 / variance, tau)))


# ------------------------------------------------------------------------------------------------------------ primaries


@dataclass(frozen=True, slots=True)
class _Step:
    """A planned look: how much of the plan it is, and z with the good direction up."""

    look: int
    information: float
    part: float
    z: float


def _decide(
    design: Design, questions: Sequence[tuple[Metric, Finding]], look: int, history: Sequence[PastLook]
) -> list[Finding]:
    paths = [_trace(design, metric, found, look, history) for metric, found in questions]
    tests = [partial(_is_rejected, path, found) for path, (_, found) in zip(paths, questions, strict=True)]
    answers = step_down(tests, 1 - design.confidence_level)
    return [
        _word(found, path, level, look) for (_, found), path, (_, level) in zip(questions, paths, answers, strict=True)
    ]


def _word(found: Finding, path: Sequence[_Step], level: float, look: int) -> Finding:
    now = look > 0 and bool(path) and path[-1].look == look
    found = replace(found, boundary=_bounds(path, level)[-1] if now else None)
    if _is_worse(found, level):
        return replace(found, outcome="worse", reason="worse than the control")
    if _is_better(path, level):
        return replace(found, outcome="better", reason="better than the control")
    return found if found.reason else replace(found, reason="cannot tell yet" if look else "between the planned looks")


def _trace(design: Design, metric: Metric, found: Finding, look: int, history: Sequence[PastLook]) -> list[_Step]:
    mine = {one.look: one for one in history if (one.metric, one.arm) == (found.metric, found.arm)}
    if look and found.information is not None and found.z is not None:
        mine[look] = PastLook(look, found.metric, found.arm, found.information, found.z)
    planned = design.planned_information.get(found.metric)
    good = 1.0 if metric.worse == "lower" else -1.0
    path = []
    for number, one in sorted(mine.items()):
        part = number / design.looks if planned is None or number >= design.looks else one.information / planned
        path.append(_Step(number, one.information, min(1.0, part), good * one.z))
    return path


def _bounds(path: Sequence[_Step], level: float) -> tuple[float, ...]:
    return find_boundaries(
        [step.information for step in path], [step.part for step in path], alpha=level / 2, two_sided=False
    )


def _is_better(path: Sequence[_Step], level: float) -> bool:
    single = -float(ndtri(level / 2))  # below that of a single look no boundary lies
    if all(step.z < single for step in path):
        return False
    return any(step.z >= bound for step, bound in zip(path, _bounds(path, level), strict=True))


def _is_worse(found: Finding, level: float) -> bool:
    return found.log_e_harm is not None and found.log_e_harm >= -math.log(level / 2)


def _is_rejected(path: Sequence[_Step], found: Finding, level: float) -> bool:
    return _is_worse(found, level) or _is_better(path, level)


# ---------------------------------------------------------------------------------------------------------------- split


def _check_split(stages: Sequence[StageCounts], routers: Mapping[str, Mapping[str, int]]) -> tuple[SampleRatio, ...]:
    checked = [_compare_split(number, stage.users, stage.shares) for number, stage in enumerate(stages)]
    last = len(stages) - 1
    checked += [
        _compare_split(last, users, stages[-1].shares, router=router, tests=len(routers))
        for router, users in sorted(routers.items())
    ]
    return tuple(checked)


def _compare_split(
    stage: int,
    users: Mapping[str, int],
    shares: Mapping[str, float | None],
    *,
    router: str | None = None,
    tests: int = 1,
) -> SampleRatio:
    """Where arms are drawn anew for every request (a share is None) users have no share to be held against."""
    known = {arm: share for arm, share in shares.items() if share is not None}
    if len(known) < len(shares):
        known = {}
    log_e = srm_log_e_value(users, known)
    return SampleRatio(
        stage, dict(users), dict(shares), log_e, has_sample_ratio_mismatch(users, known, tests=tests), router
    )
