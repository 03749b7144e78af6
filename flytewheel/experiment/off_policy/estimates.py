"""What a target policy π would have earned an answer, from a log that was made with known propensities p.

With w = π(a|x)/p(a):
- **IPS**: mean of w·r (Horvitz and Thompson 1952). Unbiased whatever rewards look like.
- **SNIPS**: Σwr/Σw (Swaminathan and Joachims 2015): a little bias, of order 1/users, for less variance.
- **DR**: mean of Σ_k π(k|x)·q_k(x) + w·(r − q_a(x)) (Dudík, Langford and Li 2011), q_k a ridge regression of each arm,
  fitted on other users than it is asked about (cross-fitting, Chernozhukov et al. 2018): unbiased whatever q says,
  since p is known, and with the less variance the better q is.

Users are the unit: folds hold whole users, and the variance is the delta method's of a ratio of user totals,
m/(m − 1)·Σ_u e_u²/N², e_u being the user's sum of residuals. Intervals are Student's with m − 1 degrees of freedom.
Departure from the literature: a user of a sticky experiment meets one arm in all answers, so the weight of an answer is
that of its user's arm; an answer's reward is taken to depend on its own arm only.

The **effective sample size** (Kish 1965) is that of users, (ΣW_u)²/ΣW_u² with W_u = Σw: how many users of a log that
was made by π itself would say as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from flytewheel.experiment.off_policy.answers import Answers, Floats, sum_by_user

Method = Literal["IPS", "SNIPS", "DR"]
METHODS: tuple[Method, ...] = ("IPS", "SNIPS", "DR")
FOLDS = 5
RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Reward an answer, in [-1, 1] in the mean, with its standard error and interval."""

    method: Method
    value: float
    standard_error: float
    interval: tuple[float, float]


def weigh(answers: Answers, target: Floats) -> Floats:
    """π(a|x)/p(a) of every answer, `(answers,)`; `target` is π, `(answers, arms)`."""
    found: Floats = target[np.arange(len(answers)), answers.actions] / answers.propensities
    return found


def count_effective_users(answers: Answers, weights: Floats) -> float:
    """The effective sample size, in users; 0 where no weight is above 0."""
    by_user = sum_by_user(answers.users, weights)
    squares = float(by_user @ by_user)
    return float(by_user.sum()) ** 2 / squares if squares > 0 else 0.0


def estimate_ips(answers: Answers, target: Floats, *, level: float = 0.95) -> Estimate:
    """Inverse propensity scores; `target` is π, `(answers, arms)`."""
    return _conclude("IPS", answers, weigh(answers, target) * answers.rewards, np.ones(len(answers)), level)


def estimate_snips(answers: Answers, target: Floats, *, level: float = 0.95) -> Estimate:
    """Self-normalised inverse propensity scores; `target` is π, `(answers, arms)`."""
    weights = weigh(answers, target)
    return _conclude("SNIPS", answers, weights * answers.rewards, weights, level)


def estimate_dr(
    answers: Answers,
    target: Floats,
    *,
    level: float = 0.95,
    folds: int = FOLDS,
    predicted: Floats | None = None,
    gain: bool = False,
) -> Estimate:
    """Doubly robust.

    Args:
        answers: the log.
        target: π, `(answers, arms)`.
        level: of the interval.
        folds: users are split into so many parts.
        predicted: q_k(x), `(answers, arms)`, where it comes from elsewhere than this log.
        gain: of what was earned over what the log earned: what both share cancels, answer by answer.
    """
    if predicted is None:
        predicted = predict_crosswise(answers, folds)
    own = predicted[np.arange(len(answers)), answers.actions]
    scores = (target * predicted).sum(axis=1) + weigh(answers, target) * (answers.rewards - own)
    if gain:
        scores = scores - answers.rewards
    return _conclude("DR", answers, scores, np.ones(len(answers)), level)


def predict_crosswise(answers: Answers, folds: int = FOLDS) -> Floats:
    """q_k(x) of every answer and arm, `(answers, arms)`, by ridge regression on other folds' users.

    An arm that no user of the other folds met is predicted to earn what all arms do there.
    """
    found = np.zeros((len(answers), len(answers.arms)))
    _, places = np.unique(answers.users, return_inverse=True)
    # Neighbours in time go to different folds, and every fold sees all of the time.
    parts = places % folds
    size = answers.contexts.shape[1]
    for part in range(folds):
        held = parts == part
        if not held.any():
            continue
        rest = ~held
        middle = float(answers.rewards[rest].mean()) if rest.any() else 0.0
        for arm in range(len(answers.arms)):
            rows = rest & (answers.actions == arm)
            contexts = answers.contexts[rows]
            moments = contexts.T @ contexts + RIDGE * np.eye(size)
            slopes = np.linalg.solve(moments, contexts.T @ (answers.rewards[rows] - middle))
            found[held, arm] = middle + answers.contexts[held] @ slopes
    return found


def _conclude(method: Method, answers: Answers, numerators: Floats, denominators: Floats, level: float) -> Estimate:
    total = float(denominators.sum())
    value = float(numerators.sum()) / total
    errors = sum_by_user(answers.users, numerators - value * denominators)
    users = len(errors)
    error = float(np.sqrt(users / (users - 1) * (errors @ errors))) / total
    half = float(stats.t.ppf(0.5 + level / 2, users - 1)) * error
    return Estimate(method, value, error, (value - half, value + half))
