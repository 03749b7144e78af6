"""Reads what every stored look at an experiment has found, the oldest first, and who met it when.

Nothing is computed anew: a look is what a tick decided by, as its evidence was stored with it. What is not there is
`None`, never zero, and a log of an earlier version is read as far as it goes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.experiment.experiments import Experiment, get_experiment, list_experiments
from flytewheel.experiment.gains import Gain, read_gains
from flytewheel.experiment.ledger import Entry, Rollout, find_rollout, read_log
from flytewheel.experiment.reading.findings import Finding, read_findings

LOOKS = ("hold", "advance", "promote", "roll_back", "stop_for_srm", "reject_at_max_duration")

_TRAFFIC = """
SELECT date_bin(make_interval(secs => %(bin_s)s), stored_at, %(since)s) AS at, body ->> 'arm' AS arm,
    count(DISTINCT user_id) AS users, count(*) AS requests
FROM interactions
WHERE source = %(name)s AND body ->> 'experiment_id' = %(experiment_id)s AND body ->> 'arm' IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
"""
_ARMS = """
SELECT body ->> 'arm' AS arm, count(DISTINCT user_id) AS users, count(*) AS requests,
    percentile_disc(0.95) WITHIN GROUP (ORDER BY (body ->> 'latency_ms')::float8) AS p95_ms
FROM interactions
WHERE source = %(name)s AND body ->> 'experiment_id' = %(experiment_id)s AND body ->> 'arm' IS NOT NULL
    AND stored_at >= %(since)s
GROUP BY 1 ORDER BY 1
"""
_OTHERS = """
SELECT count(*) FILTER (WHERE body ->> 'experiment_id' = %(experiment_id)s), count(*),
    count(DISTINCT user_id) FILTER (WHERE body ->> 'experiment_id' = %(experiment_id)s)
