"""Decides which experiment runs for a model, and writes down every change of it.

One experiment runs for a model name at a time. Opening is idempotent on the launch key; a launch with another key
stops the one that runs ("superseded by <treatment>"), closes its rollout and opens the new one at stage 0, all in one
transaction behind a lock of that name, so that no reader ever sees two, or none where there was one. A launch with a
draft's key (`drafts`) opens that. Every change raises the rollout's fencing token and adds a line to `rollout_log`,
which is only ever appended to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.arms import check_launch as check_launch
from flytewheel.experiment.arms import name_arms as name_arms
from flytewheel.experiment.changes import advance_rollout as advance_rollout
from flytewheel.experiment.changes import allot as allot
from flytewheel.experiment.changes import close_experiment as close_experiment
from flytewheel.experiment.changes import follow_canary as follow_canary
from flytewheel.experiment.changes import log_rollout as log_rollout
from flytewheel.experiment.changes import move_share as move_share
from flytewheel.experiment.changes import set_stopped as set_stopped
from flytewheel.experiment.changes import split as split
from flytewheel.experiment.layers import OPEN, Layer, begin_layer, read_layer
from flytewheel.experiment.metrics.strata import begin_stratum
from flytewheel.records import canonical_json

INSERT = """
INSERT INTO experiments (experiment_id, name, state, control, treatment, share, body, launch_key)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (experiment_id) DO NOTHING
"""
_COLUMNS = (
    "experiment_id, name, state, control, treatment, share, body, launch_key, reason, created_at, stopped_at,"
    " holdback_since, holdback_until, layer"
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
    holdback_since: datetime | None = None
    holdback_until: datetime | None = None
    layer: Layer = OPEN  # who may meet it at all

    @property
    def arms(self) -> dict[str, str]:
        """The version of each arm, the control first; more than two where the body names more."""
        return name_arms(self.control, self.treatment, self.body)

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def held_back(self) -> bool:
        """Whether its treatment is the champion, and the rest of the users keep the one before (holdback.py)."""
        return self.state == "holdback"

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
        running = select_experiments(connection, "name = %s AND state = 'running'", (name,))
        for experiment in running:
            close_experiment(
                connection, experiment, f"superseded by {treatment}", actor, action="superseded", state="rolled_back"
            )
        # One that was paused has no running experiment any more, and would keep its model's only place for ever.
        for (paused,) in connection.execute(
            "SELECT experiment_id FROM rollouts WHERE name = %s AND state IN ('active', 'paused')", (name,)
        ).fetchall():
            advance_rollout(
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
        begin_stratum(connection, experiment_id, allot(share, name_arms(control, treatment, body), body), stage=0)
        follow_canary(connection, name)
        detail: dict[str, Any] = {"control": control, "treatment": treatment, "share": share, "launch_key": launch_key}
        if isinstance(override := body.get("override"), Mapping):  # a person's, of the gate's verdict
            why = f"the gate was overruled by {override.get('by')}: {override.get('reason')}"
            detail |= {"reason": why, "override": dict(override)}
        log_rollout(connection, rollout_id, 0, actor, "opened", detail)
        opened = select_experiments(connection, "experiment_id = %s", (experiment_id,))[0]
    return Opened(opened, created=True, superseded=running[0].experiment_id if running else None)


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
        elif experiment.held_back:
            set_stopped(connection, experiment_id, f"holdback ended: {reason}")
            advance_rollout(connection, experiment_id, actor, "holdback_ended", {"reason": reason}, of=("promoted",))
        elif experiment.draft:
            set_stopped(connection, experiment_id, reason)
        return select_experiments(connection, "experiment_id = %s", (experiment_id,))[0]


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
            if experiment.held_back:
                found = "is a holdback, whose share stays; it ends by itself, or by a stop"
            raise ExperimentError(f"the share of {experiment_id} stays as it is: the experiment {found}")
        if experiment.share != share:
            move_share(connection, experiment, share, actor, action="set_share")
        return select_experiments(connection, "experiment_id = %s", (experiment_id,))[0]


def list_experiments(
    database_url: str, *, name: str | None = None, running: bool = False, held_back: bool = False
) -> list[Experiment]:
    """Lists experiments, the newest first: all, or those that run, that are held back, or both."""
    states = ["running"] * running + ["holdback"] * held_back
    condition = "(%s::text IS NULL OR name = %s) AND (%s::text[] = '{}' OR state = ANY(%s::text[]))"
    with connect(database_url) as connection:
        return select_experiments(connection, condition, (name, name, states, states))


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
        found = select_experiments(connection, "experiment_id = %s", (experiment_id,))
    return found[0] if found else None


def lock_name(connection: Connection, name: str) -> None:
    """Keeps other openings on this model waiting until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"experiment {name}",))


def _unknown(experiment_id: str) -> str:
    return f"no experiment {experiment_id!r}; list them with GET /experiments"


def select_experiments(connection: Connection, condition: str, values: tuple[Any, ...]) -> list[Experiment]:
    """The experiments that meet a condition of SQL, the newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM experiments WHERE {condition} ORDER BY created_at DESC, experiment_id".encode(), values
    )
    return [Experiment(*[*row[:-1], read_layer(row[-1])]) for row in rows]


def _find_launch(connection: Connection, launch_key: str) -> Experiment | None:
    found = select_experiments(connection, "launch_key = %s", (launch_key,))
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
    found = select_experiments(connection, "experiment_id = %s", (experiment_id,))
    if not found:
        raise ExperimentError(_unknown(experiment_id))
    return found[0]
