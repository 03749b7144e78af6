"""Decides which experiment runs for a model, and writes down every change of it.

One experiment runs for a model name at a time. Opening is idempotent on the launch key; a launch with another key
stops the one that runs ("superseded by <treatment>"), closes its rollout and opens the new one at stage 0, all in one
transaction behind a lock of that name, so that no reader ever sees two, or none where there was one. A launch with a
draft's key (`drafts`) opens that. Every change raises the rollout's fencing token and adds a line to `rollout_log`,
which is only ever appended to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.design import read_design
from flytewheel.experiment.arms import check_launch as check_launch
from flytewheel.experiment.arms import name_arms as name_arms
from flytewheel.experiment.layers import OPEN, Layer, begin_layer, read_layer
from flytewheel.experiment.metrics.strata import begin_stratum
from flytewheel.records import canonical_json

INSERT = """
INSERT INTO experiments (experiment_id, name, state, control, treatment, share, body, launch_key)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (experiment_id) DO NOTHING
"""
_COLUMNS = (
    "experiment_id, name, state, control, treatment, share, body, launch_key, reason, created_at, stopped_at, layer"
)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A split of one model's users: registry versions as arms; `share`, in [0, 1], is the treatment's."""

    experiment_id: str
    name: str
    state: str
    control: str
    treatment: str
    share: float
    body: Mapping[str, Any] = field(default_factory=dict)
    launch_key: str = ""
    reason: str | None = None
    created_at: datetime | None = None
    stopped_at: datetime | None = None
    layer: Layer = OPEN  # who may meet it at all

    @property
    def arms(self) -> dict[str, str]:
        """The version of each arm, the control first; more than two where the body names more."""
        return name_arms(self.control, self.treatment, self.body)

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def draft(self) -> bool:
        return self.state == "draft"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a launch did: `created` is false when the same launch had opened it before."""

    experiment: Experiment
    created: bool
    superseded: str | None = None


def open_experiment(
    database_url: str,
    *,
    name: str,
    control: str,
    treatment: str,
    share: float,
    launch_key: str,
    body: Mapping[str, Any],
    actor: str = "launch",
) -> Opened:
    """Opens an experiment with its rollout at stage 0, or returns the one that this launch key opened before.

    Raises:
        ExperimentError: share outside (0, 1], equal arms, or a launch key that opened something else.
        DatabaseError: PostgreSQL is away; nothing was opened.
    """
    check_launch(name=name, control=control, treatment=treatment, share=share, launch_key=launch_key, body=body)
    experiment_id = name_experiment(name, launch_key)
    with connect(database_url) as connection:
        lock_name(connection, name)
        earlier = _find_launch(connection, launch_key)
        if earlier is not None and not _same_launch(earlier, name, control, treatment).draft:
            return Opened(earlier, created=False)
        running = _select(connection, "name = %s AND state = 'running'", (name,))
        for experiment in running:
            close_experiment(
                connection, experiment, f"superseded by {treatment}", actor, action="superseded", state="rolled_back"
            )
        # One that was paused has no running experiment any more, and would keep its model's only place for ever.
        for (paused,) in connection.execute(
            "SELECT experiment_id FROM rollouts WHERE name = %s AND state IN ('active', 'paused')", (name,)
        ).fetchall():
            _advance(
                connection, paused, actor, "superseded", {"reason": f"superseded by {treatment}"}, state="rolled_back"
            )
        connection.execute(
            INSERT.replace("NOTHING", "UPDATE SET state = 'running', share = excluded.share, created_at = now()"),
            (experiment_id, name, "running", control, treatment, share, canonical_json(body).decode(), launch_key),
        )
        rollout_id = experiment_id.replace("exp-", "roll-", 1)
        connection.execute(
            "INSERT INTO rollouts (rollout_id, name, experiment_id, state, stage) VALUES (%s, %s, %s, 'active', 0)",
            (rollout_id, name, experiment_id),
        )
        begin_layer(connection, experiment_id, body)
        begin_stratum(connection, experiment_id, split(share, name_arms(control, treatment, body), body), stage=0)
        detail: dict[str, Any] = {"control": control, "treatment": treatment, "share": share, "launch_key": launch_key}
        if isinstance(override := body.get("override"), Mapping):  # a person's, of the gate's verdict
            why = f"the gate was overruled by {override.get('by')}: {override.get('reason')}"
            detail |= {"reason": why, "override": dict(override)}
        log_rollout(connection, rollout_id, 0, actor, "opened", detail)
        opened = _select(connection, "experiment_id = %s", (experiment_id,))[0]
    return Opened(opened, created=True, superseded=running[0].experiment_id if running else None)


def split(share: float, arms: Iterable[str], body: Mapping[str, Any]) -> dict[str, float | None]:
    """The arms' shares, of a treatment's; None each where an allocation learns: every user has an own one."""
    if read_design(body, tuple(arms)) is not None:
        return dict.fromkeys(arms)
    return {"control": 1 - share, "treatment": share}


def name_experiment(name: str, launch_key: str) -> str:
    """The id of the experiment that a launch key opens on a model."""
    return "exp-" + hashlib.sha256(f"{name}\0{launch_key}".encode()).hexdigest()[:16]


def find_launch(database_url: str, *, name: str, control: str, treatment: str, launch_key: str) -> Experiment | None:
    """The experiment that a launch key opened before, or None.

    Raises:
        ExperimentError: the launch key opened something else.
    """
    with connect(database_url) as connection:
        earlier = _find_launch(connection, launch_key)
    return None if earlier is None else _same_launch(earlier, name, control, treatment)


def stop_experiment(
    database_url: str, experiment_id: str, *, reason: str, actor: str, promoted: bool = False
) -> Experiment:
    """Stops an experiment and closes its rollout (`promoted` or rolled back); one that is stopped stays as it is.

    Raises:
        ExperimentError: no such experiment.
    """
    with connect(database_url) as connection:
        experiment = lock_experiment(connection, experiment_id)
        if experiment.running:
            state = "promoted" if promoted else "rolled_back"
            close_experiment(connection, experiment, reason, actor, action="stopped", state=state)
        elif experiment.draft:
            _set_stopped(connection, experiment_id, reason)
        return _select(connection, "experiment_id = %s", (experiment_id,))[0]


def set_share(database_url: str, experiment_id: str, share: float, *, actor: str) -> Experiment:
    """Sets the treatment's share, in [0, 1], of a running experiment. What was seen under another share is another
    stratum, so the rollout's stage begins anew.

    Raises:
        ExperimentError: no such experiment, it has stopped, or the share is outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ExperimentError(f"experiment {experiment_id}: share {share!r} must be in [0, 1]")
    with connect(database_url) as connection:
        experiment = lock_experiment(connection, experiment_id)
        if not experiment.running:
            found = "is a draft; start it" if experiment.draft else f"has stopped ({experiment.reason}); open another"
            raise ExperimentError(f"the share of {experiment_id} stays as it is: the experiment {found}")
        if experiment.share != share:
            move_share(connection, experiment, share, actor, action="set_share")
        return _select(connection, "experiment_id = %s", (experiment_id,))[0]


