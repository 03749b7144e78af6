"""Decides what a guardrail counts: per user a numerator and a denominator, for each arm of one stage.

The unit is the user (DESIGN §7), so requests are summed by user before anything is compared. An interaction counts for
the arm that its user was *assigned*, also where the control answered in its place. A stage is a stratum: it counts what
was stored since it began, in the database's time, and was served under its share (the logged propensity says so: what
arrived before a share moved and was stored after it is left out). Strata are never pooled.

| metric | numerator | denominator | bad when |
|---|---|---|---|
| `thumbs_up_rate` | votes up | votes up and down | lower |
| `error_rate` | answers broken off, or given by the control after the treatment failed | requests | higher |
| `latency_p95` | requests above the control's 95 % quantile q, the treatment's above (1 + margin)·q | timed | higher |
| `correction_rate` | answers that someone corrected | requests | higher |
| `conversion_rate` | votes up | requests | lower |

Of several votes on one answer the last counts; a rating of 4 or 5 is a vote up, 1 or 2 one down, a correction one down.
"The treatment's p95 is at most 5 % slower" is `latency_p95` with a relative margin of 0.05. It is the same statement
as P(T > 1.05·q) ≤ P(C > q), where q is the 95 % quantile of the control's latencies in this stage: shares rather than
quantiles, so that the variance and the test of the other metrics hold for it, with the margin inside the threshold.
q is estimated: by Bahadur's representation (1966) its error moves the treatment's share by −(F̂_C(q) − F_C(q)) times
(1 + margin)·f_T((1 + margin)·q) / f_C(q), and that factor is 1 where the treatment is the control slowed by just the
margin. So at the boundary the two-sample variance of the shares is the right one (Deng, Knoblich and Lu 2018, "Applying
the Delta Method in Metric Analytics", on quantiles); where the treatment's tail is twice as dense there, half of the
users treated and its p95 slower by just the margin, 13 % and not 5 % err on either side (simulated).
A request that no arm could answer leaves no interaction, hence no error here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from flytewheel.database import Connection
from flytewheel.experiment.metrics.declared import Metric, find_metric
from flytewheel.experiment.metrics.sums import ARMS, StageCounts, UserSums
from flytewheel.recipe import Guardrail


def count_stage(
    connection: Connection,
    *,
    name: str,
    experiment_id: str,
    since: datetime,
    share: float,
    guardrails: Iterable[Guardrail],
) -> StageCounts:
    """Counts one stage of an experiment by user.

    Args:
        connection: an open transaction; one statement, so one snapshot for every metric.
        name: the model name; interactions of other streams are not counted, whatever experiment they claim.
        experiment_id: whose interactions are counted.
        since: when the stage began, database time.
        share: the treatment's share during the stage.
        guardrails: whose metrics are asked for; the margin of `latency_p95` is counted in here.

    Raises:
        ExperimentError: a metric is not known.
    """
    margins = {guardrail.metric: guardrail.relative_margin for guardrail in guardrails}
    wanted = {metric: find_metric(metric) for metric in margins}
    slower = 1 + (margins.get("latency_p95") or 0.0)
    values = {"name": name, "experiment_id": experiment_id, "since": since, "share": share, "slower": slower}
    cursor = connection.execute(_COUNT, values)
    names = [column.name for column in cursor.description or ()]
    rows = cursor.fetchall()
    columns: dict[str, dict[str, NDArray[np.float64]]] = {}
    for arm in ARMS:
        of_arm = [row[1:] for row in rows if row[0] == arm]
        table = np.array(of_arm, dtype=np.float64).reshape(len(of_arm), len(names) - 1)
        columns[arm] = {column: table[:, index] for index, column in enumerate(names[1:])}
    return StageCounts(
        users={arm: len(columns[arm]["requests"]) for arm in ARMS},
        sums={metric: {arm: _pick(columns[arm], spec) for arm in ARMS} for metric, spec in wanted.items()},
    )


def _pick(columns: Mapping[str, NDArray[np.float64]], metric: Metric) -> UserSums:
    numerators, denominators = columns[metric.numerator], columns[metric.denominator]
    counted = denominators > 0
    return UserSums(numerators[counted], denominators[counted])


_COUNT = """
WITH served AS MATERIALIZED (
    SELECT interaction_id, user_id, body ->> 'arm' AS arm, (body ->> 'latency_ms')::float8 AS latency_ms,
        (body ->> 'completed') = 'false' OR (body #>> '{metadata,fallback}') IS NOT NULL AS failed
    FROM interactions
    WHERE source = %(name)s AND body ->> 'experiment_id' = %(experiment_id)s AND stored_at >= %(since)s
        AND body ->> 'arm' IN ('control', 'treatment')
        AND coalesce(abs((body ->> 'propensity')::float8
            - CASE body ->> 'arm' WHEN 'treatment' THEN %(share)s ELSE 1 - %(share)s END) < 1e-9, true)
), threshold AS (
    SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) AS latency_ms FROM served WHERE arm = 'control'
), said AS (
    SELECT interaction_id, event_id, "timestamp", feedback_type = 'correction' AS correction,
        CASE WHEN feedback_type = 'thumbs_up' OR rating >= 4 THEN 1
             WHEN feedback_type IN ('thumbs_down', 'correction') OR rating <= 2 THEN 0 END AS vote
    FROM feedback_events JOIN served USING (interaction_id),
        LATERAL (SELECT (feedback_events.body ->> 'rating')::float8 AS rating) AS given
), votes AS (
    SELECT DISTINCT ON (interaction_id) interaction_id, vote FROM said WHERE vote IS NOT NULL
    ORDER BY interaction_id, "timestamp" DESC, event_id COLLATE "C" DESC
), corrections AS (
    SELECT DISTINCT interaction_id FROM said WHERE correction
)
SELECT arm, count(*) AS requests, count(*) FILTER (WHERE failed) AS failed,
    count(served.latency_ms) AS timed, count(*) FILTER (WHERE served.latency_ms
        > threshold.latency_ms * CASE arm WHEN 'treatment' THEN %(slower)s ELSE 1 END) AS slow,
    count(vote) AS votes, coalesce(sum(vote), 0) AS ups, count(corrections.interaction_id) AS corrected
FROM served CROSS JOIN threshold
    LEFT JOIN votes USING (interaction_id) LEFT JOIN corrections USING (interaction_id)
GROUP BY arm, user_id
"""
