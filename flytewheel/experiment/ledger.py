"""Reads where a rollout stands: its row with its experiment's arms, and its log, which is only ever appended to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError

_SAMPLE = 2000  # of the latest interactions: a router that serves one in a hundred is among them


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout's row with its experiment's arms. `share` is the treatment's; `stage_hours` is how long its stage
    lasts by now and `age_hours` how long the whole of it, in the database's time.
    """

    rollout_id: str
    name: str
    experiment_id: str
    state: str
    stage: int
    fence: int
    since: datetime
    stage_hours: float
    control: str
    treatment: str
    share: float
    age_hours: float
    serving: bool = True  # whether its experiment runs

    @property
    def now(self) -> datetime:
        """When the row was read, by the database's clock."""
        return self.since + timedelta(hours=self.stage_hours)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a rollout's log."""

    at: datetime
    fence: int
    actor: str
    action: str
    detail: Mapping[str, Any]


def read_rollout(database_url: str, name: str) -> tuple[Rollout, list[Entry]]:
    """The newest rollout of a model with its log, the newest line first.

    Raises:
        ExperimentError: there is none.
    """
    with connect(database_url) as connection:
        rollout = find_rollout(connection, name=name)
        if rollout is None:
            raise ExperimentError(f"no rollout of {name!r}: a turn of the loop launches one (`flytewheel run RECIPE`)")
        return rollout, read_log(connection, rollout.rollout_id)


def find_rollout(
    connection: Connection, *, name: str | None = None, experiment_id: str | None = None, rollout_id: str | None = None
) -> Rollout | None:
    """The rollout of this experiment or id, or the model's newest, open ones first; None where a model has none.

    Raises:
        ExperimentError: no such experiment, or not exactly one of the three is given.
    """
    given = {"name": name, "experiment_id": experiment_id, "rollout_id": rollout_id}
    asked = [(column, value) for column, value in given.items() if value]
    if len(asked) != 1:
        raise ExperimentError("a rollout is named by its model, its experiment or its id: give one of the three")
    found = _select(connection, f"r.{asked[0][0]} = %s", asked[0][1])
    if not found and experiment_id is not None:
        raise ExperimentError(
            f"no rollout of experiment {experiment_id!r}; list them with `flytewheel experiments list`"
        )
    return found[0] if found else None


def _select(connection: Connection, condition: str, value: str) -> list[Rollout]:
    rows = connection.execute(
        "SELECT r.rollout_id, r.name, r.experiment_id, r.state, r.stage, r.fence, r.stage_since,"
        " extract(epoch FROM now() - r.stage_since)::float8 / 3600, e.control, e.treatment, e.share,"
        " extract(epoch FROM now() - r.created_at)::float8 / 3600, e.state = 'running'"
        f" FROM rollouts r JOIN experiments e USING (experiment_id) WHERE {condition}"
        " ORDER BY r.state IN ('active', 'paused') DESC, r.created_at DESC, r.rollout_id".encode(),
        (value,),
    )
    return [Rollout(*row) for row in rows]


def lock_fence(connection: Connection, rollout_id: str) -> int | None:
    """Locks a rollout's row until the transaction ends; its fencing token, None where there is no such rollout."""
    row = connection.execute("SELECT fence FROM rollouts WHERE rollout_id = %s FOR UPDATE", (rollout_id,)).fetchone()
    return None if row is None else int(row[0])


def read_log(connection: Connection, rollout_id: str) -> list[Entry]:
    """The log of a rollout, the newest line first."""
    rows = connection.execute(
        "SELECT at, fence, actor, action, detail FROM rollout_log WHERE rollout_id = %s ORDER BY entry DESC",
        (rollout_id,),
    )
    return [Entry(*row) for row in rows]


def last_decision(connection: Connection, rollout: Rollout) -> Entry | None:
    """What the newest tick of the present stage said; every change raises the fence and so ends the stage's entries."""
    log = read_log(connection, rollout.rollout_id)
    return next((entry for entry in log if entry.action in ("hold", "promote") and entry.fence == rollout.fence), None)


def read_newest(connection: Connection, rollout: Rollout) -> float | None:
    """Hours since the newest interaction of the present stage was stored, in the database's time; None without any."""
    row = connection.execute(
        "SELECT extract(epoch FROM clock_timestamp() - stored_at)::float8 / 3600 FROM interactions WHERE source = %s"
        " AND body ->> 'experiment_id' = %s AND stored_at >= %s ORDER BY xid DESC LIMIT 1",
        (rollout.name, rollout.experiment_id, rollout.since),
    ).fetchone()
    return None if row is None else float(row[0])


def count_routers(connection: Connection, rollout: Rollout) -> dict[str, dict[str, int]]:
    """Users an arm in the present stage, by the router that served them; empty where fewer than two routers serve.

    What was drawn under an earlier share is left out. The latest interactions tell whether there are several at all.
    """
    where = "source = %(name)s AND body ->> 'experiment_id' = %(experiment)s AND stored_at >= %(since)s"
    given = {
        "name": rollout.name,
        "experiment": rollout.experiment_id,
        "since": rollout.since,
        "share": rollout.share,
        "sample": _SAMPLE,
    }
    several = connection.execute(
        "SELECT count(DISTINCT router) FROM (SELECT body #>> '{metadata,router}' AS router FROM interactions WHERE "
        f"{where} ORDER BY xid DESC LIMIT %(sample)s) AS latest".encode(),
        given,
    ).fetchone()
    if several is None or several[0] < 2:
        return {}
    rows = connection.execute(
        "SELECT body #>> '{metadata,router}', body ->> 'arm', count(DISTINCT user_id) FROM interactions WHERE "
        f"{where} AND body ->> 'arm' IS NOT NULL AND body #>> '{{metadata,router}}' IS NOT NULL"
        " AND coalesce(abs((body ->> 'propensity')::float8 - CASE body ->> 'arm' WHEN 'treatment' THEN %(share)s"
        " ELSE 1 - %(share)s END) < 1e-9, true) GROUP BY 1, 2".encode(),
        given,
    )
    routers: dict[str, dict[str, int]] = {}
    for router, arm, users in rows:
        routers.setdefault(router, {})[arm] = users
    return routers


def is_approved(connection: Connection, rollout: Rollout) -> bool:
    """Whether someone approved the present stage's step."""
    log = read_log(connection, rollout.rollout_id)
    return any(entry.action == "approved" and entry.fence == rollout.fence for entry in log)
