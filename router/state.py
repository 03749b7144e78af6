"""Decides which models are served by which versions, and keeps that in step with the registry and the database.

The truth lies outside: the champion is the registry's alias `champion`, a running experiment is a row in PostgreSQL.
This process holds a table of routes made of both, replaced as a whole; a request reads it once. Every change loads the
versions *before* the table points to them, so that traffic never meets a cold arm; the one exception is the start,
where requests wait for their backend instead. The table is made again every few seconds, so that an alias moved by
hand, or a change by another router, arrives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flytewheel.database import last_line, migrate
from flytewheel.errors import ExperimentError, FlytewheelError, SettingsError
from flytewheel.experiment import experiments
from flytewheel.experiment.experiments import Experiment, Opened
from flytewheel.settings import PREFIX, Settings
from flytewheel.signed_registry import seal_registry
from flytewheel.signing_keys import ring_of_settings
from registry.aliases import PREVIOUS
from registry.store import ObjectStore
from registry.taints import refuse_blocked
from registry.versions import Registry
from router.backends import BackendPool
from router.backends.kinds import serve_by_settings
from router.backends.rules import Rules
from router.backends.served import fetch_model
from router.backends.spares import Spares
from router.blocked import Blocked
from router.feedback import FeedbackRoom, open_feedback
from router.log import Log, open_log
from router.metrics import Metrics
from router.receipts import ReceiptBook

logger = logging.getLogger("router.state")

CHAMPION = "champion"
REFRESH_S = 5.0


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers for one model name: the champion, or the arms of the running experiment."""

    name: str
    champion: str
    experiment: Experiment | None = None

    @property
    def versions(self) -> set[str]:
        if self.experiment is None:
            return {self.champion}
        return {self.champion, self.experiment.control, self.experiment.treatment}


@dataclass(slots=True)
class RouterState:
    """Everything that one router holds while it runs; made by `open_state` inside the event loop."""

    database_url: str
    admin_key: bytes
    assignment_key: bytes
    receipts: ReceiptBook
    registry: Registry
    pool: BackendPool
    log: Log
    metrics: Metrics
    feedback: FeedbackRoom = field(init=False)
    backend_wait_s: float = 30.0
    routes: Mapping[str, Route] = field(default_factory=dict)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: str | None = "starting"
    withheld: Mapping[str, str] = field(default_factory=dict)  # model name: why its champion does not answer
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find_route(self, name: str) -> Route | None:
        """The route of a model name. Right after the start, waits until the table was read once."""
        if not self.loaded.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.loaded.wait(), self.backend_wait_s)
        return self.routes.get(name)

    # -- changes

    async def set_champion(self, name: str, version: str, expect: str | None) -> str | None:
        """Loads `version` and makes it the champion; returns the one before. An experiment that it ends is stopped.

        Raises:
            RegistryError: no such version, one that may not serve any more, or the champion is not `expect` (where
                given).
            RouterError: the version cannot be served; the champion stays.
        """
        async with self._lock:
            await asyncio.to_thread(refuse_blocked, self.registry.store, name, version, datetime.now(UTC))
            before = await asyncio.to_thread(self.registry.get_alias, name, CHAMPION)
            await self.pool.ensure(name, version)
            await asyncio.to_thread(
                self.registry.set_alias, name, CHAMPION, version, before or "" if expect is None else expect
            )
            for experiment in await asyncio.to_thread(
                experiments.list_experiments, self.database_url, name=name, running=True
            ):
                # Its control is no longer what users would get without it: the comparison has lost its meaning.
                if experiment.control != version:
                    await asyncio.to_thread(
                        experiments.stop_experiment,
                        self.database_url,
                        experiment.experiment_id,
                        reason=f"champion changed to {version}",
                        actor="router",
                        promoted=experiment.treatment == version,
                    )
            await self._refresh(only=name)
        return before

    async def launch(
        self, *, name: str, control: str, treatment: str, share: float, launch_key: str, body: Mapping[str, Any]
    ) -> Opened:
        """Loads both versions, then opens the experiment; on any failure nothing is opened.

        Raises:
            ExperimentError: the launch is not allowed, or `control` is not the champion.
            RegistryError, RouterError: a version is missing or cannot be served.
        """
        launch = {"name": name, "control": control, "treatment": treatment, "launch_key": launch_key}
        experiments.check_launch(share=share, **launch)
        async with self._lock:
            earlier = await asyncio.to_thread(experiments.find_launch, self.database_url, **launch)
            if earlier is not None and not earlier.draft:
                if earlier.running:  # the same promise as for a new one: when this returns, both arms serve
                    await self._refresh(only=name)
                return Opened(earlier, created=False)
            champion = await asyncio.to_thread(self.registry.get_alias, name, CHAMPION)
            if champion != control:
                raise ExperimentError(
                    f"control {control} is not the champion of {name} ({champion or 'none is set'});"
                    f" set it with PUT /models/{name}/champion"
                )
            for version in (control, treatment):
                await asyncio.to_thread(refuse_blocked, self.registry.store, name, version, datetime.now(UTC))
            try:
                await asyncio.gather(self.pool.ensure(name, control), self.pool.ensure(name, treatment))
                opened = await asyncio.to_thread(
                    experiments.open_experiment, self.database_url, share=share, body=body, **launch
                )
            finally:
                await self._refresh(only=name)
        return opened

    async def change(self, change: Callable[[], Experiment]) -> Experiment:
        """Runs a change of one experiment in a thread and brings the table up to date."""
        async with self._lock:
            experiment = await asyncio.to_thread(change)
            await self._refresh(only=experiment.name)
        return experiment

    # -- the table

    async def refresh(self) -> None:
        """Reads aliases and experiments anew, loads what is missing, unloads what nobody needs."""
        async with self._lock:
            await self._refresh()

    async def keep_fresh(self) -> None:
        """Refreshes for ever; what is away is said in /healthz and asked again. The schema is made before the first."""
        migrated = False
        while True:
            try:
                if not migrated:
                    await asyncio.to_thread(migrate, self.database_url)
                    migrated = True
                await self.refresh()
                self.trouble = None
            except FlytewheelError as error:
                if self.trouble != str(error):
                    logger.warning("%s", error)
                self.trouble = str(error)
            except Exception as error:  # an end of this loop would leave the router on an old table without a word
                logger.exception("the table of routes could not be read")
                self.trouble = f"{type(error).__name__}: {last_line(error)}"
            await asyncio.sleep(REFRESH_S)

    async def _refresh(self, only: str | None = None) -> None:
        wanted = await asyncio.to_thread(self._read_routes, only)
        kept = {} if only is None else {name: route for name, route in self.routes.items() if name != only}
        # New names at once: their requests wait for the backend. Known names keep theirs until the new one is warm.
        for route in wanted.values():
            for version in route.versions:
                self.pool.begin(route.name, version)
        self.routes = {**kept, **{name: self.routes.get(name, route) for name, route in wanted.items()}}
        if only is None:
            self.loaded.set()
        warm = await asyncio.gather(*(self._warm(route) for route in wanted.values()))
        self.routes = {**self.routes, **{route.name: route for route in warm if route is not None}}
        needed = {(route.name, version) for route in self.routes.values() for version in route.versions}
        await self.pool.keep_only(needed)

    def _read_routes(self, only: str | None) -> dict[str, Route]:
        running = {
            experiment.name: experiment
            for experiment in experiments.list_experiments(self.database_url, name=only, running=True)
        }
        blocked = Blocked(self.registry, datetime.now(UTC))
        for name, experiment in list(running.items()):
            if (tainted := blocked.find(name, (experiment.treatment, experiment.control))) is not None:
                stopped = running.pop(name).experiment_id
                experiments.stop_experiment(self.database_url, stopped, reason=str(tainted), actor="router")
        names = self.registry.names() if only is None else [only]
        champions = {name: self.registry.get_alias(name, CHAMPION) for name in names}
        served = {name: blocked.choose(name, champion) for name, champion in champions.items() if champion is not None}
        kept = {} if only is None else {name: why for name, why in self.withheld.items() if name != only}
        withheld = kept | {name: one.reason for name, one in served.items() if one.reason}
        for name in withheld.keys() - self.withheld.keys():
            logger.warning("%s", withheld[name])
        self.withheld = withheld
        return {
            name: Route(name, one.version, running.get(name)) for name, one in served.items() if one.version is not None
        }

    async def _warm(self, route: Route) -> Route | None:
        """Loads a route's versions. A treatment that does not load is left to the fallback; a control is not."""
        essential = route.champion if route.experiment is None else route.experiment.control
        results = await asyncio.gather(
            *(self.pool.ensure(route.name, version) for version in sorted(route.versions)), return_exceptions=True
        )
        for version, result in zip(sorted(route.versions), results, strict=True):
            if isinstance(result, FlytewheelError):
                if version == essential:
                    return None
            elif isinstance(result, BaseException):
                raise result
        return route


