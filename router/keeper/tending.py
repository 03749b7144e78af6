"""What the keeper does all the time: serve what workers pass on, read the sources, hear of changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flytewheel.settings import Settings
from router.access import open_access
from router.access.watch import watch_keys
from router.app import create_app
from router.keeper.guard import SERVES, WORKERS, Link
from router.keeper.health import find_unreadiness
from router.keeper.listening import listen
from router.keeper.replicas import keep_counted
from router.keeper.state import KeeperState, open_keeper
from router.keeper.workers import Workers
from router.log.retention import keep_retention
from router.memory import keep_trimmed
from router.passing import PassedOn
from router.paths import name_metrics, name_rates

logger = logging.getLogger("router.keeper")

LAST_S = 2.0  # for what workers passed on and did not wait for
READY_S = 20.0  # in which a keeper that takes over is to be ready; then it takes over as it is
LEAVE_S = 0.5  # in which a killed keeper's workers have stopped taking connections


class Tending:
    """A keeper at work."""

    def __init__(self, state: KeeperState, passed: PassedOn) -> None:
        self.state = state
        self._passed = passed
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, settings: Settings, workers: Workers, path: Path, link: Link) -> Tending:
        """Begins; workers reach it at `path`, and `link` leads to its guard."""
        access = open_access(settings)
        state = await open_keeper(settings, access, name_metrics(path))
        state.workers = workers
        state.tell_workers = lambda count: link.say(bytes([WORKERS + count]))
        state.metrics.watch(state.sample)
        passed = PassedOn(create_app(settings, state, access))
        one = cls(state, passed)
        if link.earlier:
            one.do(one._take_over(workers, path, link))
        else:
            await passed.listen(path)
            workers.open(state.pool, state.get_table)
            link.say(SERVES)
        one.do(state.keep_fresh())
        one.do(state.keep_watch())
        one.do(keep_trimmed())
        one.do(keep_counted(state.database_url, name_rates(settings.home), state.share_limits))
        one.do(listen(state.database_url, one._hear))
        one.do(watch_keys(settings, access[0], state.publish))
        state.metrics.watch(lambda: state.metrics.spool_bytes.set(state.log.state.spool_bytes))
        if settings.retention_days is not None:
            one.do(keep_retention(state.database_url, settings.retention_days, lambda: datetime.now(UTC)))
        return one

    async def _take_over(self, workers: Workers, path: Path, link: Link) -> None:
        """Takes a killed keeper's place: its workers answer until ours would, and nobody may change anything before
        they have gone, since they would hear of no change.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while find_unreadiness(self.state) is not None:
                    await asyncio.sleep(0.02)
        workers.open(self.state.pool, self.state.get_table)
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while len(workers.serving) < workers.count:
                    await asyncio.sleep(0.02)
        link.say(SERVES)
        await asyncio.sleep(LEAVE_S)
        await self._passed.listen(path)
        logger.info("a killed keeper's place is taken")

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something beside everything else, to its end or that of the keeper."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    async def close(self) -> None:
        """Ends everything; running backends too."""
        await self._passed.close(LAST_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.state.close()

    def _hear(self, kind: str, name: str) -> None:
        work = {"experiment": self.state.refresh_running, "champion": self.state.refresh_champions}
        self.do(work.get(kind, self.state.refresh)(name or None))

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the keeper's work broke off", exc_info=error)
