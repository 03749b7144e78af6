"""Counts of an experiment as its analysis takes them: where an allocation learns, with what each user weighs.

A user's propensity is in the log beside every answer: the probability of the arm when the user was first given it.
The first one that was stored counts; a user without any makes the analysis hold (analysis/look.py). It costs one pass
over the experiment's answers at every look, which a fixed split does not pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.database import Connection
from flytewheel.experiment.allocation.design import read_design
from flytewheel.experiment.analysis.adaptive import weigh_users
from flytewheel.experiment.arms import name_arms
from flytewheel.experiment.metrics import ArmSums, Metric, StageCounts, UserSums, read_stages, take_look
from flytewheel.experiment.metrics.look import set_terms
from flytewheel.recipe import Rewards

_EXPERIMENT = "SELECT name, control, treatment, body FROM experiments WHERE experiment_id = %s"
_PROPENSITIES = """
SELECT array_agg(hashtextextended(user_id, 0)), array_agg(coalesce(propensity, 'NaN'))
FROM (
    SELECT user_id, (array_agg((body ->> 'propensity')::float8 ORDER BY stored_at, interaction_id))[1] AS propensity
    FROM interactions WHERE source = %s AND body ->> 'experiment_id' = %s AND body ->> 'arm' IS NOT NULL
    GROUP BY user_id
) AS given
"""
_HEADER = 20  # bytes of a one-dimensional binary array before its first element


def count_experiment(
    connection: Connection,
    experiment_id: str,
    metrics: Iterable[Metric],
    *,
    rewards: Rewards | None = None,
    burn_in_users: int = 50,
    as_before: bool = False,
) -> tuple[StageCounts, ...]:
    """Looks at an experiment and gives the sums of each of its strata, with what was before, keys, and weights.

    Args:
        connection: a transaction at READ COMMITTED.
        experiment_id: the experiment.
        metrics: what is asked for.
        rewards: what each reaction is worth; None: the design's figures.
        burn_in_users: of the control, from which on thresholds are frozen.
        as_before: counts by the terms of the last look, whatever margins `metrics` have: for whoever only reads.

    Raises:
        ExperimentError: no such experiment, or its body asks for an allocation that cannot be.
    """
    asked = tuple(metrics)
    look = take_look(connection, experiment_id, None if as_before else set_terms(asked, rewards, burn_in_users))
    row = connection.execute(_EXPERIMENT, (experiment_id,)).fetchone()
    assert row is not None  # the look has found it
    name, control, treatment, body = row
    arms = tuple(name_arms(control, treatment, body))
    learns = read_design(body, arms) is not None
    stages = read_stages(connection, look, asked, before=True, keys=learns)
    if not learns:
        return stages
    keys, propensities = _read_propensities(connection, name, experiment_id)
    weights = weigh_users(propensities, arms=len(arms))
    # A stage with shares of its own, as a holdback's, was split by them.
    return tuple(_weigh_stage(one, keys, weights) if None in one.shares.values() else one for one in stages)


def _weigh_stage(stage: StageCounts, keys: NDArray[np.int64], weights: NDArray[np.float64]) -> StageCounts:
    weighed: Mapping[str, Any] = {
        metric: {arm: _weigh_arm(sums, keys, weights) for arm, sums in arms.items()}
        for metric, arms in stage.sums.items()
    }
    return replace(stage, sums=weighed)


def _weigh_arm(sums: ArmSums, keys: NDArray[np.int64], weights: NDArray[np.float64]) -> ArmSums:
    if not isinstance(sums, UserSums) or sums.keys is None or not len(keys):
        return sums
    places = np.minimum(np.searchsorted(keys, sums.keys), len(keys) - 1)
    return replace(sums, weights=np.where(keys[places] == sums.keys, weights[places], np.nan))


def _read_propensities(
    connection: Connection, name: str, experiment_id: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keys of users, growing, and the probability of the arm that each was given."""
    cursor = connection.cursor(binary=True)
    cursor.execute(_PROPENSITIES, (name, experiment_id))
    result = cursor.pgresult
    assert result is not None
    keys = _read_array(result.get_value(0, 0), ">i8").astype(np.int64)
    propensities = _read_array(result.get_value(0, 1), ">f8").astype(np.float64)
    order = np.argsort(keys)
    return keys[order], propensities[order]


def _read_array(value: bytes | None, kind: str) -> NDArray[Any]:
    """A binary array of eight-byte elements without nulls: a header, then each one's length and the element."""
    element = np.dtype([("length", ">i4"), ("value", kind)])
    return np.frombuffer(value or b"", element, offset=_HEADER if value else 0)["value"]
