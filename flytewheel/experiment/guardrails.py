"""Decides of one guardrail whether the treatment does harm, is cleared, or cannot be told from either yet (hold).

- **Difference of ratios from user totals.** R = ΣX/ΣN by arm, Var R = m/(m−1)·Σ(Xᵤ − R·Nᵤ)²/(ΣN)²: the delta method
  with the user as the unit (Deng, Knoblich and Lu 2018, "Applying the Delta Method in Metric Analytics").
  Counting requests as if they were independent, and looking daily, calls 57 % of identical arms different (simulated).
- **One-sided e-value against the margin δ₀**, valid however often one looks: the likelihood ratio of D ~ N(δ, SE²)
  mixed over δ − δ₀ ~ half-normal(τ). With I = 1/SE², z = (D − δ₀)/SE and a² = τ²I/(1 + τ²I),
  E = 2·(1 + τ²I)^(−½)·exp(a²z²/2)·Φ(az) (Robbins 1970; Johari, Pekelis and Walsh 2015; Howard et al. 2021). E ≥ 1/α
  happens with probability at most α while D's mean is on the wrong side, over all looks together (Ville).
- **One boundary, two sides.** *Cleared*: the treatment is credibly better than δ₀ in the bad direction. *Harm*: it is
  credibly worse than δ₀. A worsening inside the margin is tolerated, and both cannot hold at once. Neither outcome is
  remembered: each look says what the stage's data say now, which is stricter than the theorem asks.
- **τ** is set before the data by the margin: τ² = c/I*, c = −2 ln α + ln(1 − 2 ln α), I* half the planned information,
  planned being what finds a difference of one margin with 80 % power, ((z₁₋α + z₀.₈)/δ₀)². So τ = 1.6·δ₀ at 95 %.
- **A quantile's margin** lies in the threshold (flytewheel/experiment/metrics/stage.py), so its boundary is δ₀ = 0: the
  treatment's share beyond (1 + margin)·q against the control's beyond q. What is planned for is that identical arms are
  cleared: their difference is Φ(−z) − Φ(−z − ln(1 + margin)/σ) for log-normal latencies with Φ(−z) = tail, at σ = 0.5
  (a p95 of 2.3 medians) 0.93 points for a margin of 5 %. Half or one and a half times that clear as many (simulated).
- **Burn-in.** The variance must be worth something before the first look: enough users an arm, and 10 events of the
  rarer kind expected in the treatment at the margin (for a quantile in the control, too: there its threshold comes
  from). Without it 12 % are falsely cleared, not 4 % (simulated).
- **Zero errors need not hold for ever**: the treatment's variance is never taken below that of independent requests at
  the margin's rate p₀, p₀(1 − p₀)/ΣN, as a score test would have it; that is above zero even where no user erred.
- **Sample ratio mismatch**: users an arm against the share, by a Beta-binomial e-value (Lindon and Malek 2022). The
  Beta has weight 1,000 and sits at the share: that is Beta(500, 500) at one half, which would be blunt elsewhere.

A relative margin of any other metric is that part of the control's rate, in the metric's bad direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

from flytewheel.experiment.metrics import UserSums, find_metric
from flytewheel.recipe import Guardrail

Outcome = Literal["harm", "cleared", "hold"]

MIN_EVENTS = 10.0  # of the rarer kind, expected at the margin
SRM_LIMIT = 1000.0  # an e-value: false alarms at most once in a thousand experiments
SRM_WEIGHT = 1000.0
PLANNED_POWER = 0.8
PLANNED_SPREAD = 0.5  # σ of the logarithm of latencies


@dataclass(frozen=True, slots=True)
class Ratio:
    """ΣX/ΣN of one arm with its variance by user; `variance` is None where fewer than two users give none."""

    estimate: float
    variance: float | None
    users: int
    total: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What a guardrail found. Rates and `difference` (treatment − control) are the metric's own; `margin` is δ₀, with
    its sign; e-values are natural logarithms, None where they could not be had. `reason` holds no figures, so that the
    same finding reads the same at every look.
    """

    metric: str
    outcome: Outcome
    reason: str
    control: float | None = None
    treatment: float | None = None
    difference: float | None = None
    standard_error: float | None = None
    margin: float | None = None
    log_e_harm: float | None = None
    log_e_cleared: float | None = None
    control_users: int = 0
    treatment_users: int = 0
    expected_events: float | None = None


def estimate_ratio(sums: UserSums) -> Ratio | None:
    """The ratio of an arm's totals, by the delta method over users; None without a denominator, or not finite."""
    total = float(sums.denominators.sum())
    if not sums.users or not math.isfinite(total) or total <= 0:
        return None
    estimate = float(sums.numerators.sum()) / total
    if not math.isfinite(estimate):
        return None
    if sums.users < 2:
        return Ratio(estimate, None, sums.users, total)
    residuals = sums.numerators - estimate * sums.denominators
    variance = sums.users / (sums.users - 1) * float(residuals @ residuals) / total**2
    return Ratio(estimate, variance, sums.users, total)


def log_e_value(z: float, information: float, tau: float) -> float:
    """ln E of the one-sided mixture; `z` counts standard errors beyond the null, `information` is 1/SE²."""
    scale = tau * tau * information
    a_squared = scale / (1 + scale)
    return math.log(2) - 0.5 * math.log1p(scale) + 0.5 * a_squared * z * z + _log_normal_cdf(math.sqrt(a_squared) * z)


