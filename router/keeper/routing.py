"""Decides who answers for each model name, out of two sources that may each be away.

The champion is the registry's alias `champion`, a running experiment is a row in PostgreSQL. Each source is read by
itself, so that a share which is taken back arrives also while the object store hangs, and what was read last stands
until the next. A version is loaded *before* the table points to it, so that traffic never meets a cold arm; the one
exception is a name that is new, whose requests wait for their backend instead.

A weight that this process read never rises by itself: without the database, experiments stay as they were read; after
`limit_s` seconds without it everybody meets the champion, outside of any experiment, because nobody could take a
harmful version back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from flytewheel.database import connect
from flytewheel.experiment.experiments import Experiment, select_experiments
from flytewheel.experiment.shadows import Shadow, list_open
from registry.versions import Registry
from router.blocked import Blocked, Served
from router.table import Key, Route

CHAMPION = "champion"
T = TypeVar("T")


@dataclass(slots=True)
class Contact:
    """When the database was last heard of. `wall` is seconds since the epoch, kept across restarts; 0: never."""

    limit_s: float
    wall: float = 0.0
    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    _mark: float | None = None  # of the steady clock, when this process heard of it

    def made(self) -> None:
        """It answered just now."""
        self.wall, self._mark = self.clock(), self.steady()

    @property
    def age_s(self) -> float:
        """Seconds since then. The steady clock is believed where this process saw it; a wall clock that went back since
        the last process is not.
        """
        if self._mark is not None:
            return self.steady() - self._mark
        age = self.clock() - self.wall
        return age if self.wall and age >= 0 else float("inf")

    @property
    def lost(self) -> bool:
        """Whether it is too long ago to go by what it said."""
        return self.age_s > self.limit_s


@dataclass(frozen=True, slots=True)
class Champions:
    """What the registry said: who serves each name, and which versions may not."""

    served: Mapping[str, Served]
    blocked: Blocked


def read_champions(registry: Registry, only: str | None = None) -> Champions:
    """Who may answer for every name, or for one.

    Raises:
        StoreError: the object store is away.
    """
    blocked = Blocked(registry, datetime.now(UTC))
    names = registry.names() if only is None else [only]
    found = {name: registry.get_alias(name, CHAMPION) for name in names}
    return Champions({name: blocked.choose(name, at) for name, at in found.items() if at is not None}, blocked)


@dataclass(frozen=True, slots=True)
class Rows:
    """What the database said, by name of the model: who is compared, who is held back, who sees copies."""

    running: Mapping[str, Experiment]
    holdbacks: Mapping[str, Experiment]
    shadows: Mapping[str, Shadow]


def read_running(database_url: str, only: str | None = None) -> Rows:
    """The running experiments, holdbacks and shadows, of every name or of one, in one transaction.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    condition = "state IN ('running', 'holdback') AND (%s::text IS NULL OR name = %s)"
    with connect(database_url) as connection:
        found = select_experiments(connection, condition, (only, only))
        shadows = list_open(connection, only)
    running = {one.name: one for one in found if one.running}
    return Rows(running, {one.name: one for one in found if one.held_back}, shadows)


@dataclass(slots=True)
class Routing:
    """What was read last, and what is shown of it; `shown` is replaced, never changed.

    `served` and `running` are None until they were read, or taken from what the last process left; which is not shown
    before both sources were asked.
    """

    contact: Contact
    served: Mapping[str, Served] | None = None
    running: Mapping[str, Experiment] | None = None
    holdbacks: Mapping[str, Experiment] = field(default_factory=dict)
    shadows: Mapping[str, Shadow] = field(default_factory=dict)
    shown: Mapping[str, Route] = field(default_factory=dict)
    asked: bool = False

    @property
    def control_only(self) -> bool:
        """Whether nobody meets a treatment because the database is away for too long."""
        return self.contact.lost

    @property
    def withheld(self) -> dict[str, str]:
        """Names whose champion does not answer, and why."""
        return {name: one.reason for name, one in (self.served or {}).items() if one.reason}

    def take_served(self, found: Champions, only: str | None) -> None:
        """The registry was read, for every name or for one."""
        kept = {} if only is None else {name: one for name, one in (self.served or {}).items() if name != only}
        self.served = {**kept, **found.served}

    def take_running(self, found: Rows, only: str | None) -> None:
        """The database was read, for every name or for one."""
        self.running = _replace(self.running or {}, found.running, only)
        self.holdbacks = _replace(self.holdbacks, found.holdbacks, only)
        self.shadows = _replace(self.shadows, found.shadows, only)

    def find_wanted(self) -> dict[str, Route]:
        """The routes as the sources have them."""
        running = {} if self.control_only or self.running is None else self.running
        return {
            name: Route(
                name,
                one.version,
                running.get(name),
                self._find_holdback(name, one.version),
                self._find_shadow(name, one.version),
            )
            for name, one in (self.served or {}).items()
            if one.version is not None
        }

    def _find_holdback(self, name: str, champion: str) -> Experiment | None:
        """The holdback of a name, as long as its treatment is the champion: whoever is taken back, is so at once."""
        found = None if self.control_only else self.holdbacks.get(name)
        return found if found is not None and found.treatment == champion else None

    def _find_shadow(self, name: str, champion: str) -> Shadow | None:
        """The shadow of a name, where it is shown copies of this champion's traffic."""
        found = None if self.control_only else self.shadows.get(name)
        return found if found is not None and found.champion == champion else None

    def show(self, is_warm: Callable[[Key], bool], *, force: Set[str] = frozenset()) -> dict[str, Route]:
        """Brings `shown` as near to the wanted routes as loaded versions allow; returns those that need loading.

        Names in `force` are shown as wanted although a treatment of theirs did not load: the control answers for it.
        """
        shown: dict[str, Route] = {}
        cold: dict[str, Route] = {}
        for name, route in self.find_wanted().items():
            before = self.shown.get(name)
            if before is None or name in force or all(is_warm((name, version)) for version in route.versions):
                shown[name] = route
            else:
                # What was taken back is taken back at once; only what comes in has to be waited for.
                shown[name] = _keep_old(before, route)
            if not all(is_warm((name, version)) for version in route.versions):
                cold[name] = route
        self.shown = shown
        return cold

    def list_needed(self) -> set[Key]:
        """The versions that somebody may meet now or as soon as they are loaded."""
        routes = [*self.shown.values(), *self.find_wanted().values()]
        return {(route.name, version) for route in routes for version in route.versions}


def _replace(before: Mapping[str, T], found: Mapping[str, T], only: str | None) -> dict[str, T]:
    kept = {} if only is None else {name: one for name, one in before.items() if name != only}
    return {**kept, **found}


def _keep_old(before: Route, route: Route) -> Route:
    """The old champion, with the new experiment where its versions are those that answer already."""
    experiment = route.experiment
    if experiment is not None and not set(experiment.arms.values()) <= before.versions:
        experiment = None
    holdback = route.holdback
    if holdback is not None and (holdback.treatment != before.champion or holdback.control not in before.versions):
        holdback = None
    return Route(route.name, before.champion, experiment, holdback)