def list_experiments(database_url: str, *, name: str | None = None, running: bool = False) -> list[Experiment]:
    """Lists experiments, the newest first."""
    with connect(database_url) as connection:
        return _select(
            connection, "(%s::text IS NULL OR name = %s) AND (NOT %s OR state = 'running')", (name, name, running)
        )


def get_experiment(database_url: str, experiment_id: str) -> Experiment:
    """Reads one experiment.

    Raises:
        ExperimentError: no such experiment.
    """
    found = find_experiment(database_url, experiment_id)
    if found is None:
        raise ExperimentError(_unknown(experiment_id))
    return found


def find_experiment(database_url: str, experiment_id: str) -> Experiment | None:
    """Reads one experiment, if there is one."""
    with connect(database_url) as connection:
        found = _select(connection, "experiment_id = %s", (experiment_id,))
    return found[0] if found else None


def _set_stopped(connection: Connection, experiment_id: str, reason: str) -> None:
    connection.execute(
        "UPDATE experiments SET state = 'stopped', reason = %s, stopped_at = now() WHERE experiment_id = %s",
        (reason, experiment_id),
    )


def lock_name(connection: Connection, name: str) -> None:
    """Keeps other openings on this model waiting until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"experiment {name}",))


def _unknown(experiment_id: str) -> str:
    return f"no experiment {experiment_id!r}; list them with GET /experiments"


def _select(connection: Connection, condition: str, values: tuple[Any, ...]) -> list[Experiment]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM experiments WHERE {condition} ORDER BY created_at DESC, experiment_id".encode(), values
    )
    return [Experiment(*[*row[:-1], read_layer(row[-1])]) for row in rows]


def _find_launch(connection: Connection, launch_key: str) -> Experiment | None:
    found = _select(connection, "launch_key = %s", (launch_key,))
    return found[0] if found else None


def _same_launch(earlier: Experiment, name: str, control: str, treatment: str) -> Experiment:
    if (earlier.name, earlier.control, earlier.treatment) != (name, control, treatment):
        raise ExperimentError(
            f"launch key {earlier.launch_key!r} opened {earlier.experiment_id} on {earlier.name}"
            f" ({earlier.control} against {earlier.treatment}); take another key for {control} against {treatment}"
        )
    return earlier


def lock_experiment(connection: Connection, experiment_id: str) -> Experiment:
    """Locks an experiment's row until the transaction ends, and reads it. Lock it before its rollout.

    Raises:
        ExperimentError: no such experiment.
    """
    connection.execute("SELECT 1 FROM experiments WHERE experiment_id = %s FOR UPDATE", (experiment_id,))
    found = _select(connection, "experiment_id = %s", (experiment_id,))
    if not found:
        raise ExperimentError(_unknown(experiment_id))
    return found[0]


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
    _set_stopped(connection, experiment.experiment_id, reason)
    told = {"reason": reason, **(detail or {})}
    _advance(connection, experiment.experiment_id, actor, action, told, state=state, fence=fence)


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
    begin_stratum(connection, experiment.experiment_id, split(share, experiment.arms, experiment.body), stage=stage)
    told = {"from": experiment.share, "to": share, **(detail or {})}
    _advance(connection, experiment.experiment_id, actor, action, told, begins=True, stage=stage, fence=fence)


def log_rollout(
    connection: Connection, rollout_id: str, fence: int, actor: str, action: str, detail: Mapping[str, Any]
) -> None:
    """Adds a line to the log of a rollout."""
    connection.execute(
        "INSERT INTO rollout_log (rollout_id, fence, actor, action, detail) VALUES (%s, %s, %s, %s, %s)",
        (rollout_id, fence, actor, action, json.dumps(detail)),
    )


def _advance(
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
) -> None:
    changed = connection.execute(
        "UPDATE rollouts SET fence = fence + 1, state = coalesce(%s, state), stage = coalesce(%s, stage),"
        " stage_since = CASE WHEN %s THEN now() ELSE stage_since END"
        " WHERE experiment_id = %s AND state IN ('active', 'paused') AND fence = coalesce(%s, fence)"
        " RETURNING rollout_id, fence",
        (state, stage, begins, experiment_id, fence),
    ).fetchall()
    if fence is not None and not changed:
        raise ExperimentError(f"the rollout of {experiment_id} is no longer at fence {fence}; look again")
    for rollout_id, token in changed:
        log_rollout(connection, rollout_id, token, actor, action, detail)
