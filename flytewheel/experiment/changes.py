"""Changes of an experiment and its rollout, within a transaction that holds the experiment's lock: every one of them
raises the rollout's fencing token and adds a line to its log.

A canary beside a holdback (holdback.py) leaves two equal slices of the users to it, so the holdback's shares change
when a canary opens or ends: a stratum of its own, as with every change of shares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flytewheel.database import Connection
from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.design import read_design
from flytewheel.experiment.metrics.strata import begin_stratum, list_strata

if TYPE_CHECKING:
    from flytewheel.experiment.experiments import Experiment

BESIDE = 0.5  # the holdback's share while a canary runs: its control, and as many of the others


def split(share: float) -> dict[str, float | None]:
    """The arms' shares, of a treatment's."""
    return {"control": 1 - share, "treatment": share}


def allot(share: float, arms: Iterable[str], body: Mapping[str, Any]) -> dict[str, float | None]:
    """The shares of a stratum; None each where an allocation learns: every user has an own probability."""
    named = tuple(arms)
    return split(share) if read_design(body, named) is None else dict.fromkeys(named)


def set_stopped(connection: Connection, experiment_id: str, reason: str) -> None:
    """Ends an experiment; nobody meets its treatment any more."""
    row = connection.execute(
        "UPDATE experiments SET state = 'stopped', reason = %s, stopped_at = now() WHERE experiment_id = %s"
        " RETURNING name",
        (reason, experiment_id),
    ).fetchone()
    if row is not None:
        follow_canary(connection, row[0])


def follow_canary(connection: Connection, name: str) -> None:
    """Begins a stratum of the model's holdback, if it has one, where a canary has begun beside it or ended."""
    row = connection.execute(
        "SELECT experiment_id, share, EXISTS (SELECT FROM experiments r WHERE r.name = e.name AND r.state = 'running')"
        " FROM experiments e WHERE name = %s AND state = 'holdback' FOR UPDATE OF e",
        (name,),
    ).fetchone()
    if row is None:
        return
    experiment_id, share, beside = row
    wanted, last = split(BESIDE if beside else share), list_strata(connection, experiment_id)[-1]
    if dict(last.shares) != wanted:
        begin_stratum(connection, experiment_id, wanted)


def close_experiment(
    connection: Connection,
    experiment: Experiment,
    reason: str,
    actor: str,
    *,
    action: str,
    state: str,
    detail: Mapping[str, Any] | None = None,
    fence: int | None = None,
) -> None:
    """Stops a locked experiment and leaves its rollout in `state`, logged as `action` with the reason and `detail`.

    Raises:
        ExperimentError: the rollout's fence is not `fence` (where given); the transaction must be given up.
    """
    set_stopped(connection, experiment.experiment_id, reason)
    told = {"reason": reason, **(detail or {})}
    advance_rollout(connection, experiment.experiment_id, actor, action, told, state=state, fence=fence)


def move_share(
    connection: Connection,
    experiment: Experiment,
    share: float,
    actor: str,
    *,
    action: str,
    stage: int | None = None,
    detail: Mapping[str, Any] | None = None,
    fence: int | None = None,
) -> None:
    """Sets a locked experiment's share, and with `stage` the rollout's stage, which begins now; logged as `action`.

    Raises:
        ExperimentError: the rollout's fence is not `fence` (where given); the transaction must be given up.
    """
    connection.execute("UPDATE experiments SET share = %s WHERE experiment_id = %s", (share, experiment.experiment_id))
    begin_stratum(connection, experiment.experiment_id, allot(share, experiment.arms, experiment.body), stage=stage)
    told = {"from": experiment.share, "to": share, **(detail or {})}
    advance_rollout(connection, experiment.experiment_id, actor, action, told, begins=True, stage=stage, fence=fence)


def log_rollout(
    connection: Connection, rollout_id: str, fence: int, actor: str, action: str, detail: Mapping[str, Any]
) -> None:
    """Adds a line to the log of a rollout."""
    connection.execute(
        "INSERT INTO rollout_log (rollout_id, fence, actor, action, detail) VALUES (%s, %s, %s, %s, %s)",
        (rollout_id, fence, actor, action, json.dumps(detail)),
    )


def advance_rollout(
    connection: Connection,
    experiment_id: str,
    actor: str,
    action: str,
    detail: Mapping[str, Any],
    *,
    state: str | None = None,
    stage: int | None = None,
    begins: bool = False,
    fence: int | None = None,
    of: tuple[str, ...] = ("active", "paused"),
) -> None:
    """Changes an experiment's rollout where it is in one of the states `of`, raises its fence, and logs it.

    Raises:
        ExperimentError: the rollout's fence is not `fence` (where given); the transaction must be given up.
    """
    changed = connection.execute(
        "UPDATE rollouts SET fence = fence + 1, state = coalesce(%s, state), stage = coalesce(%s, stage),"
        " stage_since = CASE WHEN %s THEN now() ELSE stage_since END"
        " WHERE experiment_id = %s AND state = ANY(%s::text[]) AND fence = coalesce(%s, fence)"
        " RETURNING rollout_id, fence",
        (state, stage, begins, experiment_id, list(of), fence),
    ).fetchall()
    if fence is not None and not changed:
        raise ExperimentError(f"the rollout of {experiment_id} is no longer at fence {fence}; look again")
    for rollout_id, token in changed:
        log_rollout(connection, rollout_id, token, actor, action, detail)
