"""Counts users over some days of a model, by the same counters as an experiment's: what a metric was before a canary.

Every answer counts, whatever arm gave it. Slow is what lies above the 95 % quantile of these days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from flytewheel.database import Connection
from flytewheel.experiment.metrics import statements
from flytewheel.experiment.metrics.declared import Metric
from flytewheel.experiment.metrics.rows import ANY_COUNT, pack, read_result
from flytewheel.experiment.metrics.statements import UNITS
from flytewheel.recipe import Rewards

_THRESHOLDS = """
SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms), percentile_disc(0.95) WITHIN GROUP (ORDER BY first_ms)
FROM ({served}) AS served
"""


def count_past(
    connection: Connection,
    name: str,
    metrics: Iterable[Metric],
    *,
    until: datetime,
    days: int,
    rewards: Rewards | None = None,
) -> Mapping[str, NDArray[np.float64]]:
    """The sums of every user, `(users,)` by counter: those of the metrics, and `requests`.

    Args:
        connection: a transaction.
        name: the model.
        metrics: what is asked for.
        until: the end of the days, by the time of storing.
        days: how many.
        rewards: what each reaction is worth; None: the design's figures.
    """
    words = pack(
        {"requests", *(each for metric in metrics for each in (metric.numerator, metric.denominator))}, ANY_COUNT
    )
    values = {"source": name, "until": until, "days": days, "began": None, "slower": 1.0, "first_slower": 1.0}
    values |= statements.scale_rewards(rewards or Rewards())
    query = _THRESHOLDS.format(served=statements.read_past())
    row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    values |= {"latency_ms": row[0], "first_ms": row[1]}
    connection.execute("SET LOCAL work_mem = '128MB'")
    cursor = connection.cursor(binary=True)
    cursor.execute(statements.count_past(words).encode(), values)
    assert cursor.pgresult is not None
    (users,) = read_result(cursor.pgresult, [0], words, at=0).values()
    return {counter: sums / UNITS.get(counter, 1) for counter, sums in users.columns.items()}
