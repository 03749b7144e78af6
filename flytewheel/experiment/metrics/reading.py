"""Hands the counters on: for each stratum, metric and arm the kept sums (`moments`), or what every user has.

Users themselves are read where a metric caps heavy ones, since a cap is a quantile of them, and for who asks for them.
Sums of a pair of counters are measured from all users the first time that a metric asks for it, and kept from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from flytewheel.database import Connection
from flytewheel.experiment.metrics.declared import Metric
from flytewheel.experiment.metrics.look import Look, keep_moments, set_terms, take_look
from flytewheel.experiment.metrics.moments import EVERYONE, ArmMoments, Moments, Pair, measure
from flytewheel.experiment.metrics.rows import Place, Rows, read_rows, settle
from flytewheel.experiment.metrics.statements import UNITS
from flytewheel.experiment.metrics.sums import StageCounts, UserSums
from flytewheel.recipe import Rewards


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
        keys: whether every user is read, with a number that is the same in every stratum, also where the kept sums
            are enough.

    Raises:
        ExperimentError: no such experiment.
    """
    asked = tuple(metrics)
    look = take_look(connection, experiment_id, set_terms(asked, rewards, burn_in_users))
    return read_stages(connection, look, asked, before=before, keys=keys)


def read_stages(
    connection: Connection, look: Look, metrics: Iterable[Metric], *, before: bool = False, keys: bool = False
) -> tuple[StageCounts, ...]:
    """The sums of each stratum as the look left them; within its transaction."""
    asked = {metric.name: metric for metric in metrics}
    capped = {name: metric for name, metric in asked.items() if keys or metric.cap is not None}
    pairs = {(metric.numerator, metric.denominator) for name, metric in asked.items() if name not in capped}
    book = _Book.open(connection, look, pairs | {EVERYONE}, {name for each in capped.values() for name in _pair(each)})
    return tuple(
        StageCounts(
            users={arm: book.count((stratum.number, arm)) for arm in stratum.shares},
            sums={
                name: {arm: book.read((stratum.number, arm), metric, before, name in capped) for arm in stratum.shares}
                for name, metric in asked.items()
            },
            stage=stratum.stage,
            since=stratum.since,
            shares=stratum.shares,
            crossed=book.moments.crossed.get(stratum.number, 0),
        )
        for stratum in look.strata
    )


@dataclass(frozen=True, slots=True)
class _Book:
    """What was read of a look: sums of all pairs that are asked for, and users where they are."""

    moments: Moments
    rows: Mapping[Place, Rows]

    @classmethod
    def open(cls, connection: Connection, look: Look, pairs: set[Pair], names: set[str]) -> _Book:
        moments = look.moments or Moments()
        lacking = pairs - moments.sums.keys()
        if not lacking and not names:
            return cls(moments, {})
        read = names | {"requests"} | {name for pair in lacking for name in pair}
        found = read_rows(connection, look.counting, read, look.most)
        if lacking:
            fresh = measure(found, lacking)
            moments = Moments({**moments.sums, **fresh.sums}, fresh.crossed)
            keep_moments(connection, look.counting, moments)
        return cls(moments, settle(found)[0] if names else {})

    def count(self, place: Place) -> int:
        return ArmMoments(place, self.moments.sums[EVERYONE]).users

    def read(self, place: Place, metric: Metric, before: bool, users: bool) -> UserSums | ArmMoments:
        unit, unit_n = (UNITS.get(name, 1) for name in _pair(metric))
        if not users:
            return ArmMoments(place, self.moments.sums[_pair(metric)], unit_n / unit, unit_n, before)
        rows = self.rows.get(place)
        if rows is None:
            nobody = UserSums(np.empty(0), np.empty(0)) if before else None
            return UserSums(np.empty(0), np.empty(0), nobody, np.empty(0, dtype=np.int64))
        rows = rows.keep(rows.columns[metric.denominator] > 0)
        x, n = (rows.columns[name] / UNITS.get(name, 1) for name in _pair(metric))
        earlier = None
        if before:
            was, was_of = (rows.before[name] / UNITS.get(name, 1) for name in _pair(metric))
            earlier = UserSums(was, was_of)
        return UserSums(x, n, earlier, rows.keys)


def _pair(metric: Metric) -> Pair:
    return metric.numerator, metric.denominator
