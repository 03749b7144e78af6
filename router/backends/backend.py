"""What proxy, state and control see of a version that is served: where to send requests, and whether it is there.

Who keeps it there is a subclass's business: `_keep` brings it up and stays with it until it is cancelled, `_end` takes
it down. Everything runs on the event loop.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress

from flytewheel.errors import RouterError
from router.backends.served import ServedModel

ENDED = ("failed", "draining", "stopped")
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


class ModelGoneError(ConnectionError):
    """The server is there, and does not know the model any more."""


class Backend(ABC):
    """One version and what serves it.

    Attributes:
        model: The version.
        url: Where requests go, without their path; empty before the first start.
        alias: What the server calls the model; requests and answers carry it as `model`.
        headers: What a request to it needs beside its own, such as a key.
        endpoints: The paths that it answers in OpenAI's meaning.
        state: starting, ready, restarting, failed, draining, stopped.
        failure: Why it is not ready, as a line.
        restarts: How often it came back.
        inflight: Running answers.
        pid: Of a process of our own.
        served_before: Whether it was ever ready.
    """

    endpoints: frozenset[str] = frozenset({CHAT, COMPLETIONS})

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self.alias = f"flytewheel/{model.name}@{model.version}"
        self.headers: Mapping[str, str] = {}
        self.state = "starting"
        self.failure: str | None = None
        self.restarts = 0
        self.inflight = 0
        self.url = ""
        self.pid: int | None = None
        self.served_before = False
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._first_start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watch = asyncio.create_task(self._keep())

    async def started(self) -> None:
        """Waits for the first start.

        Raises:
            FlytewheelError: it ended before it served, with what was said last.
        """
        await asyncio.shield(self._first_start)

    async def wait_ready(self, timeout_s: float) -> bool:
        """Waits until it serves; false when it does not within `timeout_s`."""
        if self._ready.is_set():
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), timeout_s)
        return self._ready.is_set()

    def acquire(self) -> None:
        """Counts one more running answer; unloading waits for it until `release`."""
        self.inflight += 1
        self._idle.clear()

    def release(self) -> None:
        """One answer ended."""
        self.inflight -= 1
        if not self.inflight:
            self._idle.set()

    @abstractmethod
    def doubt(self) -> None:
        """A request failed, and nobody waits for what that means: whoever keeps it may look now."""

    @abstractmethod
    async def noticed_failure(self) -> None:
        """After a broken connection: waits a moment to see whether it is gone, so that nobody is sent there again."""

    async def stop(self, *, drain_s: float) -> None:
        """Takes it down, after its running answers or `drain_s` seconds, or when this call is cancelled."""
        self.state = "draining"
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), drain_s)
        finally:
            self._watch.cancel()
            await asyncio.wait({self._watch})
            await self._end()
            self._ready.clear()
            self.state = "stopped"
            if not self._first_start.done():  # whoever loads it must not wait for ever
                self._fail(RouterError(f"{self.alias} was stopped before it served"))

    @abstractmethod
    async def _keep(self) -> None:
        """Brings it up, says so by `_serve` or `_fail`, and brings it back when it is gone; runs until cancelled."""

    @abstractmethod
    async def _end(self) -> None:
        """Takes down what `_keep` brought up; called once, after `_keep` was cancelled."""

    def _serve(self, url: str) -> None:
        """It answers at `url` from now on."""
        self.url = url
        self.failure = None
        self.state = "ready"
        self.served_before = True
        self._ready.set()
        if not self._first_start.done():
            self._first_start.set_result(None)

    def _fail(self, error: Exception) -> None:
        """It never served, and is given up."""
        self.failure = str(error)
        self._first_start.set_exception(error)
        self._first_start.exception()  # asked for, so that nothing is said where nobody waits
