"""Hands the counters on: for each stratum, arm and metric an array of numerators and one of denominators, by user.

PostgreSQL sends each counter as one binary array (`array_agg`), which NumPy reads in place: a row a user would cost a
Python object each, 2 million of them for an experiment of that size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flytewheel.database import Connection
from flytewheel.experiment.metrics.declared import Metric
from flytewheel.experiment.metrics.look import Look, set_terms, take_look
from flytewheel.experiment.metrics.statements import RATING_UNIT, UNIT
from flytewheel.experiment.metrics.strata import BEFORE
from flytewheel.experiment.metrics.sums import StageCounts, UserSums
from flytewheel.recipe import Rewards

_UNITS = {"rating_sum": RATING_UNIT, "reward_sum": UNIT}
_WIDE = ("tokens", "rating_sum", "reward_sum")
_HEADER = 20  # bytes of a one-dimensional array before its first element

Column = NDArray[np.float64]


def count_stages(
    connection: Connection,
    experiment_id: str,
    metrics: Mapping[str, Metric],
    *,
    rewards: Rewards | None = None,
    burn_in_users: int = 50,
    before: bool = False,
) -> tuple[StageCounts, ...]:
    """Looks at an experiment and gives the sums of each of its strata, the first one first.

    Args:
        connection: a transaction at READ COMMITTED.
        experiment_id: the experiment.
        metrics: what is asked for, by name; margins of quantiles are counted in.
        rewards: what each reaction is worth; None: the design's figures.
        burn_in_users: of the control, from which on thresholds are frozen.
        before: whether the sums of the time before come along.

    Raises:
        ExperimentError: no such experiment.
    """
    look = take_look(connection, experiment_id, set_terms(metrics.values(), rewards, burn_in_users))
    return read_stages(connection, look, metrics, before=before)


def read_stages(
    connection: Connection, look: Look, metrics: Mapping[str, Metric], *, before: bool = False
) -> tuple[StageCounts, ...]:
    """The sums of each stratum as the look left them."""
    names = sorted({name for metric in metrics.values() for name in (metric.numerator, metric.denominator)})
    stages = []
    for stratum in look.strata:
        arms = {arm: _read_arm(connection, look.counting, stratum.number, arm, names, before) for arm in stratum.shares}
        stages.append(
            StageCounts(
                users={arm: users for arm, (users, _, _) in arms.items()},
                sums={
                    name: {arm: _pick(metric, now, then) for arm, (_, now, then) in arms.items()}
                    for name, metric in metrics.items()
                },
                stage=stratum.stage,
                since=stratum.since,
                shares=stratum.shares,
            )
        )
    return tuple(stages)


def _read_arm(
    connection: Connection, counting: int, stratum: int, arm: str, names: Sequence[str], before: bool
) -> tuple[int, dict[str, Column], dict[str, Column] | None]:
    columns = [f"array_agg(c.{name})" for name in names]
    table = "user_counts c"
    if before:
        columns += [f"array_agg(coalesce(b.{name}, 0))" for name in names]
        table += (
            f" LEFT JOIN user_counts b ON b.counting = c.counting AND b.stratum = {BEFORE} AND b.arm = ''"
            " AND b.user_id = c.user_id"
        )
    where = "c.counting = %s AND c.stratum = %s AND c.arm = %s"
    query = f"SELECT {', '.join(['count(*)', *columns])} FROM {table} WHERE {where}"
    cursor = connection.cursor(binary=True)
    cursor.execute(query.encode(), (counting, stratum, arm))
    result = cursor.pgresult
    assert result is not None
    asked = [*names, *names][: len(columns)]
    read = [_read_array(result.get_value(0, place), name) for place, name in enumerate(asked, 1)]
    users = int.from_bytes(result.get_value(0, 0) or b"", "big")
    now = dict(zip(names, read, strict=False))
    return users, now, dict(zip(names, read[len(names) :], strict=True)) if before else None


def _read_array(value: bytes | None, name: str) -> Column:
    """A binary array without nulls: a header, then each element's length (4 bytes) and the element, big-endian."""
    if value is None:
        return np.zeros(0)
    wide = np.dtype([("length", ">i4"), ("value", ">i8" if name in _WIDE else ">i4")])
    found: Column = np.frombuffer(value, wide, offset=_HEADER)["value"].astype(np.float64)
    return found / _UNITS[name] if name in _UNITS else found


def _pick(metric: Metric, now: Mapping[str, Column], then: Mapping[str, Column] | None) -> UserSums:
    counted = now[metric.denominator] > 0
    earlier = None
    if then is not None:
        earlier = UserSums(then[metric.numerator][counted], then[metric.denominator][counted])
    return UserSums(now[metric.numerator][counted], now[metric.denominator][counted], earlier)
