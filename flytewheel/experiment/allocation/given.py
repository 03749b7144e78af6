"""Reads which arm a user has: worked out from the sticky draw where the split is fixed, else as it was written down."""

from __future__ import annotations

from flytewheel.database import connect
from flytewheel.experiment.allocation.design import read_design
from flytewheel.experiment.assign import choose_arm, draw_unit
from flytewheel.experiment.experiments import Experiment

PLACES = 2**53  # of a draw

_ARM = "SELECT arm, propensity FROM given_arms WHERE experiment_id = %s AND place = %s"


def place_user(key: bytes, experiment_id: str, user_id: str) -> int:
    """The name of a user in `given_arms`: their draw, as a whole number."""
    return int(draw_unit(key, experiment_id, user_id) * PLACES)


def find_arm(database_url: str, key: bytes, experiment: Experiment, user_id: str) -> tuple[str, float] | None:
    """A user's arm with its propensity; None for whom the experiment is not, and where an allocation that learns
    has not met the user yet.

    Raises:
        DatabaseError: PostgreSQL is away (asked only where an allocation learns).
        ExperimentError: the experiment's body asks for an allocation that cannot be.
    """
    if not experiment.layer.admits(key, user_id):
        return None
    if read_design(experiment.body, tuple(experiment.arms)) is None:
        chosen = choose_arm(key, experiment.experiment_id, user_id, experiment.share)
        return chosen.arm, chosen.propensity
    if experiment.share <= 0:
        return None
    place = place_user(key, experiment.experiment_id, user_id)
    with connect(database_url) as connection:
        row = connection.execute(_ARM, (experiment.experiment_id, place)).fetchone()
    return None if row is None else (str(row[0]), float(row[1]))
