"""Keeps one version served: the keeper's half of a backend; it says every change as a `Status`.

`_keep` brings it up and stays with it until it is cancelled, `_end` takes it down; how is a subclass's business.
Everything runs on the keeper's event loop.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiohttp import ClientSession

from flytewheel.errors import RouterError
from router.backends.backend import CLOSED, DRAINING, IDLE, LOOK, OPENED, READY, Status
from router.backends.served import ServedModel
from router.paths import CHAT, COMPLETIONS, EMBEDDINGS


class Host(ABC):
    """One version and what serves it; nothing happens before `start`.

    `own` and `allow` say where its server may be, as in `Status`.
    """

    endpoints: tuple[str, ...] = (CHAT, COMPLETIONS, EMBEDDINGS)
    own = True
    allow: tuple[str, ...] = ()

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self.alias = f"flytewheel/{model.name}@{model.version}"
        self._awaited: set[str] = set()
        self._opened: set[str] = set()
        self._idle = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def start(self, status: Status, say: Callable[[Status], None], connect: Callable[[Status], ClientSession]) -> None:
        """Begins to bring it up.

        Args:
            status: What is known of it so far.
            say: Told every change from now on, the first being `status` with what the host adds.
            connect: Gives the connections to its server, for a first generation.
        """
        self._say = say
        self._connect = connect
        self.status = replace(
            status,
            digest=self.model.digest,
            alias=self.alias,
            endpoints=self.endpoints,
            own=self.own,
            allow=self.allow,
        )
        self._first_start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._say(self.status)
        self._watch = asyncio.create_task(self._keep())

    async def started(self) -> None:
        """Waits for the first start.

        Raises:
            FlytewheelError: it ended before it served, with what was said last.
        """
        await asyncio.shield(self._first_start)

    @property
    def leaving(self) -> bool:
        """Whether it is being taken down."""
        return self.status.state in {DRAINING, "stopped"}

    def list_moving(self) -> list[tuple[str, str]]:
        """Versions that are to be loaded again now that this one serves, since they can share its server."""
        return []

    def hear(self, view: str, word: str) -> None:
        """A word of one of the views that requests are sent by."""
        if word == LOOK and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look_and_tell())
        elif word == IDLE:
            self._end_awaiting(view)
        elif word in {OPENED, CLOSED}:
            (self._opened.add if word == OPENED else self._opened.discard)(view)
            self._count_breakers()

    def forget(self, view: str) -> None:
        """This view is gone with its process: no answer of its runs any more."""
        self._end_awaiting(view)
        if view in self._opened:
            self._opened.discard(view)
            self._count_breakers()

    def _count_breakers(self) -> None:
        if len(self._opened) != self.status.breakers:
            self._tell(breakers=len(self._opened))

    def _end_awaiting(self, view: str) -> None:
        self._awaited.discard(view)
        if not self._awaited:
            self._idle.set()

    async def stop(self, *, drain_s: float, views: Iterable[str]) -> None:
        """Takes it down after the answers that run in `views`, `drain_s` seconds, or when this call is cancelled."""
        self._awaited = set(views)
        self._tell(state=DRAINING)
        if not self._awaited:
            self._idle.set()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), drain_s)
        finally:
            tasks = {task for task in (self._watch, self._looking) if task is not None}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._end()
            self._tell(state="stopped")
            if not self._first_start.done():  # whoever loads it must not wait for ever
                self._fail(RouterError(f"{self.alias} was stopped before it served"))

    @abstractmethod
    async def _keep(self) -> None:
        """Brings it up, says so by `_serve` or `_fail`, and brings it back when it is gone; runs until cancelled."""

    @abstractmethod
    async def _look(self) -> None:
        """After a failed request: finds out whether it is gone, and says so if it is."""

    @abstractmethod
    async def _end(self) -> None:
        """Takes down what `_keep` brought up; called once, after `_keep` was cancelled."""

    async def _look_and_tell(self) -> None:
        await self._look()
        self._tell(looks=self.status.looks + 1)

    def _tell(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        self._say(self.status)

    def describe(self, url: str, **changes: Any) -> Status:
        """What it would be said to be, if it served at `url`."""
        return replace(self.status, url=url, alias=self.alias, **changes)

    def _serve(self, url: str, **changes: Any) -> None:
        """It answers at `url` from now on."""
        generation = self.status.generation + 1
        self._tell(url=url, alias=self.alias, failure=None, state=READY, generation=generation, **changes)
        if not self._first_start.done():
            self._first_start.set_result(None)

    def _lose(self, failure: str | None = None) -> None:
        """It does not answer for now, and is brought back."""
        if not self.leaving:
            self._tell(state="restarting", failure=failure or self.status.failure, pid=None)

    def _fail(self, error: Exception) -> None:
        """It never served, and is given up."""
        self._first_start.set_exception(error)
        self._first_start.exception()  # asked for, so that nothing is said where nobody waits
        if self.status.state != "stopped":
            self._tell(state="failed", failure=str(error))
