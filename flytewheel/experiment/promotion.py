"""Decides whether a promotion may move the champion, and what became of one that was interrupted.

The champion lies in the registry, the rollout in PostgreSQL, and no transaction spans both. So a promotion is

1. **checked**: the rollout is active at the fencing token that the verdict was stored with;
2. **moved**: compare-and-set of the alias from the control to the treatment, signed `rollout <id>`;
3. **finished**: under the experiment's lock the rollout, if it still is at that token, becomes `promoted`, and its
   experiment the holdback (or stopped, without one).

A kill between 2 and 3 leaves an active rollout whose treatment is the champion: the next tick decides anew, and either
finishes it or takes it back. Whoever aborts between 1 and 3 wins: the third step finds another token, and takes the
alias back; and where that process died, too, every router that looks does (`find_lost`). Only a move that a rollout
signed is ever undone so: what a person promotes stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.experiments import Experiment, close_experiment, get_experiment, lock_experiment
from flytewheel.experiment.holdback import begin_holdback
from flytewheel.experiment.ledger import Rollout, find_rollout, lock_fence, read_log

SIGNED = "rollout "  # how an alias's mover calls itself, before the rollout's id
_LOST = """
SELECT DISTINCT ON (r.rollout_id) r.rollout_id, r.name, e.treatment, coalesce(l.detail ->> 'reason', l.action)
FROM rollouts r JOIN experiments e USING (experiment_id) JOIN rollout_log l USING (rollout_id)
WHERE r.state = 'rolled_back' AND (r.name, e.treatment) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
ORDER BY r.rollout_id, l.entry DESC
"""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A verdict that may be carried out; `done`: it was."""

    experiment: Experiment
    rollout_id: str
    fence: int
    done: bool

    @property
    def mover(self) -> str:
        """Who moves the alias."""
        return SIGNED + self.rollout_id


@dataclass(frozen=True, slots=True)
class Lost:
    """A rollout that was taken back although the alias stands, or may stand, for its treatment."""

    rollout_id: str
    name: str
    version: str
    reason: str

    @property
    def mover(self) -> str:
        """Who moved the alias, if it was this rollout."""
        return SIGNED + self.rollout_id


def check_promotion(database_url: str, experiment_id: str, fence: int) -> Promotion:
    """Reads the verdict that is to be carried out.

    Raises:
        ExperimentError: something changed since it was stored, or none was.
    """
    experiment = get_experiment(database_url, experiment_id)
    with connect(database_url) as connection:
        rollout = find_rollout(connection, experiment_id=experiment_id)
        assert rollout is not None
        if rollout.state == "promoted":
            return Promotion(experiment, rollout.rollout_id, rollout.fence, done=True)
        _find_verdict(connection, rollout, fence)
    return Promotion(experiment, rollout.rollout_id, fence, done=False)


def finish_promotion(database_url: str, promotion: Promotion, *, actor: str = "router") -> bool:
    """Writes down that the champion was moved, once; False where the rollout ended otherwise meanwhile."""
    with connect(database_url) as connection:
        experiment = lock_experiment(connection, promotion.experiment.experiment_id)
        now = lock_fence(connection, promotion.rollout_id)
        rollout = find_rollout(connection, rollout_id=promotion.rollout_id)
        assert rollout is not None
        if rollout.state == "promoted":
            return True
        if rollout.state not in ("active", "paused") or now != promotion.fence or not experiment.running:
            return False
        held = _find_verdict(connection, rollout, promotion.fence).get("holdback") or {}
        if held.get("share"):
            begin_holdback(connection, experiment, share=held["share"], days=held["days"], actor=actor)
        else:
            close_experiment(
                connection,
                experiment,
                f"champion changed to {experiment.treatment}",
                actor,
                action="promoted",
                state="promoted",
            )
    return True


def find_lost(database_url: str, champions: Mapping[str, str]) -> list[Lost]:
    """Rollouts that were taken back although their treatment is champion.

    Args:
        database_url: PostgreSQL.
        champions: the champion by name of the model.
    """
    if not champions:
        return []
    with connect(database_url) as connection:
        rows = connection.execute(_LOST, (list(champions), list(champions.values()))).fetchall()
    return [Lost(*row) for row in rows]


def _find_verdict(connection: Connection, rollout: Rollout, fence: int) -> Mapping[str, Any]:
    """The stored verdict, or a person's word, that lets this rollout be promoted."""
    if rollout.state != "active" or rollout.fence != fence:
        raise ExperimentError(
            f"{rollout.experiment_id} was to be promoted at fence {fence}, but is {rollout.state.replace('_', ' ')}"
            f" at {rollout.fence}"
        )
    for entry in read_log(connection, rollout.rollout_id):
        if entry.action in ("promote", "force") and entry.fence == fence and entry.detail.get("to_champion", True):
            return entry.detail
    raise ExperimentError(
        f"no stored verdict promotes {rollout.experiment_id} at fence {fence}; look first:"
        f" flytewheel rollout tick {rollout.name}"
    )
