"""Keeps the workers running: processes that share one listening socket and serve by the keeper's table.

One that ends by itself, killed or not, is started again: at once the first time, then at growing intervals. One that
does not acknowledge a table in time is killed, so that a change which was answered is true everywhere. Where the
keeper is killed they go on by its last table, until the next keeper's workers serve (`guard`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from router.backends.backend import Status
from router.channel import Channel, GoneError
from router.table import Table

logger = logging.getLogger("router.workers")

ACKNOWLEDGE_S = 5.0
STEADY_S = 30.0  # one that ran so long is started again at once, as if it had never failed
LONGEST_PAUSE_S = 5.0
FLUSH_S = 15.0  # after its last answer, for writing what it logged


class Pool(Protocol):
    """What workers are told of, and tell of, the loaded versions: `router.backends.pool.BackendPool`."""

    def attach(self, view: str, say: Callable[[Status], None]) -> None:
        """Tells everything from now on."""

    def detach(self, view: str) -> None:
        """Nobody is there any more."""

    def hear(self, view: str, serial: int, word: str) -> None:
        """A word about one loading."""


class Worker:
    """One process, in the `slot`-th place."""

    def __init__(self, slot: int, number: int) -> None:
        self.slot = slot
        self.name = f"worker {slot}.{number}"
        self.began = asyncio.get_running_loop().time()
        self.serving = asyncio.Event()
        self.greeted = False
        self.leaving = False
        self.process: asyncio.subprocess.Process
        self.channel: Channel

    def kill(self) -> None:
        """Ends it now."""
        with suppress(ProcessLookupError):
            self.process.kill()


class Workers:
    """All workers of one keeper. They boot while the keeper does, and wait until `open` says what they serve by."""

    def __init__(self, count: int, listener: socket.socket, life: int, options: Sequence[str]) -> None:
        """`life` is the reading end of a pipe that says, by its end, when workers of a killed keeper may go."""
        self.count = count
        self.restarts = 0
        self._listener = listener
        self._life = life
        self._options = options
        self._pool: Pool | None = None
        self._get_table: Callable[[], Table] = Table
        self._booted: list[Worker] = []
        self._number = 0
        self._alive: dict[Worker, asyncio.Task[None]] = {}
        self._places: dict[int, asyncio.Task[None]] = {}
        self._replacing = asyncio.Lock()

    async def start(self) -> None:
        """Starts one in each place, and sees to it that there always is one."""
        self._fill()
        await asyncio.sleep(0)  # they are on their way before anything else is done

    def _fill(self) -> None:
        for slot in range(self.count):
            if slot not in self._places:
                self._places[slot] = asyncio.create_task(self._keep(slot), name=f"worker {slot}")

    def open(self, pool: Pool, get_table: Callable[[], Table]) -> None:
        """Has the workers send requests to what `pool` holds, by the table that `get_table` gives."""
        self._pool = pool
        self._get_table = get_table
        for worker in list(self._booted):
            self._greet(worker)

    @property
    def serving(self) -> list[Worker]:
        """Those that take connections."""
        return [worker for worker in self._alive if worker.serving.is_set() and not worker.leaving]

    async def publish(self) -> None:
        """Has every worker go by the present table; returns when all do."""
        data = self._get_table().to_wire()
        await asyncio.gather(*(self._hand_over(worker, data) for worker in list(self._alive) if worker.greeted))

    async def ask_all(self, kind: str, content: Any = None, *, timeout_s: float = 1.0) -> list[Any]:
        """What the workers reply; one that does not is left out."""
        asked = [worker.channel.ask(kind, content, timeout_s=timeout_s) for worker in self._alive if worker.greeted]
        found = await asyncio.gather(*asked, return_exceptions=True)
        return [reply for reply in found if not isinstance(reply, BaseException)]

    def tell_all(self, kind: str, content: Any = None) -> None:
        """Says something to every worker."""
        for worker in self._alive:
            worker.channel.tell(kind, content)

    async def replace_all(self) -> None:
        """Starts a new worker in each place, and ends the old one after its running answers; no connection is lost."""
        async with self._replacing:
            for old in [worker for worker in self._alive if not worker.leaving]:
                new = await self._spawn(old.slot)
                serving = asyncio.ensure_future(new.serving.wait())
                await asyncio.wait({serving, self._alive[new]}, return_when=asyncio.FIRST_COMPLETED)
                serving.cancel()
                if not new.serving.is_set():
                    logger.error("%s did not start; %s goes on", new.name, old.name)
                    return
                self._dismiss(old)

    async def resize(self, count: int, *, timeout_s: float) -> bool:
        """Has `count` workers from now on; those that are too many end after their answers, and no connection is lost.
        False where those that are new do not serve within `timeout_s`; they go on starting.
        """
        async with self._replacing:
            self.count = count
            for slot in [slot for slot in self._places if slot >= count]:
                self._places.pop(slot).cancel()
            self._fill()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while len({worker.slot for worker in self.serving if worker.slot < count}) < count:
                        await asyncio.sleep(0.02)
            for worker in list(self._alive):
                if worker.slot >= count and not worker.leaving:
                    self._dismiss(worker)
            return len({worker.slot for worker in self.serving}) >= count

    async def stop(self, drain_s: float) -> None:
        """Ends all: no connection is taken any more, running answers have `drain_s` seconds."""
        for place in self._places.values():
            place.cancel()
        for worker in self._alive:
            self._dismiss(worker)
        if self._alive:
            _, late = await asyncio.wait(self._alive.values(), timeout=drain_s + FLUSH_S)
            if late:
                self.kill()
                await asyncio.wait(late)

    def kill(self) -> None:
        """Ends all now."""
        for worker in self._alive:
            worker.kill()

    # -- one worker

    async def _keep(self, slot: int) -> None:
        pause_s = 0.0
        while True:
            try:
                worker = await self._spawn(slot)
            except Exception as error:  # an end of this loop would leave the place empty for ever
                logger.error("worker %d does not start: %s: %s", slot, type(error).__name__, error)
                pause_s = LONGEST_PAUSE_S
            else:
                while tasks := self._list_watches(slot):  # of this one, and of one that is to take its place
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                lived_s = asyncio.get_running_loop().time() - worker.began
                pause_s = 0.0 if lived_s > STEADY_S else pause_s
                self.restarts += 1
                logger.warning("%s ended with code %s; starting another", worker.name, worker.process.returncode)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, max(0.1, pause_s * 2))

    def _list_watches(self, slot: int) -> list[asyncio.Task[None]]:
        return [task for worker, task in self._alive.items() if worker.slot == slot and not worker.leaving]

    async def _spawn(self, slot: int) -> Worker:
        self._number += 1
        worker = Worker(slot, self._number)
        ours, theirs = socket.socketpair()
        try:
            worker.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "router.worker", "--listener", str(self._listener.fileno()), "--channel", str(theirs.fileno())),
                *("--slot", str(slot), "--life", str(self._life), *self._options),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(self._listener.fileno(), theirs.fileno(), self._life),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker.channel = await Channel.open(ours, lambda kind, content: self._hear(worker, kind, content))
        self._alive[worker] = asyncio.create_task(self._watch(worker))
        return worker

    async def _watch(self, worker: Worker) -> None:
        """Listens to a worker until it has ended."""
        listening = asyncio.create_task(worker.channel.run())
        try:
            await worker.process.wait()
        finally:
            worker.channel.close()
            listening.cancel()
            if self._pool is not None:
                self._pool.detach(worker.name)
            self._alive.pop(worker, None)

    def _hear(self, worker: Worker, kind: str, content: Any) -> None:
        if kind == "word" and self._pool is not None:
            serial, word = content
            self._pool.hear(worker.name, serial, word)
        elif kind == "hello":
            self._booted.append(worker)
            self._greet(worker)
        elif kind == "serving":
            worker.serving.set()

    def _greet(self, worker: Worker) -> None:
        if self._pool is not None and not worker.greeted:
            worker.greeted = True
            self._booted.remove(worker)
            self._pool.attach(worker.name, lambda status: self._say(worker, status))
            worker.channel.tell("table", self._get_table().to_wire())

    def _say(self, worker: Worker, status: Status) -> None:
        worker.channel.tell("status", status.to_wire())

    async def _hand_over(self, worker: Worker, data: bytes) -> None:
        try:
            await worker.channel.ask("table", data, timeout_s=ACKNOWLEDGE_S)
        except GoneError as error:
            if worker in self._alive and not worker.channel.gone:
                logger.error("%s does not take the table (%s); it is ended", worker.name, error)
                worker.kill()
                await asyncio.wait({self._alive[worker]}, timeout=ACKNOWLEDGE_S)

    def _dismiss(self, worker: Worker) -> None:
        worker.leaving = True
        worker.channel.tell("leave")
