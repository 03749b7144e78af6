"""Decides which versions are loaded; every one has a host, of the kind that the settings name.

One that nobody needs is stopped after its running answers, in whatever process they run. What blocks (download,
hashing) runs in threads. Requests are sent by views (`router.backends.view`): the pool has one for its own process, and
others are attached: each is said everything, and says its words back by `hear`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Set
from dataclasses import replace
from typing import Any

from flytewheel.errors import FlytewheelError
from router.backends.backend import Backend, Status
from router.backends.host import Host
from router.backends.rules import Rules
from router.backends.served import ServedModel
from router.backends.spares import Spares
from router.backends.view import DEFAULT_RULES, BackendView

logger = logging.getLogger("router.backends")

DRAIN_DEADLINE_S = 30.0
HERE = "here"  # the view of the pool's own process


class BackendPool:
    """The loaded versions.

    `fetch(name, version)` brings a version onto the disk, in a thread; `serve` makes the host that serves it; `spares`
    says which versions stay loaded though nobody needs them.
    """

    def __init__(
        self,
        fetch: Callable[[str, str], ServedModel],
        serve: Callable[[ServedModel], Host],
        rules: Rules = DEFAULT_RULES,
        spares: Spares | None = None,
    ) -> None:
        self._fetch = fetch
        self._serve = serve
        self._spares = spares
        self._needed: frozenset[tuple[str, str]] = frozenset()
        self._serials = itertools.count(1)
        self._statuses: dict[int, Status] = {}
        self._hosts: dict[int, Host] = {}
        self._current: dict[tuple[str, str], int] = {}  # the serial of what is loaded or being loaded
        self._asked: set[tuple[str, str]] = set()  # for since it was last said what is needed
        self._loading: dict[tuple[str, str], asyncio.Task[Backend]] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self.failures: dict[tuple[str, str], str] = {}
        self.rules = rules
        self.view = BackendView(lambda serial, word: self.hear(HERE, serial, word), rules)
        self._views: dict[str, Callable[[Status], None]] = {HERE: self.view.apply}

    def get(self, name: str, version: str) -> Backend | None:
        """As the view of this process."""
        return self.view.get(name, version)

    async def find(self, name: str, version: str, timeout_s: float) -> Backend | None:
        """As the view of this process."""
        return await self.view.find(name, version, timeout_s)

    def all(self) -> list[Backend]:
        """As the view of this process."""
        return self.view.all()

    def find_model(self, name: str, version: str) -> ServedModel | None:
        """The files of a version that is loaded or being loaded; None before they are here."""
        host = self._hosts.get(self._current.get((name, version), 0))
        return None if host is None else host.model

    # -- the views

    def attach(self, view: str, say: Callable[[Status], None]) -> None:
        """Tells a view everything from now on, first what is loaded."""
        self._views[view] = say
        for status in list(self._statuses.values()):
            say(status)

    def detach(self, view: str) -> None:
        """A view is gone; no answer of its runs any more."""
        self._views.pop(view, None)
        for host in list(self._hosts.values()):
            host.forget(view)

    def hear(self, view: str, serial: int, word: str) -> None:
        """A word of a view about one loading; of one that is over there is nothing to hear."""
        host = self._hosts.get(serial)
        if host is not None:
            host.hear(view, word)

    # -- the versions

    def begin(self, name: str, version: str) -> None:
        """Starts to load a version unless it is loaded or being loaded; `find` waits for it from now on."""
        key = (name, version)
        self._asked.add(key)
        if key in self._current:
            return
        serial = self._current[key] = next(self._serials)
        self._say(Status(serial, name, version))
        self._loading[key] = asyncio.create_task(self._load(key, serial))
        self._loading[key].add_done_callback(lambda task: self._end_loading(key, task))

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
        backend = self.view.get_serial(self._current[key])
        assert backend is not None
        return backend

    async def keep_only(self, needed: Set[tuple[str, str]]) -> None:
        """Stops, in the background, every version that is neither needed any more nor a spare, and forgets why others
        did not load.
        """
        self._needed, self._asked = frozenset(needed), set()
        self.failures = {key: failure for key, failure in self.failures.items() if key in needed}
        if self._spares is None:
            self._unload_all_but(self._needed)
        else:
            self._do_aside(self._keep_spares(self._spares, self._needed))

    async def _keep_spares(self, spares: Spares, needed: frozenset[tuple[str, str]]) -> None:
        kept = await spares.choose(needed)
        if self._needed is not needed:
            return  # what is needed changed meanwhile, and so did this
        self._unload_all_but(needed | kept | self._asked)
        for key in kept - needed:
            if spares.may_try(key):
                self.begin(*key)

    def _unload_all_but(self, kept: Set[tuple[str, str]]) -> None:
        for key, serial in list(self._current.items()):
            if key not in kept and serial in self._hosts:  # one that is still fetched is looked at the next time
                del self._current[key]
                self._do_aside(self._stop(self._hosts[serial], DRAIN_DEADLINE_S))

    async def close(self) -> None:
        """Stops everything now."""
        for task in [*self._loading.values(), *self._aside]:
            task.cancel()
        await asyncio.gather(*self._loading.values(), *self._aside, return_exceptions=True)
        await asyncio.gather(*(self._stop(host, 0.0) for host in list(self._hosts.values())))
        self._current.clear()
        await self.view.close()

    def _do_aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _move(self, key: tuple[str, str], serial: int) -> None:
        """Loads a version a second time and, once that serves, drops the first after its running answers."""
        old, new = self._hosts[serial], next(self._serials)
        host = self._hosts[new] = self._serve(old.model)
        host.start(Status(new, *key), self._say, self.view.connect)
        try:
            await host.started()
        except FlytewheelError as error:
            logger.error("%s %s stays where it is: %s", *key, error)
            self._hosts.pop(new, None)
            return
        if self._current.get(key) == serial:
            self._current[key] = new
            await self._stop(old, DRAIN_DEADLINE_S)
        else:  # it was unloaded meanwhile
            await self._stop(host, 0.0)

    async def _stop(self, host: Host, drain_s: float) -> None:
        try:
            await host.stop(drain_s=drain_s, views=self._views)
        finally:
            self._hosts.pop(host.status.serial, None)

    def _say(self, status: Status) -> None:
        if status.state in {"failed", "stopped"}:
            self._statuses.pop(status.serial, None)
        else:
            self._statuses[status.serial] = status
        for say in list(self._views.values()):
            say(status)

    def _end_loading(self, key: tuple[str, str], task: asyncio.Task[Backend]) -> None:
        if self._loading.get(key) is task:
            del self._loading[key]
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s %s is not loaded: %s", *key, task.exception())

    async def _load(self, key: tuple[str, str], serial: int) -> Backend:
        status = Status(serial, *key)
        try:
            model = await asyncio.to_thread(self._fetch, *key)
            host = self._hosts[serial] = self._serve(model)
            host.start(status, self._say, self.view.connect)
            backend = self.view.get_serial(serial)
            assert backend is not None
            await host.started()
        except BaseException as error:
            if self._current.get(key) == serial:
                del self._current[key]
            if isinstance(error, FlytewheelError):
                if self._spares is None or not self._spares.is_spare(key):
                    self.failures[key] = str(error)
                self._hosts.pop(serial, None)
            if serial in self._statuses and serial not in self._hosts:
                self._say(replace(status, state="failed", failure=str(error)))
            raise
        self.failures.pop(key, None)
        for moving in host.list_moving():
            if self._current.get(moving) in self._hosts:
                self._do_aside(self._move(moving, self._current[moving]))
        return backend
