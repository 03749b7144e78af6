"""What the keeper does all the time: serve what workers pass on, read the sources, hear of changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flytewheel.settings import Settings
from router.access import open_access
from router.access.watch import watch_keys
from router.app import create_app
from router.keeper.listening import listen
from router.keeper.state import KeeperState, open_keeper
from router.keeper.workers import Workers
from router.log.retention import keep_retention
from router.memory import keep_trimmed
from router.metrics import name_metrics
from router.passing import PassedOn

logger = logging.getLogger("router.keeper")

LAST_S = 2.0  # for what workers passed on and did not wait for


class Tending:
    """A keeper at work."""

    def __init__(self, state: KeeperState, passed: PassedOn) -> None:
        self.state = state
        self._passed = passed
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, settings: Settings, workers: Workers, path: Path) -> Tending:
        """Begins; workers reach it at `path`."""
        access = open_access(settings)
        state = await open_keeper(settings, access[0], name_metrics(path))
        state.workers = workers
        state.metrics.watch(state.sample)
        passed = PassedOn(create_app(settings, state, access))
        await passed.listen(path)
        one = cls(state, passed)
        workers.open(state.pool, state.get_table)
        one.do(state.keep_fresh())
        one.do(state.keep_watch())
        one.do(keep_trimmed())
        one.do(listen(state.database_url, one._hear))
        one.do(watch_keys(settings, access[0], state.publish))
        state.metrics.watch(lambda: state.metrics.spool_bytes.set(state.log.state.spool_bytes))
        if settings.retention_days is not None:
            one.do(keep_retention(state.database_url, settings.retention_days, lambda: datetime.now(UTC)))
        return one

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
