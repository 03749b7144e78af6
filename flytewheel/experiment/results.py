"""What an experiment has shown so far: impressions, conversions and latency of each arm, and whether one has won.

An impression is a request, a conversion one whose last vote is up; the rate is conversions over impressions, summed by
user before anything is compared. Only the present stage counts: stages are strata and are never pooled (DESIGN §7).

*Winner.* Whoever reads results reads them again tomorrow, so the interval must hold at every look: the normal
mixture's confidence sequence (analysis/always_valid.py). An arm has won when 0 lies outside; until then there is no
winner, whatever the rates look like. `confidence` is 1 − p of the same mixture. τ is fixed before the data: that of a
difference of 5 points (`e_values.choose_tau`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.analysis.always_valid import bound_difference, log_e_difference
from flytewheel.experiment.analysis.e_values import choose_tau
from flytewheel.experiment.analysis.ratio import Ratio, bound_variance, estimate_ratio
from flytewheel.experiment.analysis.srm import has_sample_ratio_mismatch
from flytewheel.experiment.assign import Arm
from flytewheel.experiment.experiments import Experiment, get_experiment
from flytewheel.experiment.ledger import find_rollout
from flytewheel.experiment.metrics import ARMS, StageCounts, find_metric, read_stages, take_look
from flytewheel.recipe import AbTestingSpec

PLANNED_DIFFERENCE = 0.05  # points of the rate that the mixture is tuned to
MIN_EVENTS = 10.0  # conversions, and impressions without one, in each arm

_LATENCIES = """
SELECT body ->> 'arm', avg((body ->> 'latency_ms')::float8),
    percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY (body ->> 'latency_ms')::float8)
FROM interactions WHERE source = %s AND body ->> 'experiment_id' = %s AND stored_at >= %s
    AND body ->> 'arm' IN ('control', 'treatment') AND body ->> 'latency_ms' IS NOT NULL GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm in the present stage. Latencies are to the last token, in milliseconds; None without requests."""

    variant: str
    version: str
    share: float
    users: int
    impressions: int
    conversions: int
    rate: float | None
    latency_ms: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Results:
    """`difference` is treatment − control of the rate, `interval` its confidence sequence at `level`."""

    experiment: Experiment
    stage: int | None
    since: datetime | None
    variants: tuple[Variant, ...]
    winner: Arm | None
    reason: str
    level: float
    confidence: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = field(default=None)


def read_results(database_url: str, experiment_id: str, *, spec: AbTestingSpec | None = None) -> Results:
    """Counts an experiment's present stage, or its last one where it has stopped; `spec` gives level and burn-in.

    Raises:
        ExperimentError: no such experiment.
        DatabaseError: PostgreSQL is away.
    """
    spec = spec or AbTestingSpec()
    experiment = get_experiment(database_url, experiment_id)
    if experiment.draft:
        reason = "no winner yet: the experiment has not started"
        return Results(experiment, None, None, (), None, reason, spec.confidence_level)
    with connect(database_url) as connection:
        rollout = find_rollout(connection, experiment_id=experiment_id)
        if rollout is None:
            raise ExperimentError(f"experiment {experiment_id} has no rollout; it cannot be counted")
        look = take_look(connection, experiment_id)
        counts = read_stages(connection, look, [find_metric("conversion_rate")])[-1]
        latencies = _read_latencies(connection, experiment, rollout.since)
    variants = tuple(_describe(experiment, arm, counts, latencies.get(arm)) for arm in ARMS)
    return judge_winner(experiment, rollout.stage, rollout.since, variants, counts, spec)


def judge_winner(
    experiment: Experiment,
    stage: int,
    since: datetime,
    variants: tuple[Variant, ...],
    counts: StageCounts,
    spec: AbTestingSpec,
) -> Results:
    """The verdict on one stage's counts; what cannot be told is no winner, with the reason."""
    level = spec.confidence_level
    told: dict[str, Any] = {
        "experiment": experiment,
        "stage": stage,
        "since": since,
        "variants": variants,
        "level": level,
    }
    before, after = (estimate_ratio(counts.sums["conversion_rate"][arm]) for arm in ARMS)
    if has_sample_ratio_mismatch(counts.users, {"control": 1 - experiment.share, "treatment": experiment.share}):
        return Results(**told, winner=None, reason="no winner: users an arm contradict the share")
    lacking = _find_lacking(before, after, variants, spec.burn_in_users)
    if lacking is not None or before is None or after is None:
        return Results(**told, winner=None, reason=f"no winner yet: {lacking}")
    difference = after.estimate - before.estimate
    variances = (before.variance or 0.0, after.variance or 0.0)
    variance = bound_variance((before.estimate, after.estimate), variances, (before.total, after.total), share=True)
    tau = choose_tau(PLANNED_DIFFERENCE, 1 - level)
    half = float(bound_difference(variance, tau=tau, alpha=1 - level))
    confidence = 1 - min(1.0, math.exp(-float(log_e_difference(difference, variance, tau=tau))))
    interval = (difference - half, difference + half)
    winner: Arm | None = "treatment" if interval[0] > 0 else "control" if interval[1] < 0 else None
    reason = (
        f"{winner} converts better, at every look so far"
        if winner
        else "no winner yet: the interval of the difference holds 0"
    )
    return Results(
        **told, winner=winner, reason=reason, confidence=confidence, difference=difference, interval=interval
    )


def _find_lacking(
    before: Ratio | None, after: Ratio | None, variants: tuple[Variant, ...], burn_in_users: int
) -> str | None:
    if before is None or after is None:
        return "an arm has no requests"
    if min(before.users, after.users) < max(2, burn_in_users):
        return f"fewer than {burn_in_users} users in an arm"
    rarer = min(min(one.conversions, one.impressions - one.conversions) for one in variants)
    if rarer < MIN_EVENTS:
        return f"fewer than {MIN_EVENTS:.0f} conversions, or impressions without one, in an arm"
    return None


def _describe(experiment: Experiment, arm: str, counts: StageCounts, latency_ms: Mapping[str, float] | None) -> Variant:
    ratio = estimate_ratio(counts.sums["conversion_rate"][arm])
    impressions = round(ratio.total) if ratio else 0
    conversions = round(ratio.total * ratio.estimate) if ratio else 0
    return Variant(
        variant=arm,
        version=experiment.treatment if arm == "treatment" else experiment.control,
        share=experiment.share if arm == "treatment" else 1 - experiment.share,
        users=counts.users[arm],
        impressions=impressions,
        conversions=conversions,
        rate=conversions / impressions if impressions else None,
        latency_ms=latency_ms,
    )


def _read_latencies(connection: Connection, experiment: Experiment, since: datetime) -> dict[str, dict[str, float]]:
    rows = connection.execute(_LATENCIES, (experiment.name, experiment.experiment_id, since)).fetchall()
    return {arm: {"mean": mean, "p50": p50, "p95": p95} for arm, mean, (p50, p95) in rows}