def check_settings(settings: Settings) -> None:
    """Refuses settings that lack a service or a key.

    Raises:
        SettingsError: all that is missing, by name.
    """
    required = ("database_url", "s3_url", "s3_access_key", "s3_secret_key", "admin_key", "assignment_key")
    missing = [PREFIX + key.upper() for key in required if not getattr(settings, key)]
    if missing:
        raise SettingsError(f"the router needs {', '.join(missing)}; 'flytewheel up' sets them for the embedded stack")


async def open_state(settings: Settings) -> RouterState:
    """Opens everything that a router with checked settings needs; nothing is asked of the services yet."""
    assert settings.database_url is not None
    assert settings.s3_url is not None
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    assert settings.admin_key is not None
    assert settings.assignment_key is not None
    store = ObjectStore(
        settings.s3_url,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        settings.s3_bucket,
        settings.s3_region,
    )
    registry = seal_registry(store, ring_of_settings(settings), sign=False)
    models = settings.home / "models"
    state = RouterState(
        database_url=settings.database_url,
        admin_key=settings.admin_key.get_secret_value().encode(),
        assignment_key=settings.assignment_key.get_secret_value().encode(),
        receipts=ReceiptBook(settings.assignment_key.get_secret_value().encode()),
        registry=registry,
        pool=BackendPool(
            lambda name, version: fetch_model(
                registry, models, name, version, kind=settings.backend, mode=settings.backend_mode
            ),
            serve_by_settings(settings, models),
            Rules.of_settings(settings),
            Spares(lambda name: registry.get_alias(name, PREVIOUS), settings.backend_spares),
        ),
        log=open_log(settings),
        metrics=Metrics(),
    )
    state.feedback = open_feedback(state, lambda: state.routes)
    return state


async def close_state(state: RouterState) -> None:
    """Writes what is queued and stops every backend."""
    closers: tuple[Callable[[], Awaitable[None]], ...] = (state.feedback.close, state.pool.close, state.log.close)
    for close in closers:
        await close()
