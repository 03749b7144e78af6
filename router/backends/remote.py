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
from router.backends.host import Host
from router.backends.served import ServedModel
from router.backends.warming import warm_up

logger = logging.getLogger("router.backends")

BRING_TIMEOUT_S = 600.0  # a server may say nothing for long while it copies a file
LOOK_TIMEOUT_S = 5.0
LOOK_EVERY_S = 10.0
LONGEST_PAUSE_S = 5.0

Server = TypeVar("Server", bound=ModelServer)
Found = TypeVar("Found")


class RemoteHost(Host, Generic[Server]):
    """One version on a server; `open_server` opens a client that waits so many seconds."""

    own = False

    def __init__(
        self, model: ServedModel, open_server: Callable[[float], Server], *, allow: tuple[str, ...] = ()
    ) -> None:
        super().__init__(model)
        self.allow = allow
        self._open_server = open_server
        self._gone = asyncio.Event()
        self._brought = False

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

    async def _look(self) -> None:
        """Looks whether server and model are there; `_keep` brings them back where they are not."""
        if (missing := await self._miss()) is not None:
            self._lose(missing)
            self._gone.set()

    async def _keep(self) -> None:
        pause_s = 0.0
        while True:
            try:
                url, headers = await self._aside(BRING_TIMEOUT_S, self._bring_and_tell)
                status = self.describe(url, headers=headers)
                warm_s = await warm_up(self._connect(status), status)
            except FlytewheelError as error:
                logger.error("%s is not served: %s", self.alias, error)
                if not self._first_start.done():
                    await self._end()
                    self._fail(error)
                    return
                self._lose(str(error))
            else:
                self._gone.clear()
                self._serve(url, headers=headers, warm_s=warm_s)
                logger.info("%s serves at %s, warm after %.2f s", self.alias, url, warm_s)
                await self._wait_gone()
                pause_s = 0.0
                logger.warning("%s is gone from %s; bringing it again", self.alias, url)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, max(0.1, pause_s * 2))

    async def _wait_gone(self) -> None:
        """Looks now and then until server or model are not there; a look after a failed request says so, too."""
        while not self._gone.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), LOOK_EVERY_S)
            if not self._gone.is_set() and (missing := await self._miss()) is not None:
                self._lose(missing)
                return

    async def _miss(self) -> str | None:
        """Why the server or the model is not there; None where both are."""
        try:
            there = await self._aside(LOOK_TIMEOUT_S, self._is_there)
        except FlytewheelError as error:
            return str(error)
        return None if there else f"its server does not know {self.alias} any more"

    async def _end(self) -> None:
        if self._brought:
            try:
                await self._aside(LOOK_TIMEOUT_S, self._leave)
            except FlytewheelError as error:
                logger.warning("%s stays on its server: %s", self.alias, error)

    def _bring_and_tell(self, server: Server) -> tuple[str, dict[str, str]]:
        self._bring(server)
        self._brought = True
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
