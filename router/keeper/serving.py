"""What the keeper holds, and the order in which a change comes about: read, load, keep on disk, tell every worker,
unload.

The truth lies outside, in the registry and in PostgreSQL; `routing` says how it becomes routes. It is read again every
few seconds, and at once when PostgreSQL says that something changed (`listening`), so that an alias moved by hand, or a
change by another router, arrives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flytewheel.database import last_line, migrate
from flytewheel.errors import FlytewheelError
from flytewheel.experiment import experiments
from flytewheel.experiment.holdback import end_due
from registry.versions import Registry
from router.access.keys import Keys
from router.access.rates import Rates
from router.backends.pool import BackendPool
from router.blocked import Blocked
from router.keeper.lastgood import LastGood
from router.keeper.promoting import undo_lost
from router.keeper.routing import Contact, Routing, Rows, read_champions, read_running
from router.keeper.workers import Workers
from router.log import LogState
from router.state import RouterState
from router.table import Key, Route, Table

logger = logging.getLogger("router.keeper")

REFRESH_S = 5.0
_CLOCKS_APART = timedelta(hours=2)
_SETTLED_S = 60.0


@dataclass(slots=True, kw_only=True)
class Keeping(RouterState):
    """Everything that one keeper holds while it runs; made inside the event loop.

    `trouble` says why a source could not be read, by the source's name.
    """

    pool: BackendPool
    registry: Registry
    routing: Routing
    lastgood: LastGood
    keys: Keys
    rates: Rates
    workers: Workers | None = None
    troubles: dict[str, str] = field(default_factory=dict)
    tell_workers: Callable[[int], None] = lambda count: None  # how many are wanted: remembered beyond this process
    migrated: bool = False
    draining: bool = False
    _blocked: Blocked | None = None
    _settled: tuple[float, Any] = (0.0, None)  # when no promotion was found lost, and of what
    _held: Counter[Key] = field(default_factory=Counter)
    _loads: dict[str, tuple[Route, asyncio.Task[None]]] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _published: Table | None = None

    @property
    def contact(self) -> Contact:
        """When the database was last heard of."""
        return self.routing.contact

    @property
    def trouble(self) -> str | None:
        """Why what is served may not be what registry and database say, as a line."""
        if not self.loaded.is_set() and not self.troubles:
            return "starting"
        return "; ".join(self.troubles.values()) or None

    def get_table(self) -> Table:
        """What workers are to go by now."""
        return Table(
            dict(self.routes),
            dict(self.withheld),
            self.keys.keys,
            loaded=self.loaded.is_set(),
            probes=dict(self.probes),
            replicas=self.rates.replicas,
        )

    async def share_limits(self, replicas: int) -> None:
        """Divides what keys are allowed by so many machines, in every process."""
        self.rates.replicas = replicas
        await self.publish()

    async def count_inflight(self) -> Counter[int]:
        """Running answers of all workers, by the serial of their backend."""
        counts: Counter[int] = Counter()
        for report in await self._ask_reports():
            counts.update({int(serial): count for serial, count in report["inflight"].items()})
        return counts

    async def ask_log(self) -> LogState:
        """Where the logs of all workers stand, together."""
        logs = [self.log.state, *(LogState(**report["log"]) for report in await self._ask_reports())]
        return LogState.total(logs)

    def sample(self) -> None:
        """Sets the gauges that are the keeper's."""
        age_s, workers = self.contact.age_s, self.workers
        self.metrics.database_age.set(-1.0 if age_s == float("inf") else age_s)
        self.metrics.control_only.set(float(self.routing.control_only))
        self.metrics.workers.set(float(len(workers.serving)) if workers else 0.0)
        self.metrics.worker_restarts.set(float(workers.restarts) if workers else 0.0)

    async def _ask_reports(self) -> list[dict[str, Any]]:
        return await self.workers.ask_all("report") if self.workers is not None else []

    def lock(self, name: str) -> asyncio.Lock:
        """Held while something happens that must not happen twice at a time, by the name of that."""
        return self._locks.setdefault(name, asyncio.Lock())

    @contextmanager
    def holding(self, *keys: Key) -> Iterator[None]:
        """Keeps versions loaded that nobody needs yet."""
        self._held.update(keys)
        try:
            yield
        finally:
            self._held.subtract(keys)

    # -- reading

    async def keep_fresh(self) -> None:
        """Reads both sources for ever; what is away is said in /healthz and asked again."""
        every_s = min(REFRESH_S, self.contact.limit_s / 4)
        while True:
            await self.refresh()
            await asyncio.sleep(every_s)

    async def keep_watch(self) -> None:
        """Shows what the age of the last contact means as soon as it does, also while a read hangs."""
        lost = self.contact.lost
        while True:
            await asyncio.sleep(min(1.0, self.contact.limit_s / 10))
            if lost != self.contact.lost:
                lost = not lost
                if lost:
                    logger.warning("no database for %g s: nobody meets a treatment", self.contact.limit_s)
                await self._present()

    async def refresh(self, only: str | None = None, *, strict: bool = False) -> None:
        """Reads registry and database, of all names or of one, and has everybody go by them.

        Raises:
            FlytewheelError: a source is away and `strict` asks for both; what was read before stands.
        """
        found = await asyncio.gather(self._read_champions(only), self._read_running(only))
        self.routing.asked = True
        if all(error is None for error in found):
            await self._undo_lost(again=strict)
        await self._stop_blocked()
        await self._present()
        failed = [error for error in found if error is not None]
        if strict and failed:
            raise failed[0]

    async def refresh_running(self, only: str | None = None) -> None:
        """Reads experiments only."""
        if await self._read_running(only) is None and self.routing.served is not None:
            await self._undo_lost(again=True)
        await self._stop_blocked()
        await self._present()

    async def refresh_champions(self, only: str | None = None) -> None:
        """Reads the registry only."""
        await self._read_champions(only)
        await self._present()

    async def _read_champions(self, only: str | None) -> Exception | None:
        async with self.lock("/registry"):
            try:
                found = await asyncio.to_thread(read_champions, self.registry, only)
            except Exception as error:
                return self._note("store", error)
            for name in {name for name, one in found.served.items() if one.reason} - self.routing.withheld.keys():
                logger.warning("%s", found.served[name].reason)
            self._blocked = found.blocked
            self.routing.take_served(found, only)
            self._note("store", None)
        return None

    async def _read_running(self, only: str | None) -> Exception | None:
        async with self.lock("/database"):
            try:
                if not self.migrated:
                    await asyncio.to_thread(migrate, self.database_url)
                    self.migrated = True
                found = await asyncio.to_thread(read_running, self.database_url, only)
                if self._is_due(found):
                    await asyncio.to_thread(end_due, self.database_url, actor="router")
                    found = await asyncio.to_thread(read_running, self.database_url, only)
            except Exception as error:
                return self._note("database", error)
            self.routing.take_running(found, only)
            self.contact.made()
            self._note("database", None)
        return None

    def _is_due(self, found: Rows) -> bool:
        """Whether a holdback's time may be over."""
        now = datetime.now(UTC)
        # This clock only says when to ask; the database's decides.
        held = found.holdbacks.values()
        return any(one.holdback_until is None or one.holdback_until <= now + _CLOCKS_APART for one in held)

    async def _undo_lost(self, *, again: bool) -> Exception | None:
        """Takes the champion's alias back where the rollout that moved it was taken back (promotion.py). Not asked for
        what was looked at in the last minute, but for `again`.
        """
        seen = (self.routing.served, self.routing.running, self.routing.holdbacks)
        if not again and seen == self._settled[1] and time.monotonic() < self._settled[0] + _SETTLED_S:
            return None
        served = {name: one.version for name, one in (self.routing.served or {}).items() if one.version is not None}
        try:
            undone = await asyncio.to_thread(undo_lost, self.registry, self.database_url, served)
        except Exception as error:
            return self._note("promotion", error)
        self._note("promotion", None)
        self._settled = (time.monotonic(), seen)
        for name in undone:
            logger.warning("%s: its champion is the one of before: the rollout that moved it was taken back", name)
            await self._read_champions(name)
        return None

    def _note(self, source: str, error: Exception | None) -> Exception | None:
        """Remembers what is wrong with a source; an unexpected fault must not leave the keeper on an old table without
        a word.
        """
        before = self.troubles.pop(source, None)
        if error is not None:
            known = isinstance(error, FlytewheelError)
            self.troubles[source] = str(error) if known else f"{type(error).__name__}: {last_line(error)}"
            if before != self.troubles[source]:
                logger.warning("%s", self.troubles[source], exc_info=None if known else error)
        elif before is not None:
            logger.info("the %s is back", source)
        return error

    async def _stop_blocked(self) -> None:
        """Ends experiments an arm of which may not serve any more."""
        for name, experiment in list((self.routing.running or {}).items()):
            arms = tuple(experiment.arms.values())
            tainted = self._blocked.find(name, arms) if self._blocked is not None else None
            if tainted is not None:
                self.routing.running = {k: v for k, v in (self.routing.running or {}).items() if k != name}
                stop = experiments.stop_experiment
                with suppress(FlytewheelError):
                    await asyncio.to_thread(
                        stop, self.database_url, experiment.experiment_id, reason=str(tainted), actor="router"
                    )

    # -- showing

    async def settle(self, name: str) -> None:
        """Waits until what was read last of a name is what is served, or cannot be."""
        if (loading := self._loads.get(name)) is not None:
            await asyncio.wait({loading[1]})

    async def _present(self, force: frozenset[str] = frozenset()) -> None:
        """Shows what was read as far as its versions are loaded, loads the rest, unloads what nobody needs."""
        if not self.routing.asked:
            return
        cold = self.routing.show(self._is_warm, force=force)
        for name, route in cold.items():
            for version in route.versions:
                self.pool.begin(name, version)
            running = self._loads.get(name)
            if name not in force and (running is None or running[0] != route or running[1].done()):
                self._loads[name] = (route, asyncio.create_task(self._load(route)))
        await self.publish()
        await self.pool.keep_only(self.routing.list_needed() | {key for key, count in self._held.items() if count > 0})

    async def _load(self, route: Route) -> None:
        """Loads a route's versions. A treatment that does not load is left to the fallback; a control is not."""
        versions = sorted(route.versions)
        essential = route.champion if route.experiment is None else route.experiment.control
        results = await asyncio.gather(
            *(self.pool.ensure(route.name, version) for version in versions), return_exceptions=True
        )
        for version, result in zip(versions, results, strict=True):
            if isinstance(result, BaseException) and version == essential:
                return  # the old one goes on; the next reading tries again
        if self.routing.find_wanted().get(route.name) == route:
            await self._present(frozenset({route.name}))

    def _is_warm(self, key: Key) -> bool:
        backend = self.pool.get(*key)
        return backend is not None and backend.served_before

    async def publish(self) -> None:
        """Has every worker go by what is shown; on disk first, so that no restart brings back what was taken back."""
        async with self.lock("/publish"):
            self.routes, self.withheld = self.routing.shown, self.routing.withheld
            if self.routing.asked and self.routing.served is not None:
                self.loaded.set()
            table = self.get_table()
            if self.loaded.is_set():
                await asyncio.to_thread(self.lastgood.keep, self.routing, self.keys.keys)
            if table != self._published and self.workers is not None:
                await self.workers.publish()
                self._published = table

    async def close(self) -> None:
        """Writes what is queued and stops every backend."""
        for _, task in self._loads.values():
            task.cancel()
        await self.pool.close()
        await self.log.close()
