"""Decides which versions are loaded, and keeps each of them serving: one llama.cpp process a version
(flytewheel/llama_server.py).

A backend that ends by itself is started again, at once the first time and then at growing intervals; one that nobody
needs is stopped after its running answers. Everything runs on the event loop; what blocks (download, hashing) runs in
threads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flytewheel import llama_server
from flytewheel.errors import FlytewheelError, RouterError
from flytewheel.llama_server import tell_last_line

logger = logging.getLogger("router.backends")

START_DEADLINE_S = 120.0
DRAIN_DEADLINE_S = 30.0
STEADY_S = 30.0  # one that ran so long is restarted at once, as if it had never failed
LONGEST_PAUSE_S = 5.0
_ENDED = ("failed", "draining", "stopped")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version on this machine's disk. `digest` is the file's SHA-256, `slot_tokens` the context of one answer."""

    name: str
    version: str
    digest: str
    file: Path
    slot_tokens: int = 1024


class Backend:
    """One version and the process that serves it."""

    def __init__(self, model: ServedModel, log_file: Path, *, threads: int) -> None:
        self.model = model
        self.state = "starting"
        self.failure: str | None = None
        self.restarts = 0
        self.inflight = 0
        self.url = ""
        self.pid: int | None = None
        self.served_before = False
        self._log_file = log_file
        self._threads = threads
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._first_start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._watch = asyncio.create_task(self._keep_running())

    @property
    def alias(self) -> str:
        """What the server calls the model, and answers carry as `model`."""
        return f"flytewheel/{self.model.name}@{self.model.version}"

    async def started(self) -> None:
        """Waits for the first start.

        Raises:
            RouterError: the process ended before it served, with the last line it said.
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

    async def noticed_failure(self) -> None:
        """After a broken connection: waits a moment for the process's end, so that nobody is sent there again."""
        process = self._process
        if process is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1.0)
        if process is self._process and process.returncode is not None:
            self._ready.clear()

    async def stop(self, *, drain_s: float) -> None:
        """Stops the process, after its running answers or `drain_s` seconds, or when this call is cancelled."""
        self.state = "draining"
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), drain_s)
        finally:
            self._watch.cancel()
            await asyncio.wait({self._watch})
            await self._end_process()
            self._ready.clear()
            self.state = "stopped"
            if not self._first_start.done():  # whoever loads it must not wait for ever
                self._first_start.set_exception(RouterError(f"{self.alias} was stopped before it served"))
                self._first_start.exception()  # asked for, so that nothing is said where nobody waits

    async def _keep_running(self) -> None:
        pause_s = 0.0
        while True:
            try:
                await self._start_process()
            except RouterError as error:
                self.failure = str(error)
                logger.error("%s", error)
                if not self._first_start.done():
                    self.state = "failed"
                    self._first_start.set_exception(error)
                    return
            else:
                assert self._process is not None
                began = asyncio.get_running_loop().time()
                await self._process.wait()
                self._ready.clear()
                if asyncio.get_running_loop().time() - began > STEADY_S:
                    pause_s = 0.0
                logger.warning("%s ended with code %s; starting it again", self.alias, self._process.returncode)
            self.state = "restarting"
            self.restarts += 1
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, max(0.1, pause_s * 2))

    async def _start_process(self) -> None:
        model = self.model
        command = llama_server.list_arguments(
            model.file, alias=self.alias, threads=self._threads, slot_tokens=model.slot_tokens
        )
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            with self._log_file.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    cwd=llama_server.ROOT,
                    env=llama_server.environ(),
                )
        except OSError as error:
            raise RouterError(
                f"{self.alias} does not start: {error} (is there room for its log and process?)"
            ) from None
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_DEADLINE_S)
        except TimeoutError:
            line = b""
        if not line:
            await self._end_process()
            raise RouterError(
                f"{self.alias} does not start: {tell_last_line(self._log_file.read_bytes())} (log: {self._log_file}; is"
                f" {model.file.name} a GGUF of a known architecture, and is there memory for it?)"
            )
        self.url = json.loads(line)["url"]
        self.pid = self._process.pid
        self.failure = None
        self.state = "ready"
        self.served_before = True
        self._ready.set()
        if not self._first_start.done():
            self._first_start.set_result(None)
        logger.info("%s serves at %s, process %d", self.alias, self.url, self.pid)

    async def _end_process(self) -> None:
        process, self.pid = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 3.0)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class BackendPool:
    """The loaded versions. `fetch(name, version)` brings a version onto the disk; it is called in a thread."""

    def __init__(self, fetch: Callable[[str, str], ServedModel], log_dir: Path) -> None:
        self._fetch = fetch
        self._log_dir = log_dir
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
        if key in self._loading or (backend is not None and backend.state not in _ENDED):
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
            RouterError: llama.cpp does not serve the file.
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
            threads = max(1, (os.cpu_count() or 2) // 2)
            backend = Backend(model, self._log_dir / f"llama-{name}-{version}.log", threads=threads)
            self._backends[key] = backend
            await backend.started()
        except FlytewheelError as error:
            self.failures[key] = str(error)
            self._backends.pop(key, None)
            raise
        self.failures.pop(key, None)
        return backend
