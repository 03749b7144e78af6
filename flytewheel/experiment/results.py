"""What an experiment has shown so far: impressions, conversions and latency of each arm, and whether one has won.

An impression is a request, a conversion one whose last vote is up; the rate is conversions over impressions, summed by
user before anything is compared. Only the present stage counts: stages are strata and are never pooled (DESIGN §7).

*Winner.* There is one analysis (analysis/look.py) and one decision (decision.py), and both are read here. Of the
conversion rate, watched with a difference of 5 points planned, the analysis gives the interval that holds at every
look: an arm has won when 0 lies outside. A rollout that has ended says more than that: who was promoted has won, and
who was taken back has lost, whatever the conversion rate looks like.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.counts import count_experiment
from flytewheel.experiment.analysis.always_valid import log_e_difference
from flytewheel.experiment.analysis.e_values import choose_tau
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.ratio import estimate_ratio
from flytewheel.experiment.analysis.records import Analysis, Design, Finding
from flytewheel.experiment.assign import Arm
from flytewheel.experiment.experiments import Experiment, get_experiment
from flytewheel.experiment.ledger import Entry, Rollout, find_rollout, read_log
from flytewheel.experiment.metrics import ARMS, StageCounts, find_metric
from flytewheel.recipe import AbTestingSpec

PLANNED_DIFFERENCE = 0.05  # points of the rate that the mixture is tuned to
WATCHED = replace(find_metric("conversion_rate"), absolute_margin=PLANNED_DIFFERENCE)

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
    """`difference` is treatment − control of the rate, `interval` its confidence sequence at `level`; `decision` is the
    newest that was taken for the rollout.
    """

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
    decision: str | None = None


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
        stages = count_experiment(connection, experiment_id, [WATCHED], as_before=True)
        latencies = _read_latencies(connection, experiment, rollout.since)
        log = read_log(connection, rollout.rollout_id)
    counts = stages[-1]
    design = Design((WATCHED,), confidence_level=spec.confidence_level, burn_in_users=spec.burn_in_users)
    return judge_winner(
        experiment,
        rollout,
        tuple(_describe(experiment, arm, counts, latencies.get(arm)) for arm in ARMS),
        analyse(design, [counts], look=0),
        level=spec.confidence_level,
        decided=next((entry for entry in log if entry.detail.get("evidence")), None),
    )


def judge_winner(
    experiment: Experiment,
    rollout: Rollout,
    variants: tuple[Variant, ...],
    analysis: Analysis,
    *,
    level: float,
    decided: Entry | None,
) -> Results:
    """Who has won by the analysis and what was decided; what cannot be told is no winner, with the reason.

    Args:
        experiment: the experiment.
        rollout: its rollout.
        variants: the arms in the present stage.
        analysis: of `WATCHED`.
        level: of the interval.
        decided: the newest line of the rollout's log that rests on a verdict.
    """
    [found] = [one for one in analysis.findings if one.arm == "treatment"]
    decision = decided.action if decided is not None else None
    told = Results(
        experiment,
        rollout.stage,
        rollout.since,
        variants,
        None,
        "",
        level,
        difference=found.difference,
        interval=found.interval,
        confidence=_measure_confidence(found, 1 - level),
        decision=decision,
    )
    if analysis.mismatch:
        return replace(told, reason="no winner: users an arm contradict the share", interval=None, confidence=None)
    if rollout.state == "promoted":
        return replace(told, winner="treatment", reason=f"{experiment.treatment} was promoted")
    if decision in ("roll_back", "reject_at_max_duration") and decided is not None:
        why = "; ".join(decided.detail.get("reasons") or ())
        return replace(told, winner="control", reason=f"{experiment.treatment} was taken back: {why}")
    if found.interval is None:
        return replace(told, reason=f"no winner yet: {found.reason}")
    if found.interval[0] <= 0 <= found.interval[1]:
        return replace(told, reason="no winner yet: the interval of the difference holds 0")
    winner: Arm = "treatment" if found.interval[0] > 0 else "control"
    return replace(told, winner=winner, reason=f"{winner} converts better, at every look so far")


def _measure_confidence(found: Finding, alpha: float) -> float | None:
    """1 − p of "no difference", by the mixture that the interval comes from."""
    if found.interval is None or found.difference is None or found.standard_error is None:
        return None
    tau = choose_tau(PLANNED_DIFFERENCE, alpha)
    return 1 - min(1.0, math.exp(-float(log_e_difference(found.difference, found.standard_error**2, tau=tau))))


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
