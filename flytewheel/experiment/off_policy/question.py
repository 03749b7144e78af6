"""Decides whether a log can say what a policy would have earned, and answers or refuses in one sentence.

Refused are questions about actions that the log does not hold, or holds too little of: an estimate would come out all
the same, and be made of nothing. An answer stands beside what the log itself earned, with the difference of the two and
the difference's own interval: both are of the same users.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from flytewheel.experiment.off_policy.answers import Answers, Floats, sum_by_user
from flytewheel.experiment.off_policy.estimates import (
    Estimate,
    count_effective_users,
    estimate_dr,
    estimate_ips,
    estimate_snips,
    weigh,
)

LEAST_USERS = 100.0  # effective: below it the interval's own width is a guess, and one user may move the estimate
_MANY = 20  # answers of a topic, of which none is the arm's: that is no chance at a propensity of 0.1 (12 %) or above
_OFF = 5.0  # standard errors by which the mean weight may miss 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question: `refusal` is None where it was answered.

    `logged` is what the log itself earned an answer; `difference` the doubly robust estimate's distance to it.
    """

    policy: str
    refusal: str | None
    answers: int
    users: int
    effective_users: float
    logged: float | None = None
    estimates: tuple[Estimate, ...] = ()
    difference: Estimate | None = None


def ask(
    policy: str, answers: Answers, target: Floats, *, level: float = 0.95, least_users: float = LEAST_USERS
) -> Answer:
    """Estimates what `target`, π `(answers, arms)`, would have earned, or says why that cannot be told.

    Args:
        policy: its name, for the reader.
        answers: the log.
        target: what it would have done.
        level: of the intervals.
        least_users: effective users below which nothing is said.
    """
    told = Answer(policy, None, len(answers), answers.count_users, 0.0)
    if (refusal := _find_fault(answers, target)) is not None:
        return replace(told, refusal=refusal)
    weights = weigh(answers, target)
    effective = count_effective_users(answers, weights)
    told = replace(told, effective_users=effective)
    if effective < least_users:
        return replace(
            told,
            refusal=f"{policy}: the log says as much of it as {effective:.0f} users would, and {least_users:.0f} are "
            "needed; ask about a policy that is nearer to what was served, or log longer",
        )
    if (refusal := _find_drift(policy, answers, weights)) is not None:
        return replace(told, refusal=refusal)
    estimates = tuple(estimate(answers, target, level=level) for estimate in (estimate_ips, estimate_snips))
    robust = estimate_dr(answers, target, level=level)
    logged = float(answers.rewards.mean())
    return replace(
        told,
        logged=logged,
        estimates=(*estimates, robust),
        difference=estimate_dr(answers, target, level=level, gain=True),
    )


def _find_fault(answers: Answers, target: Floats) -> str | None:
    if not len(answers):
        return "the log holds no answers of an experiment in this time"
    lost = int((~(answers.propensities > 0)).sum())
    if lost:
        return (
            f"{lost:,} of {len(answers):,} answers have no propensity above 0 in the log: nobody can tell how likely "
            "they were; ask about an experiment that logs them"
        )
    if (answers.propensities > 1).any() or not np.isfinite(answers.rewards).all():
        return "the log holds propensities above 1 or rewards that are no numbers; it is damaged"
    served = np.bincount(answers.actions, minlength=len(answers.arms))
    for arm, name in enumerate(answers.arms):
        if target[:, arm].max(initial=0.0) > 0 and not served[arm]:
            return f"arm {name!r} was never served in this log, so nothing can be told of it"
    return _find_gap(answers, target)


def _find_gap(answers: Answers, target: Floats) -> str | None:
    """A topic in which the policy would serve what was never served there."""
    asked = Counter(answers.topics)
    topics = np.array(answers.topics, dtype=object)
    for topic, count in asked.items():
        rows = topics == topic
        for arm, name in enumerate(answers.arms):
            wanted = float(target[rows, arm].sum())
            if wanted >= _MANY and not (answers.actions[rows] == arm).any():
                where = f"on topic {topic!r}" if topic else "without a topic"
                return f"arm {name!r} was never served {where} ({count:,} answers), so nothing can be told of it there"
    return None


def _find_drift(policy: str, answers: Answers, weights: Floats) -> str | None:
    """Weights are 1 in the mean where the propensities are true (E w = Σ π = 1)."""
    mean = float(weights.mean())
    errors = sum_by_user(answers.users, weights - mean)
    error = float(np.sqrt(errors @ errors)) / len(answers)
    if abs(mean - 1.0) > max(_OFF * error, 1e-9):
        return (
            f"{policy}: the weights are {mean:.3f} in the mean and not 1 (± {error:.3f}): the logged propensities are "
            "not those by which arms were served"
        )
    return None
