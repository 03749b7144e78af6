"""Reads the traffic of a model's last weeks from PostgreSQL: who came how often, and what every metric was.

All interactions of the model count, whatever arm answered: a canary's tenth changes little. The returning rate is that
of the pool (`traffic`) which shows as many different users as were seen; ρ is what makes the users' sums vary as they
did: E(X − R·N)² = R(1 − R)·((1 − ρ)·E N + ρ·E N²).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from flytewheel.database import connect
from flytewheel.experiment.metrics import Metric, count_past
from flytewheel.experiment.planning.traffic import SPREAD, Baseline, Traffic

DAYS = 28
_LEAST_USERS = 20  # below which no figure is worth planning by
_Z95 = 1.6449

_DAYS = """
SELECT count(*)::float8, sum(users)::float8 / count(*), sum(requests)::float8 / sum(users),
    sum(squares)::float8 / sum(users)
FROM (
    SELECT day, count(*) AS users, sum(requests) AS requests, sum(requests * requests) AS squares
    FROM (
        SELECT date_bin('1 day', stored_at, %(until)s) AS day, user_id, count(*) AS requests FROM interactions
        WHERE source = %(name)s AND stored_at > %(until)s - make_interval(days => %(days)s) AND stored_at <= %(until)s
        GROUP BY 1, 2
    ) AS user_days GROUP BY day
) AS by_day
"""
_SPREAD = """
SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY (body ->> 'latency_ms')::float8)
FROM interactions WHERE source = %(name)s AND stored_at > %(until)s - make_interval(days => %(days)s)
    AND stored_at <= %(until)s AND (body ->> 'latency_ms')::float8 > 0
"""


def read_traffic(database_url: str, name: str, metrics: Iterable[Metric], *, days: int = DAYS) -> Traffic | None:
    """The traffic of the last days with a baseline of each metric that has one; `None` where there was too little.
    The counters are those of an experiment's looks (flytewheel/experiment/metrics).

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        newest = connection.execute(
            "SELECT stored_at FROM interactions WHERE source = %s ORDER BY stored_at DESC LIMIT 1", (name,)
        ).fetchone()
        if newest is None:
            return None
        asked = tuple(metrics)
        given = {"name": name, "days": days, "until": newest[0]}
        counted = connection.execute(_DAYS, given).fetchone()
        columns = count_past(connection, name, asked, until=newest[0], days=days)
        latencies = connection.execute(_SPREAD, given).fetchone()
    everyone = len(columns["requests"])
    if counted is None or everyone < _LEAST_USERS:
        return None
    seen_days, users, requests, squares = counted
    spread = _find_spread(latencies[0] if latencies else None)
    measured = {metric.name: measure_baseline(metric, columns, spread) for metric in asked}
    baselines = {metric: baseline for metric, baseline in measured.items() if baseline is not None}
    return Traffic(
        users,
        find_returning(users, everyone, seen_days),
        requests,
        math.sqrt(max(squares - requests**2, 0.0)),
        baselines,
        f"the last {seen_days:.0f} days of {name}, {everyone:,} users",
    )


def find_returning(users_per_day: float, users: float, days: float) -> float:
    """The returning rate of a pool of which so many different users were seen in so many days."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        seen = Traffic(users_per_day, middle).count_users(days)
        low, high = (middle, high) if seen > users else (low, middle)
    return low if low > 1e-6 else 0.0


def measure_baseline(metric: Metric, columns: Mapping[str, NDArray[np.float64]], spread: float) -> Baseline | None:
    """A metric's baseline from the users' sums; `None` where they do not tell."""
    x, n = columns[metric.numerator], columns[metric.denominator]
    total = n.sum()
    if total <= 0:
        return None
    rate = float(x.sum() / total)
    counted = float(total / columns["requests"].sum())
    alone, together = float(n.sum()), float((n**2).sum())
    if not metric.is_share:
        variance = float(((x - rate * n) ** 2).mean() / n.mean() ** 2)
        return Baseline(rate, min(counted, 1.0), spread=spread, user_variance=variance)
    correlation = 0.0
    if 0 < rate < 1 and together > alone:
        wide = float(((x - rate * n) ** 2).sum()) / (rate * (1 - rate))
        correlation = min(max((wide - alone) / (together - alone), 0.0), 1.0)
    return Baseline(rate, min(counted, 1.0), correlation, spread)


def _find_spread(quantiles: list[float] | None) -> float:
    """σ of the logarithm from p50 and p95, as if log-normal."""
    if not quantiles or quantiles[0] is None or not 0 < quantiles[0] < quantiles[1]:
        return SPREAD
    return math.log(quantiles[1] / quantiles[0]) / _Z95
