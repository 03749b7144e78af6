"""One look at a rollout with all that follows from it: the way that every driver goes, be it Flyte's workflows, the
commands, or a loop on a machine without either.

    what a promotion brought → end holdbacks that are over → open the canary whose shadow is over → tick
    → (the way back, exercised → tick) → carry out

Each part may be repeated, and a driver may die between any two: what was decided is stored, and the next look goes on
from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flytewheel.experiment import launch
from flytewheel.experiment.decision import WAITS
from flytewheel.experiment.gains import look_at_holdback
from flytewheel.experiment.holdback import end_due
from flytewheel.experiment.rollout import LOOK_EVERY, Tick, carry_out, tick
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Rewards


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a look. `drill` is how the way back went where it was exercised; `served` what users meet now."""

    tick: Tick
    served: str | None = None
    drill: Mapping[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether no further look changes anything by itself."""
        return self.tick.decision not in ("hold", "advance")

    @property
    def waits(self) -> bool:
        """Whether a person has to approve the next step."""
        return WAITS in self.tick.reasons

    def hours_to_next(self, ab_testing: AbTestingSpec) -> float:
        """Hours until the next look is worth it: the stage's end, or a few hours where something else is waited for."""
        hours: float = LOOK_EVERY.total_seconds() / 3600
        if self.tick.decision == "advance":
            return ab_testing.stage_duration_hours
        left = ab_testing.stage_duration_hours - float(self.tick.evidence.get("stage_hours", 0.0))
        return min(left, hours) if left > 0 else hours

    @property
    def message(self) -> str:
        """The decision and why, as a line."""
        told = f"{self.tick.decision}: {'; '.join(self.tick.reasons)}"
        return told if self.served is None else f"{told}; {self.served}"


def look(
    database_url: str,
    ab_testing: AbTestingSpec,
    automation: AutomationSpec,
    *,
    router_url: str,
    admin_key: str,
    name: str,
    actor: str,
    rewards: Rewards | None = None,
) -> Step:
    """Looks once and stores what is due; nothing is carried out at the router but a drill.

    Raises:
        DatabaseError: PostgreSQL is away; nothing was decided.
        RouterError: the router is away, and the way back could not be exercised.
    """
    look_at_holdback(database_url, ab_testing, name=name, actor=actor, rewards=rewards)
    end_due(database_url, actor=actor)
    launch.launch_shadowed(database_url, router_url, admin_key, name=name)
    ticked = tick(database_url, ab_testing, automation, name=name, actor=actor, rewards=rewards)
    if not ticked.wants_drill:
        return Step(ticked)
    drilled = launch.drill(router_url, admin_key, experiment_id=ticked.experiment_id)
    return Step(tick(database_url, ab_testing, automation, name=name, actor=actor, rewards=rewards), drill=drilled)


def step(
    database_url: str,
    ab_testing: AbTestingSpec,
    automation: AutomationSpec,
    *,
    router_url: str,
    admin_key: str,
    name: str,
    actor: str,
    rewards: Rewards | None = None,
) -> Step:
    """Looks once, and has the router follow.

    Raises:
        DatabaseError: PostgreSQL is away; nothing was decided.
        RouterError: the router is away or refuses; what was decided is stored, and the next look goes on from there.
        ExperimentError: somebody changed the rollout between verdict and promotion.
    """
    found = look(
        database_url,
        ab_testing,
        automation,
        router_url=router_url,
        admin_key=admin_key,
        name=name,
        actor=actor,
        rewards=rewards,
    )
    ticked = found.tick
    if ticked.decision in ("hold", "none"):
        return found
    served = carry_out(
        database_url,
        router_url=router_url,
        admin_key=admin_key,
        experiment_id=ticked.experiment_id,
        decision=ticked.decision,
        fence=ticked.fence,
    )
    return Step(ticked, served, found.drill)
