"""What a person may do to a rollout beside approving it: pause, resume, force, and abort, each with a reason.

| done | from | becomes |
|---|---|---|
| pause | active | paused: the share stays as it is; harm still takes it back, nothing raises the share |
| resume | paused, while its experiment runs | active |
| force | active | another share, or the verdict that promotes it; whatever was counted |
| abort | active, paused, promoted | rolled back, for good: everyone meets the control |

Each is one transaction behind the row locks that a tick takes last, so it waits for no analysis, and a tick that began
before it finds another fencing token and changes nothing: whoever aborts wins. Routers follow by themselves; a driver
asks them to do so at once (rollout.carry_out).
"""

from __future__ import annotations

from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.changes import advance_rollout, close_experiment, log_rollout, move_share, set_stopped
from flytewheel.experiment.experiments import Experiment, lock_experiment, select_experiments
from flytewheel.experiment.ledger import Rollout, find_rollout, lock_fence
from flytewheel.recipe import AbTestingSpec


def pause(database_url: str, rollout_id: str, *, reason: str, actor: str) -> Rollout:
    """Keeps an active rollout where it is; one that is paused stays as it is.

    Raises:
        ExperimentError: there is none, or it has ended.
    """
    with connect(database_url) as connection:
        rollout, _ = _lock(connection, rollout_id, "paused", ("active", "paused"))
        if rollout.state == "active":
            detail = {"reason": _need(reason)}
            advance_rollout(connection, rollout.experiment_id, actor, "pause", detail, state="paused", of=("active",))
        return _read(connection, rollout_id)


def resume(database_url: str, rollout_id: str, *, reason: str, actor: str) -> Rollout:
    """Lets a paused rollout go on; one that is active stays as it is. What was approved is to be approved again.

    Raises:
        ExperimentError: there is none, it has ended, or its experiment was stopped.
    """
    with connect(database_url) as connection:
        rollout, experiment = _lock(connection, rollout_id, "resumed", ("active", "paused"))
        if not experiment.running:
            raise ExperimentError(
                f"rollout {rollout_id} cannot go on: its experiment was stopped ({experiment.reason}); mend the cause"
                " and launch the version again"
            )
        if rollout.state == "paused":
            detail = {"reason": _need(reason)}
            advance_rollout(connection, rollout.experiment_id, actor, "resume", detail, state="active", of=("paused",))
        return _read(connection, rollout_id)


def force(
    database_url: str, rollout_id: str, share: float, ab_testing: AbTestingSpec, *, reason: str, actor: str
) -> Rollout:
    """Gives a rollout another share whatever was counted; 1 lets it be promoted (`rollout.carry_out` does it).

    Args:
        database_url: PostgreSQL.
        rollout_id: an active rollout.
        share: the treatment's, in (0, 1].
        ab_testing: the stages, and the holdback that follows a promotion.
        reason: why, for the log.
        actor: who does it.

    Raises:
        ExperimentError: there is none, it is not active, or the share is none.
    """
    if not 0.0 < share <= 1.0:
        raise ExperimentError(f"share {share!r}: expected a part of the users, above 0 and at most 1")
    with connect(database_url) as connection:
        rollout, experiment = _lock(connection, rollout_id, "forced", ("active",))
        detail: dict[str, Any] = {"reason": _need(reason), "to_champion": share >= 1}
        if share >= 1:
            detail |= {"holdback": {"share": ab_testing.holdback_share, "days": ab_testing.holdback_days}}
            log_rollout(connection, rollout_id, rollout.fence, actor, "force", detail)
        elif share != rollout.share:
            stages = ab_testing.rollout_stages
            stage = max((index for index, each in enumerate(stages) if each <= share), default=0)
            move_share(connection, experiment, share, actor, action="force", stage=stage, detail=detail)
        return _read(connection, rollout_id)


def abort(database_url: str, rollout_id: str, *, reason: str, actor: str) -> Rollout:
    """Ends a rollout, also one that was promoted: everyone meets the control. One that was taken back stays as it is.

    A canary that compares with the version which is taken back ends with it.

    Raises:
        ExperimentError: there is none, or a later one of the same model was promoted.
    """
    with connect(database_url) as connection:
        rollout, experiment = _lock(connection, rollout_id, "aborted", None)
        told = _need(reason)
        if rollout.state == "promoted":
            _refuse_later(connection, rollout)
            for other in select_experiments(
                connection, "name = %s AND state = 'running' AND control = %s", (rollout.name, rollout.treatment)
            ):
                gone = f"its control {rollout.treatment} was taken back"
                locked = lock_experiment(connection, other.experiment_id)
                if locked.running:
                    close_experiment(connection, locked, gone, actor, action="superseded", state="rolled_back")
            set_stopped(connection, rollout.experiment_id, told)
            advance_rollout(
                connection,
                rollout.experiment_id,
                actor,
                "abort",
                {"reason": told, "promoted": True},
                state="rolled_back",
                of=("promoted",),
            )
        elif experiment.running:
            close_experiment(connection, experiment, told, actor, action="abort", state="rolled_back")
        else:
            advance_rollout(connection, rollout.experiment_id, actor, "abort", {"reason": told}, state="rolled_back")
        return _read(connection, rollout_id)


def _lock(
    connection: Connection, rollout_id: str, done: str, states: tuple[str, ...] | None
) -> tuple[Rollout, Experiment]:
    """A rollout and its experiment, both locked, the experiment first as everywhere."""
    found = connection.execute("SELECT experiment_id FROM rollouts WHERE rollout_id = %s", (rollout_id,)).fetchone()
    if found is None:
        raise ExperimentError(f"no rollout {rollout_id!r}; see `flytewheel rollout status NAME`")
    experiment = lock_experiment(connection, found[0])
    lock_fence(connection, rollout_id)
    rollout = _read(connection, rollout_id)
    if states is not None and rollout.state not in states:
        raise ExperimentError(
            f"rollout {rollout_id} is {rollout.state.replace('_', ' ')} and cannot be {done}; expected one that is"
            f" {' or '.join(states)}"
        )
    return rollout, experiment


def _read(connection: Connection, rollout_id: str) -> Rollout:
    rollout = find_rollout(connection, rollout_id=rollout_id)
    assert rollout is not None
    return rollout


def _refuse_later(connection: Connection, rollout: Rollout) -> None:
    later = connection.execute(
        "SELECT r.rollout_id, e.treatment FROM rollouts r JOIN experiments e USING (experiment_id)"
        " WHERE r.name = %s AND r.state = 'promoted' AND e.control = %s",
        (rollout.name, rollout.treatment),
    ).fetchone()
    if later is not None:
        raise ExperimentError(
            f"rollout {rollout.rollout_id} made {rollout.treatment} the champion, and {later[0]} made {later[1]} the"
            f" one after it: abort that one, or flytewheel models rollback {rollout.name}"
        )


def _need(reason: str) -> str:
    if not reason.strip():
        raise ExperimentError("a reason is needed, in a few words: it stands in the log")
    return reason.strip()
