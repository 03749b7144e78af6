"""Decides who keeps the champion of before for a while after a promotion, so that what it brought can be told unbiased.

A release that was chosen for its figures looks better than it is (winner's curse). The holdback is the same experiment
going on at a share that nobody chose: state `holdback`, control the champion of before, treatment the new one, share
1 - `holdback_share`. The draw stays (assign.py), so those who are held back are the users with the highest u, who had
the old champion all the time: nobody moves twice. Metrics count on, in strata that begin at `holdback_since`.

| it ends | who |
|---|---|
| at `holdback_until`, in the database's time | the next tick, or a router that looks |
| by hand (`flytewheel rollout end-holdback`) | a person |
| when another version is promoted | that promotion |
| when the release is aborted: everyone goes back to the control | a person |

**A canary beside it** takes its users from those whom the holdback does not need: the holdback keeps its control slice
[share, 1) and compares it with an equal slice below, [share - (1 - share), share), each with propensity ½ (a stratum of
its own); everybody else may meet the canary. At most one holdback a model; a router shows it only while its treatment
is the champion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.assign import Arm, draw_unit
from flytewheel.experiment.changes import BESIDE, advance_rollout, follow_canary, set_stopped, split
from flytewheel.experiment.metrics.strata import begin_stratum

if TYPE_CHECKING:
    from flytewheel.experiment.experiments import Experiment

_DONE = ("active", "paused", "promoted")


class Kept(NamedTuple):
    """The arm of a user within a holdback, and its probability."""

    arm: Arm
    propensity: float


def choose_kept(key: bytes, holdback: Experiment, user_id: str, *, beside: bool) -> Kept | None:
    """The user's arm in a holdback; None: the canary that runs beside it may have this user.

    Args:
        key: the router's assignment key.
        holdback: the experiment in its holdback.
        user_id: whose request it is.
        beside: whether a canary runs on the same model.
    """
    if not holdback.layer.admits(key, user_id):
        return None
    u, share = draw_unit(key, holdback.experiment_id, user_id), holdback.share
    if u >= share:
        return Kept("control", BESIDE if beside else 1 - share)
    if not beside:
        return Kept("treatment", share)
    return Kept("treatment", BESIDE) if u >= share - (1 - share) else None


def begin_holdback(connection: Connection, experiment: Experiment, *, share: float, days: float, actor: str) -> None:
    """Lets a locked, running experiment go on as the holdback of its model; the one before ends.

    Args:
        connection: a transaction that holds the experiment's lock.
        experiment: whose treatment was made the champion.
        share: of the users, in (0, 0.5], who stay on its control.
        days: for so long, in the database's time.
        actor: for the log.

    Raises:
        ExperimentError: its rollout has ended meanwhile; the transaction must be given up.
    """
    for (earlier,) in connection.execute(
        "SELECT experiment_id FROM experiments WHERE name = %s AND state = 'holdback' AND experiment_id <> %s"
        " FOR UPDATE",
        (experiment.name, experiment.experiment_id),
    ).fetchall():
        _end(connection, earlier, f"{experiment.treatment} is the champion now", actor)
    stage = connection.execute(
        "SELECT stage + 1 FROM rollouts WHERE experiment_id = %s AND state IN ('active', 'paused') FOR UPDATE",
        (experiment.experiment_id,),
    ).fetchone()
    if stage is None:
        raise ExperimentError(f"the rollout of {experiment.experiment_id} has ended meanwhile; look again")
    # Not `now()`: a stratum begins at its moment, and the holdback's first one must not come before the holdback.
    until = connection.execute(
        "UPDATE experiments SET state = 'holdback', share = %s, holdback_since = clock_timestamp(),"
        " holdback_until = clock_timestamp() + %s * interval '1 day', reason = %s WHERE experiment_id = %s"
        " RETURNING holdback_until",
        (1 - share, days, f"{experiment.treatment} is the champion", experiment.experiment_id),
    ).fetchone()
    assert until is not None
    begin_stratum(connection, experiment.experiment_id, split(1 - share), stage=stage[0])
    detail = {"reason": f"{share:.0%} of the users stay on {experiment.control}", "until": until[0].isoformat()}
    advance_rollout(
        connection, experiment.experiment_id, actor, "promoted", detail, state="promoted", stage=stage[0], begins=True
    )
    follow_canary(connection, experiment.name)


def end_holdback(database_url: str, name: str, *, reason: str, actor: str) -> str:
    """Ends the holdback of a model: everybody meets the champion. Returns the experiment's id.

    Raises:
        ExperimentError: the model has none.
    """
    with connect(database_url) as connection:
        row = connection.execute(
            "SELECT experiment_id FROM experiments WHERE name = %s AND state = 'holdback' FOR UPDATE", (name,)
        ).fetchone()
        if row is None:
            raise ExperimentError(f"{name} has no holdback; one begins with a promotion (ab_testing.holdback_share)")
        _end(connection, row[0], reason, actor)
    return str(row[0])


def end_due(database_url: str, *, actor: str) -> list[str]:
    """Ends every holdback whose time is over, in the database's time; those that somebody else holds come next time.

    Returns:
        The experiments' ids.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        due = connection.execute(
            "SELECT experiment_id FROM experiments WHERE state = 'holdback' AND holdback_until <= now()"
            " FOR UPDATE SKIP LOCKED"
        ).fetchall()
        for (experiment_id,) in due:
            _end(connection, experiment_id, "its time is over", actor)
    return [row[0] for row in due]


def _end(connection: Connection, experiment_id: str, reason: str, actor: str) -> None:
    set_stopped(connection, experiment_id, f"holdback ended: {reason}")
    advance_rollout(connection, experiment_id, actor, "holdback_ended", {"reason": reason}, of=_DONE)
