"""Decides which versions are loaded; every one has a backend, of the kind that the settings name.

One that nobody needs is stopped after its running answers. What blocks (download, hashing) runs in threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Set

from flytewheel.errors import FlytewheelError
from router.backends.backend import ENDED, Backend
from router.backends.served import ServedModel

logger = logging.getLogger("router.backends")

DRAIN_DEADLINE_S = 30.0


class BackendPool:
    """The loaded versions.

    `fetch(name, version)` brings a version onto the disk, in a thread; `serve` makes the backend that serves it.
    """

    def __init__(self, fetch: Callable[[str, str], ServedModel], serve: Callable[[ServedModel], Backend]) -> None:
        self._fetch = fetch
        self._serve = serve
        self._backends: dict[tuple[str, str], Backend] = {}
        self._loading: dict[tuple[str, str], asyncio.Task[Backend]] = {}
        self._unloading: set[asyncio.Task[None]] = set()
        self.failures: dict[tuple[str, str], str] = {}

    def all(self) -> list[Backend]:
        """Every backend, in no order."""
        return list(self._backends.values())

    def begin(self, name: str, version: str) -> None:
        """Starts to load a version unless it is loaded or being loaded; `find` waits for it from now on."""
        key = (name, version)
        backend = self._backends.get(key)
        if key in self._loading or (backend is not None and backend.state not in ENDED):
            return
        self._loading[key] = asyncio.create_task(self._load(name, version))
        self._loading[key].add_done_callback(lambda task: self._end_loading(key, task))

    async def find(self, name: str, version: str, timeout_s: float) -> Backend | None:
        """The backend of a version; one that is being loaded is waited for. None when there is none in time."""
        task = self._loading.get((name, version))
        if task is not None:
            await asyncio.wait({task}, timeout=timeout_s)
        return self._backends.get((name, version))

    async def ensure(self, name: str, version: str) -> Backend:
        """Loads a version unless it is, and returns its backend once it serves; concurrent calls share one loading.

        Raises:
            RegistryError: no such version, or its bytes are not those that were registered.
            StoreError: the object store is away.
            RouterError, ModelServerError: the version cannot be served.
        """
        key = (name, version)
        self.begin(name, version)
        task = self._loading.get(key)
        if task is not None:
            return await asyncio.shield(task)
        return self._backends[key]

    async def keep_only(self, needed: Set[tuple[str, str]]) -> None:
        """Stops, in the background, every version that is not needed any more, and forgets why others did not load."""
        self.failures = {key: failure for key, failure in self.failures.items() if key in needed}
        for key in [key for key in self._backends if key not in needed]:
            task = asyncio.create_task(self._backends.pop(key).stop(drain_s=DRAIN_DEADLINE_S))
            self._unloading.add(task)
            task.add_done_callback(self._unloading.discard)

    async def close(self) -> None:
        """Stops everything now."""
        for task in [*self._loading.values(), *self._unloading]:
            task.cancel()
        await asyncio.gather(*self._loading.values(), *self._unloading, return_exceptions=True)
        await asyncio.gather(*(backend.stop(drain_s=0.0) for backend in self._backends.values()))
        self._backends.clear()

    def _end_loading(self, key: tuple[str, str], task: asyncio.Task[Backend]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s %s is not loaded: %s", *key, task.exception())

    async def _load(self, name: str, version: str) -> Backend:
        key = (name, version)
        try:
            model = await asyncio.to_thread(self._fetch, name, version)
            backend = self._serve(model)
            self._backends[key] = backend
            await backend.started()
        except FlytewheelError as error:
            self.failures[key] = str(error)
            self._backends.pop(key, None)
            raise
        self.failures.pop(key, None)
        return backend
