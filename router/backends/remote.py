"""A version served by a model server that is not ours: brought there, looked after, and left.

The server is asked through a blocking client in threads of their own, because a server that hangs must not hold up the
router's end. Where a request fails, or a look now and then finds the model gone (the server was started anew, somebody
deleted it), the version counts as not ready and is brought again, at growing intervals.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from flytewheel.errors import FlytewheelError
from flytewheel.model_server import ModelServer
from router.backends.backend import Backend
from router.backends.served import ServedModel

logger = logging.getLogger("router.backends")

BRING_TIMEOUT_S = 600.0  # a server may say nothing for long while it copies a file
LOOK_TIMEOUT_S = 5.0
LOOK_EVERY_S = 10.0
LONGEST_PAUSE_S = 5.0

Server = TypeVar("Server", bound=ModelServer)
Found = TypeVar("Found")


class RemoteBackend(Backend, Generic[Server]):
    """One version on a server; `open_server` opens a client that waits so many seconds."""

    def __init__(self, model: ServedModel, open_server: Callable[[float], Server]) -> None:
        self._open_server = open_server
        self._doubted = asyncio.Event()
        super().__init__(model)

    @abstractmethod
    def _bring(self, server: Server) -> None:
        """Has the server serve the version under `alias`; nothing happens where it does already.

        Raises:
            FlytewheelError: it is away, or refuses.
        """

    @abstractmethod
    def _is_there(self, server: Server) -> bool:
        """Whether the server knows the model."""

    @abstractmethod
    def _leave(self, server: Server) -> None:
        """Gives back what it took on the server; deletes nothing."""

    def doubt(self) -> None:
        """A request failed: the next look is now."""
        self._doubted.set()

    async def noticed_failure(self) -> None:
        """After a broken connection: looks whether server and model are there."""
        if not await self._look():
            self._ready.clear()
            self._doubted.set()

    async def _keep(self) -> None:
        pause_s = 0.0
        while True:
            try:
                url, headers = await self._aside(BRING_TIMEOUT_S, self._bring_and_tell)
            except FlytewheelError as error:
                self.failure = str(error)
                logger.error("%s is not served: %s", self.alias, error)
                if not self._first_start.done():
                    self.state = "failed"
                    self._fail(error)
                    return
            else:
                self.headers = headers
                self._serve(url)
                logger.info("%s serves at %s", self.alias, url)
                await self._wait_gone()
                pause_s = 0.0
                self.restarts += 1
                logger.warning("%s is gone from %s; bringing it again", self.alias, url)
            self._ready.clear()
            self.state = "restarting"
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, max(0.1, pause_s * 2))

    async def _wait_gone(self) -> None:
        """Looks now and then, and whenever a request failed, until server or model are not there."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._doubted.wait(), LOOK_EVERY_S)
            self._doubted.clear()
            if not await self._look():
                return

    async def _look(self) -> bool:
        try:
            return await self._aside(LOOK_TIMEOUT_S, self._is_there)
        except FlytewheelError as error:
            self.failure = str(error)
            return False

    async def _end(self) -> None:
        if self.served_before:
            try:
                await self._aside(LOOK_TIMEOUT_S, self._leave)
            except FlytewheelError as error:
                logger.warning("%s stays on its server: %s", self.alias, error)

    def _bring_and_tell(self, server: Server) -> tuple[str, dict[str, str]]:
        self._bring(server)
        return server.url, server.headers()

    async def _aside(self, timeout_s: float, work: Callable[[Server], Found]) -> Found:
        """Runs `work` with a client in a thread that nobody waits for when the process ends."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()

        def run() -> None:
            try:
                with self._open_server(timeout_s) as server:
                    found = work(server)
            except BaseException as error:
                deliver(lambda error=error: future.set_exception(error))  # type: ignore[misc]
            else:
                deliver(lambda: future.set_result(found))

        def deliver(result: Callable[[], None]) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(lambda: None if future.done() else result())

        threading.Thread(target=run, daemon=True, name=f"serve {self.alias}").start()
        return await future
