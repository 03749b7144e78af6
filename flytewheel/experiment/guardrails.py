"""Decides of one guardrail whether the treatment does harm, is cleared, or cannot be told from either yet (hold).

- **The difference** comes from user totals (analysis/ratio.py), the evidence from one-sided e-values against the margin
  δ₀ (analysis/e_values.py), valid however often one looks.
- **One boundary, two sides.** *Cleared*: the treatment is credibly better than δ₀ in the bad direction. *Harm*: it is
  credibly worse than δ₀. A worsening inside the margin is tolerated, and both cannot hold at once. Neither outcome is
  remembered: each look says what the stage's data say now, which is stricter than the theorem asks.
- **A quantile's margin** lies in the threshold (flytewheel/experiment/metrics), so its boundary is δ₀ = 0: the
  treatment's share beyond (1 + margin)·q against the control's beyond q. What is planned for is that identical arms are
  cleared: their difference is Φ(−z) − Φ(−z − ln(1 + margin)/σ) for log-normal latencies with Φ(−z) = tail, at σ = 0.5
  (a p95 of 2.3 medians) 0.93 points for a margin of 5 %. Half or one and a half times that clear as many (simulated).
- **Burn-in.** The variance must be worth something before the first look: enough users an arm, and 10 events of the
  rarer kind expected in the treatment at the margin (for a quantile in the control, too: there its threshold comes
  from). Without it 12 % are falsely cleared, not 4 % (simulated).
- **Zero errors need not hold for ever**: the treatment's variance is never taken below that of independent requests at
  the margin's rate p₀, p₀(1 − p₀)/ΣN, as a score test would have it; that is above zero even where no user erred.

A relative margin of any other metric is that part of the control's rate, in the metric's bad direction.
"""

from __future__ import annotations

import math
from dataclasses import replace

from flytewheel.experiment.analysis.always_valid import bound_difference
from flytewheel.experiment.analysis.differences import Difference
from flytewheel.experiment.analysis.e_values import MIN_EVENTS, choose_tau, size_margin, weigh
from flytewheel.experiment.analysis.records import Design, Finding
from flytewheel.experiment.metrics import Metric, declare_metrics
from flytewheel.recipe import AbTestingSpec


def make_design(ab_testing: AbTestingSpec) -> Design:
    """What a recipe fixes before the data. The primary metric is looked at by plan at each stage's end."""
    metrics = declare_metrics(ab_testing)
    return Design(
        metrics,
        means=frozenset(metric.name for metric in metrics if not metric.is_share),
        confidence_level=ab_testing.confidence_level,
        burn_in_users=ab_testing.burn_in_users,
        looks=max(1, sum(share < 1 for share in ab_testing.rollout_stages)),
    )


def judge(
    metric: Metric,
    found: Difference,
    blank: Finding,
    *,
    burn_in_users: int,
    confidence_level: float,
    share: bool = True,
) -> Finding:
    """Judges one guardrail at one look.

    Args:
        metric: with its margin.
        found: both arms in this stage.
        blank: the finding that is filled in: names, and the figures that do not depend on the role.
        burn_in_users: users an arm below which nothing is said.
        confidence_level: 1 − α of each side.
        share: the metric counts events in [0, 1].

    Returns:
        The outcome with its figures; whatever cannot be told is `hold`, with the reason.
    """
    before, after = found.control, found.treatment
    weighed = weigh(
        metric,
        (before.estimate, after.estimate),
        found.variances,
        (before.users, after.users),
        (before.total, after.total),
        burn_in_users=burn_in_users,
        confidence_level=confidence_level,
        share=share,
        shift=found.shift,
    )
    told = replace(
        blank,
        margin=float(weighed.margin),
        expected_events=float(weighed.expected) if share else None,
    )
    held = int(weighed.held)
    if held >= 0:
        return replace(told, outcome="hold", reason=_word(held, burn_in_users))
    variance = float(weighed.variance)
    planned = float(size_margin(metric, before.estimate)[1])
    half = float(bound_difference(variance, tau=choose_tau(planned, 1 - confidence_level), alpha=1 - confidence_level))
    told = replace(
        told,
        standard_error=math.sqrt(variance),
        information=1 / variance,
        interval=(found.value - half, found.value + half),
        log_e_harm=float(weighed.log_e_harm),
        log_e_cleared=float(weighed.log_e_cleared),
    )
    if weighed.harmed(confidence_level):
        return replace(told, outcome="harm", reason="worse than the margin allows")
    if weighed.cleared(confidence_level):
        return replace(told, outcome="cleared", reason="not worse than the margin allows")
    return replace(told, outcome="hold", reason="cannot tell yet")


def _word(held: int, burn_in_users: int) -> str:
    return (
        "the margin is zero at this control rate: an absolute margin would not be",
        f"burn-in: fewer than {burn_in_users} users in an arm",
        "zero variance at the margin: it leaves the range of a share",
        f"burn-in: fewer than {MIN_EVENTS:.0f} events expected in the treatment at the margin",
        "zero variance",
    )[held]
