"""Hands the counters on: for each stratum, arm and metric an array of numerators and one of denominators, by user.

PostgreSQL sends binary arrays (`array_agg`), which NumPy reads in place: a row a user would cost a Python object each,
2 million of them for an experiment of that size. An element costs the server some 150 ns, mostly to send it, so small
counters travel together, several in a number.
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
_WIDE = ("tokens", "rating_sum", "reward_sum", "spans", "unsupported")  # not bounded by a user's answers
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
    names = {name for metric in asked.values() for name in (metric.numerator, metric.denominator)}
    words = _pack(sorted(names), look.most)
    stages = []
    for stratum in look.strata:
        found = _read_arms(connection, (look.counting, stratum.number), words, before, keys)
        nobody = _to_arm([None] * (len(words) * (1 + before) + keys + 1), words, before, keys)
        arms = {arm: found.get(arm, nobody) for arm in stratum.shares}
        stages.append(
            StageCounts(
                users={arm: each.users for arm, each in arms.items()},
                sums={name: {arm: _pick(metric, arms[arm]) for arm in arms} for name, metric in asked.items()},
                stage=stratum.stage,
                since=stratum.since,
                shares=stratum.shares,
            )
        )
    return tuple(stages)


@dataclass(frozen=True, slots=True)
class _Word:
    """Counters that are sent as one number, `bits` each, the first one lowest."""

    names: tuple[str, ...]
    bits: int

    def write(self, table: str) -> str:
        """Its SQL, of a row of `table`."""
        return " | ".join(f"({table}.{name}::int8 << {self.bits * place})" for place, name in enumerate(self.names))

    def read(self, values: NDArray[np.int64]) -> dict[str, Column]:
        """The counters, by name."""
        mask = (1 << self.bits) - 1
        found = {}
        for place, name in enumerate(self.names):
            part = values if len(self.names) == 1 else (values >> (self.bits * place)) & mask
            found[name] = part / _UNITS.get(name, 1)
        return found


def _pack(names: Sequence[str], most: int) -> list[_Word]:
    """Nearly all counters count a user's answers, of which nobody has more than `most`: so many fit in a number."""
    bits = max(1, most.bit_length())
    small = [name for name in names if name not in _WIDE]
    each = 63 // bits
    words = [_Word(tuple(small[low : low + each]), bits) for low in range(0, len(small), each)]
    return words + [_Word((name,), 63) for name in names if name in _WIDE]


@dataclass(frozen=True, slots=True)
class _Arm:
    users: int
    now: Mapping[str, Column]
    then: Mapping[str, Column] | None
    keys: NDArray[np.int64] | None


def _read_arms(
    connection: Connection, place: tuple[int, int], words: Sequence[_Word], before: bool, keys: bool
) -> dict[str, _Arm]:
    columns = [word.write("c") for word in words]
    table = "user_counts c"
    if before:
        columns += [f"coalesce({word.write('b')}, 0)" for word in words]
        table += (
            f" LEFT JOIN user_counts b ON b.counting = c.counting AND b.stratum = {BEFORE} AND b.arm = ''"
            " AND b.user_id = c.user_id"
        )
    if keys:
        columns.append("hashtextextended(c.user_id, 0)")
    asked = ", ".join(["convert_to(c.arm, 'UTF8')", "count(*)", *(f"array_agg({column})" for column in columns)])
    cursor = connection.cursor(binary=True)
    cursor.execute(
        f"SELECT {asked} FROM {table} WHERE c.counting = %s AND c.stratum = %s GROUP BY c.arm".encode(), place
    )
    result = cursor.pgresult
    assert result is not None
    return {
        (result.get_value(row, 0) or b"").decode(): _to_arm(
            [result.get_value(row, column) for column in range(1, result.nfields)], words, before, keys
        )
        for row in range(result.ntuples)
    }


def _to_arm(row: Sequence[bytes | None], words: Sequence[_Word], before: bool, keys: bool) -> _Arm:
    read = [_read_array(value) for value in row[1:]]
    now: dict[str, Column] = {}
    then: dict[str, Column] = {}
    for word, values in zip(words, read, strict=False):
        now |= word.read(values)
    for word, values in zip(words, read[len(words) :], strict=False):
        then |= word.read(values)
    return _Arm(int.from_bytes(row[0] or b"", "big"), now, then if before else None, read[-1] if keys else None)


def _read_array(value: bytes | None) -> NDArray[np.int64]:
    """A binary int8[] without nulls: a header, then each element's length (4 bytes) and the element, big-endian."""
    element = np.dtype([("length", ">i4"), ("value", ">i8")])
    return np.frombuffer(value or b"", element, offset=_HEADER if value else 0)["value"].astype(np.int64)


def _pick(metric: Metric, arm: _Arm) -> UserSums:
    counted = arm.now[metric.denominator] > 0
    kept = slice(None) if counted.all() else counted  # no copy of millions of users for nothing
    earlier = None
    if arm.then is not None:
        earlier = UserSums(arm.then[metric.numerator][kept], arm.then[metric.denominator][kept])
    keys = None if arm.keys is None else arm.keys[kept]
    return UserSums(arm.now[metric.numerator][kept], arm.now[metric.denominator][kept], earlier, keys)
