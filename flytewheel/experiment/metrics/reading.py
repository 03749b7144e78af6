"""Hands the counters on: for each stratum, arm and metric an array of numerators and one of denominators, by user.

PostgreSQL sends each counter as one binary array (`array_agg`), which NumPy reads in place: a row a user would cost a
Python object each, 2 million of them for an experiment of that size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    metrics: Iterable[Metric],
    *,
    rewards: Rewards | None = None,
    burn_in_users: int = 50,
    before: bool = False,
    keys: bool = False,
) -> tuple[StageCounts, ...]:
    """Looks at an experiment and gives the sums of each of its strata, the first one first.

    Args:
        connection: a transaction at READ COMMITTED.
        experiment_id: the experiment.
        metrics: what is asked for; margins of quantiles are counted in.
        rewards: what each reaction is worth; None: the design's figures.
        burn_in_users: of the control, from which on thresholds are frozen.
        before: whether the sums of the time before come along.
        keys: whether a number of each user does, the same in every stratum.

    Raises:
        ExperimentError: no such experiment.
    """
    asked = tuple(metrics)
    look = take_look(connection, experiment_id, set_terms(asked, rewards, burn_in_users))
    return read_stages(connection, look, asked, before=before, keys=keys)


def read_stages(
    connection: Connection, look: Look, metrics: Iterable[Metric], *, before: bool = False, keys: bool = False
) -> tuple[StageCounts, ...]:
    """The sums of each stratum as the look left them."""
    asked = {metric.name: metric for metric in metrics}
    names = sorted({name for metric in asked.values() for name in (metric.numerator, metric.denominator)})
    stages = []
    for stratum in look.strata:
        place = (look.counting, stratum.number)
        arms = {arm: _read_arm(connection, (*place, arm), names, before, keys) for arm in stratum.shares}
        stages.append(
            StageCounts(
                users={arm: found.users for arm, found in arms.items()},
                sums={name: {arm: _pick(metric, arms[arm]) for arm in arms} for name, metric in asked.items()},
                stage=stratum.stage,
                since=stratum.since,
                shares=stratum.shares,
            )
        )
    return tuple(stages)


@dataclass(frozen=True, slots=True)
class _Arm:
    users: int
    now: Mapping[str, Column]
    then: Mapping[str, Column] | None
    keys: NDArray[np.int64] | None


def _read_arm(
    connection: Connection, place: tuple[int, int, str], names: Sequence[str], before: bool, keys: bool
) -> _Arm:
    columns = [f"array_agg(c.{name})" for name in names]
    table = "user_counts c"
    if before:
        columns += [f"array_agg(coalesce(b.{name}, 0))" for name in names]
        table += (
            f" LEFT JOIN user_counts b ON b.counting = c.counting AND b.stratum = {BEFORE} AND b.arm = ''"
            " AND b.user_id = c.user_id"
        )
    if keys:
        columns.append("array_agg(hashtextextended(c.user_id, 0))")
    where = "c.counting = %s AND c.stratum = %s AND c.arm = %s"
    cursor = connection.cursor(binary=True)
    cursor.execute(f"SELECT {', '.join(['count(*)', *columns])} FROM {table} WHERE {where}".encode(), place)
    result = cursor.pgresult
    assert result is not None
    asked = [*names, *names][: len(names) * (2 if before else 1)]
    read = [_read_counter(result.get_value(0, column), name) for column, name in enumerate(asked, 1)]
    return _Arm(
        users=int.from_bytes(result.get_value(0, 0) or b"", "big"),
        now=dict(zip(names, read, strict=False)),
        then=dict(zip(names, read[len(names) :], strict=True)) if before else None,
        keys=_read_array(result.get_value(0, len(columns)), ">i8").astype(np.int64) if keys else None,
    )


def _read_counter(value: bytes | None, name: str) -> Column:
    found = _read_array(value, ">i8" if name in _WIDE else ">i4").astype(np.float64)
    return found / _UNITS[name] if name in _UNITS else found


def _read_array(value: bytes | None, kind: str) -> NDArray[np.integer]:
    """A binary array without nulls: a header, then each element's length (4 bytes) and the element, big-endian."""
    element = np.dtype([("length", ">i4"), ("value", kind)])
    return np.frombuffer(value or b"", element, offset=_HEADER if value else 0)["value"]


def _pick(metric: Metric, arm: _Arm) -> UserSums:
    counted = arm.now[metric.denominator] > 0
    earlier = None
    if arm.then is not None:
        earlier = UserSums(arm.then[metric.numerator][counted], arm.then[metric.denominator][counted])
    keys = None if arm.keys is None else arm.keys[counted]
    return UserSums(arm.now[metric.numerator][counted], arm.now[metric.denominator][counted], earlier, keys)
