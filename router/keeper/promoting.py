"""Moves the champion by a rollout's verdict, and back where that rollout was taken back meanwhile
(flytewheel/experiment/promotion.py says in which order, and what a kill leaves).
"""

from __future__ import annotations

from collections.abc import Mapping

from flytewheel.errors import ExperimentError, RegistryError
from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.promotion import Lost, Promotion, find_lost, finish_promotion
from registry.aliases import CHAMPION
from registry.versions import Registry

DRILL = "drill"  # the alias


def move_champion(registry: Registry, database_url: str, promotion: Promotion) -> None:
    """Steps 2 and 3 of a promotion whose treatment is loaded; again with the same effect.

    Raises:
        RegistryError: somebody else moved the champion; nothing was changed.
        ExperimentError: the rollout was ended meanwhile; the champion is the one of before.
        DatabaseError: PostgreSQL went away; the next tick decides anew.
    """
    one, name = promotion.experiment, promotion.experiment.name
    last = registry.last_move(name, CHAMPION)
    if last is None or (last.by, last.version) != (promotion.mover, one.treatment):
        registry.promote(name, one.treatment, one.control, by=promotion.mover, reason=f"fence {promotion.fence}")
    if not finish_promotion(database_url, promotion):
        take_back(registry, Lost(promotion.rollout_id, name, one.treatment, "it ended while it was promoted"))
        raise ExperimentError(
            f"the rollout of {one.experiment_id} ended while {one.treatment} was promoted: {one.control} is champion"
        )


def undo_lost(registry: Registry, database_url: str, champions: Mapping[str, str]) -> list[str]:
    """Takes back every champion that a rollout moved which was taken back; returns the models' names."""
    return [lost.name for lost in find_lost(database_url, champions) if take_back(registry, lost)]


def try_alias(registry: Registry, name: str, experiment: Experiment) -> None:
    """Moves an alias that nobody serves by, as a rollback after a promotion would move the champion's.

    Raises:
        RegistryError, StoreError: a version cannot be read, or the store does not compare and set.
    """
    registry.set_alias(name, DRILL, experiment.treatment, by="drill", reason="the way there")
    registry.set_alias(name, DRILL, experiment.control, experiment.treatment, by="drill", reason="the way back")


def take_back(registry: Registry, lost: Lost) -> bool:
    """Whether the alias was moved back; not where somebody else has moved it since."""
    last = registry.last_move(lost.name, CHAMPION)
    if last is None or (last.by, last.version) != (lost.mover, lost.version):
        return False
    try:
        registry.roll_back(lost.name, lost.version, by=lost.mover, reason=lost.reason)
    except RegistryError:
        now = registry.last_move(lost.name, CHAMPION)
        if now is not None and now.count != last.count:  # another router was first
            return False
        raise
    return True
