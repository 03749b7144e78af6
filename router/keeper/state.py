"""What people may change: champions and experiments. When a change returns, every worker serves by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flytewheel.database import announce_change
from flytewheel.errors import ExperimentError
from flytewheel.experiment import experiments
from flytewheel.experiment.arms import name_arms
from flytewheel.experiment.experiments import Experiment, Opened
from flytewheel.experiment.promotion import check_promotion
from flytewheel.experiment.shadows import Shadow, end_shadow, open_shadow
from flytewheel.recipe import ShadowSpec
from flytewheel.settings import Settings
from flytewheel.signed_registry import seal_registry
from flytewheel.signing_keys import ring_of_settings
from registry.aliases import PREVIOUS
from registry.store import ObjectStore
from registry.taints import refuse_blocked
from router.access.keys import Keys
from router.access.rates import Rates
from router.backends.kinds import serve_by_settings
from router.backends.pool import BackendPool
from router.backends.rules import Rules
from router.backends.spares import Spares
from router.keeper.fetching import Fetcher
from router.keeper.lastgood import LastGood
from router.keeper.promoting import move_champion
from router.keeper.routing import CHAMPION, Contact, Routing
from router.keeper.serving import Keeping
from router.state import open_parts

RESIZE_S = 30.0


@dataclass(slots=True, kw_only=True)
class KeeperState(Keeping):
    """The keeper's state, as the control API sees it."""

    async def set_champion(self, name: str, version: str, expect: str | None) -> str | None:
        """Loads `version` and makes it the champion; returns the one before. An experiment that it ends is stopped.

        Raises:
            RegistryError: no such version, one that may not serve any more, or the champion is not `expect` (where
                given).
            RouterError: the version cannot be served; the champion stays.
        """
        async with self.lock(name):
            with self.holding((name, version)):
                await self._refuse_blocked(name, version)
                before = await asyncio.to_thread(self.registry.get_alias, name, CHAMPION)
                await self.pool.ensure(name, version)
                await asyncio.to_thread(
                    self.registry.set_alias, name, CHAMPION, version, before or "" if expect is None else expect
                )
                await asyncio.to_thread(self._stop_others, name, version)
                await self._take_over(name)
        return before

    async def promote(self, experiment_id: str, fence: int) -> str:
        """Makes an experiment's treatment the champion, by the verdict that is stored at `fence`; again with the same
        effect. Returns the control.

        Raises:
            ExperimentError: something changed since the verdict, or none is stored.
            RegistryError, RouterError: the champion was moved by somebody else, or the version cannot be served.
        """
        promotion = await asyncio.to_thread(check_promotion, self.database_url, experiment_id, fence)
        name, version = promotion.experiment.name, promotion.experiment.treatment
        async with self.lock(name):
            if not promotion.done:
                with self.holding((name, version)):
                    await self._refuse_blocked(name, version)
                    await self.pool.ensure(name, version)
                    try:
                        await asyncio.to_thread(move_champion, self.registry, self.database_url, promotion)
                    finally:
                        await asyncio.to_thread(announce_change, self.database_url, "champion", name)
                        await self.refresh(name)
            await self._take_over(name)
        return promotion.experiment.control

    async def launch(
        self, *, name: str, control: str, treatment: str, share: float, launch_key: str, body: Mapping[str, Any]
    ) -> Opened:
        """Loads both versions, then opens the experiment; on any failure nothing is opened.

        Raises:
            ExperimentError: the launch is not allowed, or `control` is not the champion.
            RegistryError, RouterError: a version is missing or cannot be served.
        """
        launch = {"name": name, "control": control, "treatment": treatment, "launch_key": launch_key}
        experiments.check_launch(share=share, body=body, **launch)
        versions = list(name_arms(control, treatment, body).values())
        async with self.lock(name):
            earlier = await asyncio.to_thread(experiments.find_launch, self.database_url, **launch)
            if earlier is not None and not earlier.draft:
                if earlier.running:  # the same promise as for a new one: when this returns, both arms serve
                    await self._take_over(name)
                return Opened(earlier, created=False)
            champion = await asyncio.to_thread(self.registry.get_alias, name, CHAMPION)
            if champion != control:
                raise ExperimentError(
                    f"control {control} is not the champion of {name} ({champion or 'none is set'});"
                    f" set it with PUT /models/{name}/champion"
                )
            with self.holding(*((name, version) for version in versions)):
                for version in versions:
                    await self._refuse_blocked(name, version)
                try:
                    await asyncio.gather(*(self.pool.ensure(name, version) for version in versions))
                    opened = await asyncio.to_thread(
                        experiments.open_experiment, self.database_url, share=share, body=body, **launch
                    )
                except BaseException:
                    await self.refresh(name)
                    raise
                if opened.created:
                    await asyncio.to_thread(end_shadow, self.database_url, name, reason="a canary opens")
                await self._take_over(name)
        return opened

    async def shadow(self, name: str, candidate: str, launch_key: str, spec: ShadowSpec) -> Shadow:
        """Loads a candidate and shows it copies of the champion's traffic; the same launch key opens it once.

        Raises:
            ExperimentError: the model has no champion, or the candidate is it.
            RegistryError, RouterError: the candidate is missing or cannot be served; nothing was opened.
        """
        async with self.lock(name):
            champion = await asyncio.to_thread(self.registry.get_alias, name, CHAMPION)
            if champion is None:
                raise ExperimentError(f"{name} has no champion whose traffic could be copied")
            with self.holding((name, candidate)):
                await self._refuse_blocked(name, candidate)
                await self.pool.ensure(name, candidate)
                opened, _ = await asyncio.to_thread(
                    open_shadow,
                    self.database_url,
                    name=name,
                    champion=champion,
                    candidate=candidate,
                    share=spec.share,
                    concurrency=spec.max_concurrency,
                    hours=spec.hours,
                    launch_key=launch_key,
                )
                await self._take_over(name)
        return opened

    async def resize(self, count: int) -> int:
        """Has so many workers answer from now on, also by a later keeper. Gives how many do; fewer where those that
        are new did not come up within `RESIZE_S`, and go on starting.
        """
        assert self.workers is not None
        self.tell_workers(count)
        if await self.workers.resize(count, timeout_s=RESIZE_S):
            return count
        return min(count - 1, len({worker.slot for worker in self.workers.serving}))

    async def change(self, change: Callable[[], Experiment]) -> Experiment:
        """Runs a change of one experiment in a thread and brings the table up to date."""
        experiment = await asyncio.to_thread(change)
        await self._take_over(experiment.name)
        return experiment

    async def _take_over(self, name: str) -> None:
        await self.refresh(name, strict=True)
        await self.settle(name)

    async def _refuse_blocked(self, name: str, version: str) -> None:
        await asyncio.to_thread(refuse_blocked, self.registry.store, name, version, datetime.now(UTC))

    def _stop_others(self, name: str, champion: str) -> None:
        """Stops what compares with another control: it is no longer what users would get without it; and a holdback
        whose treatment is not the champion any more.
        """
        for experiment in experiments.list_experiments(self.database_url, name=name, running=True, held_back=True):
            if champion != (experiment.treatment if experiment.held_back else experiment.control):
                experiments.stop_experiment(
                    self.database_url,
                    experiment.experiment_id,
                    reason=f"champion changed to {champion}",
                    actor="router",
                    promoted=experiment.treatment == champion,
                )
        announce_change(self.database_url, "champion", name)


async def open_keeper(settings: Settings, access: tuple[Keys, Rates], metrics: Path | None = None) -> KeeperState:
    """Opens everything that a keeper with checked settings needs; nothing is asked of the services yet.

    `metrics` is the folder that its workers count in, too.
    """
    assert settings.s3_url is not None
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    keys, rates = access
    store = ObjectStore(
        settings.s3_url,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        settings.s3_bucket,
        settings.s3_region,
    )
    ring = ring_of_settings(settings)
    registry = seal_registry(store, ring, sign=False)
    parts = open_parts(settings, metrics)
    lastgood = LastGood.open(settings, parts["assignment_key"])
    routing = Routing(Contact(settings.control_only_after_s))
    lastgood.restore(routing, keys)
    models = settings.home / "models"
    fetcher = Fetcher(store, ring, lastgood, models, settings)
    return KeeperState(
        pool=BackendPool(
            fetcher.fetch,
            serve_by_settings(settings, models),
            Rules.of_settings(settings),
            Spares(lambda name: registry.get_alias(name, PREVIOUS), settings.backend_spares),
        ),
        registry=registry,
        routing=routing,
        lastgood=lastgood,
        keys=keys,
        rates=rates,
        **parts,
    )