FROM interactions
WHERE source = %(name)s AND stored_at >= %(since)s AND stored_at <= coalesce(%(until)s, now())
"""
_MOST_BINS = 60


@dataclass(frozen=True, slots=True)
class Look:
    """One look: `log_e_srm` is that of the split, `None` where it could not be had; `days` are since the opening."""

    at: datetime
    days: float
    stage: int
    share: float | None
    decision: str
    reasons: tuple[str, ...]
    users: Mapping[str, int]
    findings: tuple[Finding, ...]
    mismatch: bool
    log_e_srm: float | None
    stage_hours: float | None
    digest: str
    actor: str


@dataclass(frozen=True, slots=True)
class Bin:
    """Traffic of one arm in one stretch of time that begins at `at`."""

    at: datetime
    arm: str
    users: int
    requests: int


@dataclass(frozen=True, slots=True)
class ArmTotals:
    """Who met an arm in the present stage; `p95_ms` is to the last token."""

    arm: str
    version: str
    share: float
    users: int
    requests: int
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class History:
    """An experiment with all that was stored of it. `exposed` is the share of the model's requests that it took, `met`
    counts the users of all its stages; `gains` is what its promotion has brought.
    """

    experiment: Experiment
    rollout: Rollout | None
    looks: tuple[Look, ...]
    log: tuple[Entry, ...]
    arms: tuple[ArmTotals, ...] = ()
    traffic: tuple[Bin, ...] = ()
    bin_hours: float = 1.0
    exposed: float | None = None
    met: int = 0
    as_of: datetime | None = field(default=None)
    gains: tuple[Gain, ...] = ()

    @property
    def last(self) -> Look | None:
        """The newest look."""
        return self.looks[-1] if self.looks else None

    @property
    def users(self) -> int:
        """Users of all stages; at least those that the newest look counted, where older rows have been deleted."""
        return max(self.met, sum(self.last.users.values()) if self.last is not None else 0)


def find_id(database_url: str, asked: str) -> str:
    """The experiment that is meant: by its id, or the running, else the newest one of a model.

    Raises:
        ExperimentError: there is neither.
    """
    if asked.startswith("exp-"):
        return get_experiment(database_url, asked).experiment_id
    found = list_experiments(database_url, name=asked)
    running = [one for one in found if one.running] or [one for one in found if not one.draft] or found
    return running[0].experiment_id if running else get_experiment(database_url, asked).experiment_id


def read_history(database_url: str, experiment_id: str) -> History:
    """Everything that was stored of one experiment, in one snapshot.

    Raises:
        ExperimentError: no such experiment.
        DatabaseError: PostgreSQL is away.
    """
    experiment = get_experiment(database_url, experiment_id)
    if experiment.draft:
        return History(experiment, None, (), ())
    with connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        as_of = _read_clock(connection)
        rollout = find_rollout(connection, experiment_id=experiment_id)
        if rollout is None:
            return History(experiment, None, (), (), as_of=as_of)
        log = tuple(reversed(read_log(connection, rollout.rollout_id)))
        traffic, bin_hours = _read_traffic(connection, experiment, as_of)
        exposed, met = _read_exposure(connection, experiment)
        return History(
            experiment,
            rollout,
            read_looks(experiment, log),
            log,
            _read_arms(connection, experiment, rollout),
            traffic,
            bin_hours,
            exposed,
            met,
            as_of,
            read_gains(log),
        )


def read_looks(experiment: Experiment, log: Sequence[Entry]) -> tuple[Look, ...]:
    """The looks in a log, the oldest first."""
    opened = experiment.created_at
    found = []
    for entry in log:
        evidence = entry.detail.get("evidence")
        if entry.action not in LOOKS or not isinstance(evidence, Mapping):
            continue
        ratios = [one for one in evidence.get("sample_ratios") or () if isinstance(one, Mapping)]
        of_all = next((one for one in ratios if one.get("router") is None), evidence.get("srm") or {})
        found.append(
            Look(
                at=entry.at,
                days=(entry.at - opened).total_seconds() / 86_400 if opened is not None else 0.0,
                stage=int(entry.detail.get("stage") or 0),
                share=_number(evidence.get("share")),
                decision=entry.action,
                reasons=tuple(str(reason) for reason in entry.detail.get("reasons") or ()),
                users={str(arm): int(count) for arm, count in (evidence.get("users") or {}).items()},
                findings=read_findings(evidence, experiment.body),
                mismatch=any(bool(one.get("mismatch")) for one in (*ratios, of_all)),
                log_e_srm=_number(of_all.get("log_e")),
                stage_hours=_number(evidence.get("stage_hours")),
                digest=str(entry.detail.get("digest") or ""),
                actor=entry.actor,
            )
        )
    return tuple(found)


def _read_clock(connection: Connection) -> datetime:
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


def _read_traffic(connection: Connection, experiment: Experiment, as_of: datetime) -> tuple[tuple[Bin, ...], float]:
    """Hours, or as many hours in one as keep the picture readable."""
    since = experiment.created_at or as_of
    hours = max(((experiment.stopped_at or as_of) - since).total_seconds() / 3600, 1.0)
    each = float(next(size for size in (1, 3, 6, 12, 24, 24 * 7, 24 * 365) if hours / size <= _MOST_BINS))
    given = {"name": experiment.name, "experiment_id": experiment.experiment_id, "since": since, "bin_s": each * 3600}
    return tuple(Bin(*row) for row in connection.execute(_TRAFFIC, given)), each


def _read_arms(connection: Connection, experiment: Experiment, rollout: Rollout) -> tuple[ArmTotals, ...]:
    given = {"name": experiment.name, "experiment_id": experiment.experiment_id, "since": rollout.since}
    return tuple(
        ArmTotals(
            arm,
            experiment.control if arm == "control" else experiment.treatment,
            1 - rollout.share if arm == "control" else rollout.share,
            users,
            requests,
            p95,
        )
        for arm, users, requests, p95 in connection.execute(_ARMS, given)
    )


def _read_exposure(connection: Connection, experiment: Experiment) -> tuple[float | None, int]:
    given = {
        "name": experiment.name,
        "experiment_id": experiment.experiment_id,
        "since": experiment.created_at,
        "until": experiment.stopped_at,
    }
    row = connection.execute(_OTHERS, given).fetchone()
    assert row is not None
    own, all_, users = row
    return own / all_ if all_ else None, users


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