def choose_tau(margin: float, alpha: float) -> float:
    """The mixture's scale τ, in the metric's units, for a margin (its size) and a level."""
    normal = NormalDist()
    planned = ((normal.inv_cdf(1 - alpha) + normal.inv_cdf(PLANNED_POWER)) / abs(margin)) ** 2
    c = -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
    return math.sqrt(c / (planned / 2))


def plan_effect(tail: float, margin: float) -> float:
    """How far apart identical arms are in a quantile's metric, whose relative `margin` moved one threshold."""
    normal = NormalDist()
    place = normal.inv_cdf(tail)
    return normal.cdf(place) - normal.cdf(place - math.log1p(margin) / PLANNED_SPREAD)


def judge(
    guardrail: Guardrail, control: UserSums, treatment: UserSums, *, burn_in_users: int, confidence_level: float
) -> Finding:
    """Judges one guardrail at one look.

    Args:
        guardrail: the metric and its margin.
        control: user totals of the control in this stage.
        treatment: those of the treatment.
        burn_in_users: users an arm below which nothing is said.
        confidence_level: 1 − α of each side.

    Returns:
        The outcome with its figures; whatever cannot be told is `hold`, with the reason.

    Raises:
        ExperimentError: the metric is not known.
    """
    metric = find_metric(guardrail.metric)
    seen = {"control_users": control.users, "treatment_users": treatment.users}
    known = {"control": estimate_ratio(control), "treatment": estimate_ratio(treatment)}
    before, after = known["control"], known["treatment"]
    if before is None or after is None:
        arms = " and ".join(arm for arm, ratio in known.items() if ratio is None)
        return Finding(guardrail.metric, "hold", f"no data in {arms}", **seen)
    toward_bad = -1.0 if metric.worse == "lower" else 1.0
    size = guardrail.absolute_margin
    if size is None:
        size = (guardrail.relative_margin or 0.0) * before.estimate
    planned, smaller = size, after.total
    if metric.tail is not None:
        planned, size = plan_effect(metric.tail, guardrail.relative_margin or 0.0), 0.0
        smaller = min(before.total, after.total)  # the threshold needs requests beyond it too
    difference = after.estimate - before.estimate
    at_margin = before.estimate + toward_bad * size
    rarer = min(at_margin, 1 - at_margin)
    expected = smaller * rarer
    plain = Finding(
        guardrail.metric,
        "hold",
        "",
        control=before.estimate,
        treatment=after.estimate,
        difference=difference,
        margin=toward_bad * size,
        expected_events=expected,
        **seen,
    )
    if planned <= 0:
        return replace(plain, reason="the margin is zero at this control rate: an absolute margin would not be")
    if before.variance is None or after.variance is None or min(before.users, after.users) < burn_in_users:
        return replace(plain, reason=f"burn-in: fewer than {burn_in_users} users in an arm")
    if rarer <= 0:
        return replace(plain, reason="zero variance at the margin: it leaves the range of a share")
    if expected < MIN_EVENTS:
        return replace(
            plain, reason=f"burn-in: fewer than {MIN_EVENTS:.0f} events expected in the treatment at the margin"
        )
    variance = before.variance + max(after.variance, at_margin * (1 - at_margin) / after.total)
    if not math.isfinite(variance) or variance <= 0:
        return replace(plain, reason="zero variance")
    error = math.sqrt(variance)
    alpha = 1 - confidence_level
    tau = choose_tau(planned, alpha)
    beyond = (toward_bad * difference - size) / error  # standard errors on the bad side of the margin
    log_e_harm = log_e_value(beyond, 1 / variance, tau)
    log_e_cleared = log_e_value(-beyond, 1 / variance, tau)
    told = replace(plain, standard_error=error, log_e_harm=log_e_harm, log_e_cleared=log_e_cleared)
    limit = -math.log(alpha)
    if log_e_harm >= limit:
        return replace(told, outcome="harm", reason="worse than the margin allows")
    if log_e_cleared >= limit:
        return replace(told, outcome="cleared", reason="not worse than the margin allows")
    return replace(told, reason="cannot tell yet")


def srm_log_e_value(control_users: int, treatment_users: int, share: float) -> float:
    """ln E against `treatment_users` ~ Binomial(all users, share); `share` in (0, 1)."""
    alpha, beta = SRM_WEIGHT * share, SRM_WEIGHT * (1 - share)
    mixed = _log_beta(alpha + treatment_users, beta + control_users) - _log_beta(alpha, beta)
    return mixed - treatment_users * math.log(share) - control_users * math.log1p(-share)


def has_sample_ratio_mismatch(control_users: int, treatment_users: int, share: float) -> bool:
    """Whether users an arm contradict the share; a share of 0 or 1 splits nobody and is never contradicted."""
    return 0 < share < 1 and srm_log_e_value(control_users, treatment_users, share) >= math.log(SRM_LIMIT)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_normal_cdf(x: float) -> float:
    if x < -30:  # erfc underflows soon after; the first term of Mills' ratio is within 0.2 % here
        return -0.5 * x * x - math.log(-x * math.sqrt(2 * math.pi))
    return math.log(0.5 * math.erfc(-x / math.sqrt(2)))
