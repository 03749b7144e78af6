"""Canaries with several days behind them: real traffic and real ticks, between which the database's time goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from flytewheel.experiment.experiments import Experiment, get_experiment
from flytewheel.experiment.rollout import Tick, tick
from flytewheel.recipe import AbTestingSpec, AutomationSpec
from flytewheel.records import to_jsonable
from tests.experiment.canary import Served, crowd, open_canary, store

_PAST = (
    "UPDATE experiments SET created_at = created_at - %(by)s, stopped_at = stopped_at - %(by)s",
    "UPDATE experiments SET holdback_since = holdback_since - %(by)s, holdback_until = holdback_until - %(by)s",
    "UPDATE rollouts SET stage_since = stage_since - %(by)s, created_at = created_at - %(by)s",
    "UPDATE rollout_log SET at = at - %(by)s",
    "UPDATE experiment_strata SET since = since - %(by)s",
    "UPDATE metric_looks SET looked_at = looked_at - %(by)s, frozen_at = frozen_at - %(by)s",
    "UPDATE interactions SET stored_at = stored_at - %(by)s",
    "UPDATE feedback_events SET stored_at = stored_at - %(by)s",
)


def pass_time(database_url: str, hours: float) -> None:
    """Moves everything that is stored into the past."""
    with psycopg.connect(database_url) as connection:
        for statement in _PAST:
            connection.execute(statement.replace("%(by)s", f"interval '{hours} hours'").encode())


def open_days(database_url: str, *, rules: AbTestingSpec | None = None, **changes: Any) -> Experiment:
    """A canary whose body is its rules, as a launch writes it."""
    return open_canary(database_url, body=to_jsonable(rules or AbTestingSpec()), **changes)


@dataclass(frozen=True)
class Day:
    """A day's requests of `users` new users, split by the share of that day; `up` is the thumbs-up rate of each arm."""

    users: int
    up: tuple[float, float]
    slow: float = 0.05

    def draw(self, number: int, share: float) -> list[Served]:
        """Its requests, as the day `number`."""
        treated = round(self.users * share)
        control = crowd("control", self.users - treated, up=self.up[0])
        rows = control + crowd("treatment", treated, up=self.up[1], slow=self.slow)
        return [replace(row, user=f"{number}-{row.user}") for row in rows]


def live(
    database_url: str,
    experiment: Experiment,
    days: Sequence[Day | Sequence[Served]],
    *,
    rules: AbTestingSpec | None = None,
    hours: float = 24.0,
    automation: AutomationSpec | None = None,
) -> list[Tick]:
    """One stretch of `hours` after the other: traffic, the passing of time, a tick."""
    ticks, start = [], 0
    for number, given in enumerate(days):
        experiment = get_experiment(database_url, experiment.experiment_id)
        rows = given.draw(number, experiment.share) if isinstance(given, Day) else given
        store(database_url, experiment, rows, start=start)
        start += len(rows)
        pass_time(database_url, hours)
        ticks.append(
            tick(
                database_url,
                rules or AbTestingSpec(),
                automation or AutomationSpec(auto_rollout=True),
                actor="schedule",
                experiment_id=experiment.experiment_id,
            )
        )
    return ticks
