"""What is known of the traffic before an experiment, and how much of it has been seen after so many days.

- **Users.** `users_per_day` come out of a pool, each of whom is there on a day with probability r, the returning rate:
  so after t days U·(1 − (1 − r)ᵗ)/r of them have been seen (r = 0: everybody is new, U·t), and one who was seen was
  there on A of the days, A ~ Binomial(t, r) given A ≥ 1.
- **Requests.** On such a day a user asks m times, with a spread s between users who stay as they are (the worst case:
  heavy users stay heavy). A metric counts a part d of the requests (a vote on one in ten, say), so a user's denominator
  has E N = d·m·E A and E N² = d²·(m² + s²)·E A² + d·(1 − d)·m·E A.
- **Variance of a user.** Users who differ make answers of one user alike, by ρ (intra-user correlation), so that
  E(X − R·N)² = R(1 − R)·((1 − ρ)·E N + ρ·E N²), and an arm's ratio from n users has the variance of that over
  n·(E N)²: the delta method's (`guardrails.estimate_ratio`), foretold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from flytewheel.errors import ExperimentError
from flytewheel.experiment.metrics import METRICS, Metric

SPREAD = 0.5  # σ of the logarithm of latencies, where nothing is known (guardrails.PLANNED_SPREAD)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a metric is without the candidate.

    Attributes:
        rate: numerator over denominator.
        counted: denominators for one request, in (0, 1].
        correlation: ρ, of the answers of one user, in [0, 1].
        spread: σ of the logarithm, of a quantile's metric.
        user_variance: E(X − R·N)²/(E N)² as it was measured, of a metric that is no share; else it follows from ρ.
    """

    rate: float
    counted: float = 1.0
    correlation: float = 0.2
    spread: float = SPREAD
    user_variance: float | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic of one model. `requests` and `requests_spread` are of one user on one day; `source` says where it is
    from. `metrics` are those that are known, with what a recipe declares of them.
    """

    users_per_day: float
    returning: float = 0.0
    requests: float = 1.0
    requests_spread: float = 0.0
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    source: str = "given"
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)

    def __post_init__(self) -> None:
        """Refuses what is no traffic.

        Raises:
            ExperimentError: a figure is out of its range.
        """
        if not 0 < self.users_per_day < math.inf:
            raise ExperimentError(f"users a day must be above 0, not {self.users_per_day!r}: give --users-per-day")
        if not 0 <= self.returning <= 1:
            raise ExperimentError(f"the returning rate must be in [0, 1], not {self.returning!r}")
        if not (0 < self.requests < math.inf and 0 <= self.requests_spread < math.inf):
            raise ExperimentError(
                f"requests a user must be above 0 and their spread at least 0, not {self.requests!r} and "
                f"{self.requests_spread!r}"
            )

    def count_users(self, days: float) -> float:
        """Different users after so many days."""
        if self.returning < 1e-9:
            return self.users_per_day * days
        if days <= 1:
            return self.users_per_day * days
        return self.users_per_day * -math.expm1(days * math.log1p(-min(self.returning, 1 - 1e-12))) / self.returning

    def count_days(self, days: float) -> tuple[float, float]:
        """E A and E A² of a user who has been seen."""
        r = self.returning
        if r < 1e-9 or days <= 1:
            return 1.0, 1.0
        seen = -math.expm1(days * math.log1p(-min(r, 1 - 1e-12)))
        return days * r / seen, (days * r * (1 - r) + (days * r) ** 2) / seen

    def find_baseline(self, metric: str) -> Baseline:
        """What is known of a metric.

        Raises:
            ExperimentError: nothing is.
        """
        if metric not in self.baselines:
            known = ", ".join(sorted(self.baselines)) or "none"
            raise ExperimentError(
                f"no baseline of {metric!r} (known: {known}): give --baseline {metric}=RATE, or plan where the database"
                " holds some days of traffic"
            )
        return self.baselines[metric]


@dataclass(frozen=True, slots=True)
class Denominators:
    """A user's denominator after some days: E N and E N²."""

    mean: float
    square: float


def count_denominators(traffic: Traffic, baseline: Baseline, days: float) -> Denominators:
    """What a user who was seen has been counted for."""
    first, second = traffic.count_days(days)
    d, m, s = baseline.counted, traffic.requests, traffic.requests_spread
    return Denominators(d * m * first, d * d * (m * m + s * s) * second + d * (1 - d) * m * first)


def user_variance(baseline: Baseline, rate: float, counted: Denominators) -> float:
    """E(X − R·N)²/(E N)² at this rate."""
    if baseline.user_variance is not None:
        return baseline.user_variance
    alike = (1 - baseline.correlation) * counted.mean + baseline.correlation * max(counted.square, counted.mean)
    return max(rate * (1 - rate), 0.0) * alike / counted.mean**2
