"""Versions served by llama.cpp in processes of our own (flytewheel/llama_server.py).

A process is kept running for all versions on it: one version for a merged file, several for a base that is resident
with their adapters (`resident`). One that ends by itself is started again, at once the first time and then at growing
intervals. One that hangs is ended: it answers no probe while its CPU time stands still (a busy one may be slow to
answer, and is left alone).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from flytewheel import llama_server
from flytewheel.errors import RouterError
from flytewheel.llama_server import tell_last_line
from router.backends.backend import READY
from router.backends.host import Host
from router.backends.served import ServedModel
from router.backends.warming import warm_up
from router.paths import CHAT, COMPLETIONS

logger = logging.getLogger("router.backends")

START_DEADLINE_S = 120.0
STEADY_S = 30.0  # one that ran so long is restarted at once, as if it had never failed
LONGEST_PAUSE_S = 5.0
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ProbeRule:
    """How a running process is looked at: `misses` probes without an answer in a row, and it hangs."""

    every_s: float = 5.0
    timeout_s: float = 3.0
    misses: int = 3


class LlamaProcess:
    """A GGUF and adapters for it, served as long as a host is on it."""

    def __init__(
        self,
        file: Path,
        log_file: Path,
        *,
        alias: str,
        threads: int,
        slot_tokens: int,
        adapters: Sequence[Path] = (),
        probe: ProbeRule = ProbeRule(),  # frozen
    ) -> None:
        self.number = next(_NUMBERS)
        self.file = file
        self.alias = alias
        self.slot_tokens = slot_tokens
        self.adapters = tuple(adapters)
        self.hosts: list[LlamaHost] = []
        self.serving = False  # its file was loaded, once
        self.url = ""  # while it runs
        self._log_file = log_file
        self._threads = threads
        self._probe = probe
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    def join(self, host: LlamaHost) -> None:
        """A version is to be served by it from now on."""
        self.hosts.append(host)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep())
        elif self.url:
            host.arrive(self.url, self.pid)

    async def leave(self, host: LlamaHost) -> None:
        """A version is served by it no longer; with the last one it ends."""
        self.hosts.remove(host)
        if not self.hosts and self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            await self._end()

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    async def look(self) -> None:
        """Waits a moment for the process's end, which `_keep` sees as it happens."""
        process = self._process
        if process is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1.0)
        if process is self._process and process.returncode is not None:
            self._depart()

    async def _keep(self) -> None:
        pause_s = 0.0
        while True:
            try:
                await self._start_process()
            except RouterError as error:
                logger.error("%s", error)
                for host in list(self.hosts):
                    host.depart(error)
                if not self.serving:
                    return
            else:
                assert self._process is not None
                began = asyncio.get_running_loop().time()
                self.serving = True
                for host in list(self.hosts):
                    host.arrive(self.url, self._process.pid)
                await self._wait_ended()
                self._depart()
                if asyncio.get_running_loop().time() - began > STEADY_S:
                    pause_s = 0.0
                logger.warning("%s ended with code %s; starting it again", self.alias, self._process.returncode)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, max(0.1, pause_s * 2))

    def _depart(self) -> None:
        self.url = ""
        for host in list(self.hosts):
            host.depart()

    async def _wait_ended(self) -> None:
        """Until the process ends; looks at it now and then, and ends it when it hangs."""
        assert self._process is not None
        process, misses, worked_s = self._process, 0, -1.0
        ended = asyncio.create_task(process.wait())
        try:
            async with aiohttp.ClientSession(trust_env=False) as session:
                while not (await asyncio.wait({ended}, timeout=self._probe.every_s))[0]:
                    seen = await asyncio.to_thread(_read_usage, process.pid)
                    if seen is None or await self._answers(session):
                        misses = 0
                    else:
                        misses = misses + 1 if seen[0] == worked_s else 0
                    if seen is not None:
                        worked_s = seen[0]
                        for host in list(self.hosts):
                            host.tell_memory(seen[1])
                    if misses >= self._probe.misses:
                        logger.error("%s hangs; ending it", self.alias)
                        process.kill()
                        misses = 0
        finally:
            ended.cancel()

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        timeout = aiohttp.ClientTimeout(total=self._probe.timeout_s)
        try:
            async with session.get(f"{self.url}/health", timeout=timeout, allow_redirects=False) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def _start_process(self) -> None:
        command = llama_server.list_arguments(
            self.file,
            alias=self.alias,
            threads=self._threads,
            slot_tokens=self.slot_tokens,
            adapters=self.adapters,
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
            await self._end()
            raise RouterError(
                f"{self.alias} does not start: {tell_last_line(self._log_file.read_bytes())} (log: {self._log_file}; is"
                f" {self.file.name} a GGUF of a known architecture, and is there memory for it?)"
            )
        self.url = json.loads(line)["url"]
        logger.info("%s serves at %s, process %d", self.alias, self.url, self._process.pid)

    async def _end(self) -> None:
        process = self._process
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


class LlamaHost(Host):
    """One version on a llama.cpp process; `adapter` is its place among the process's adapters.

    Where the process has adapters, every request says which one it takes, at what scale, or none; what a client put
    there does not count, or it could choose its arm. It answers and does not embed: llama.cpp with embeddings on holds
    every batch to 512 tokens, and what a model that was trained to answer has for a text is no embedding worth having.
    """

    endpoints = (CHAT, COMPLETIONS)

    def __init__(self, model: ServedModel, process: LlamaProcess, *, adapter: int | None = None) -> None:
        super().__init__(model)
        self.process = process
        self._fields: dict[str, Any] = {}
        if process.adapters:
            self._fields["lora"] = [
                {"id": place, "scale": float(place == adapter)} for place in range(len(process.adapters))
            ]
        self._events: asyncio.Queue[tuple[str, int | None] | RouterError | None] = asyncio.Queue()

    def arrive(self, url: str, pid: int | None) -> None:
        """Its process serves at `url`."""
        self._events.put_nowait((url, pid))

    def depart(self, error: RouterError | None = None) -> None:
        """Its process is gone, or did not start."""
        if self.status.state == READY:
            self._lose()
        self._events.put_nowait(error)

    def tell_memory(self, memory_bytes: int) -> None:
        """What its process holds, which it may share with others; small changes are not worth a word."""
        before = self.status.memory_bytes or 0
        if self.status.state == READY and abs(memory_bytes - before) > 0.05 * before:
            self._tell(memory_bytes=memory_bytes)

    async def _look(self) -> None:
        await self.process.look()

    async def _keep(self) -> None:
        self.process.join(self)
        while True:
            event = await self._events.get()
            try:
                if isinstance(event, RouterError):
                    raise event
                if event is None or not self._events.empty():  # what came after it is true now
                    self._lose()
                else:
                    await self._arrive(*event)
            except RouterError as error:
                if not self._first_start.done():
                    await self._end()
                    self._fail(error)
                    return
                self._lose(str(error))
                if not isinstance(event, RouterError):  # its process is there: asked again in a while
                    asyncio.get_running_loop().call_later(LONGEST_PAUSE_S, self._try_again, event)

    def _try_again(self, event: tuple[str, int | None] | None) -> None:
        if event is not None and event[0] == self.process.url and self._events.empty():
            self._events.put_nowait(event)

    async def _arrive(self, url: str, pid: int | None) -> None:
        status = self.describe(url, fields=self._fields)
        warm_s = await warm_up(self._connect(status), status)
        logger.info("%s was warm after %.2f s", self.alias, warm_s)
        if not self.leaving:
            self._serve(url, pid=pid, fields=self._fields, warm_s=warm_s)

    async def _end(self) -> None:
        if self in self.process.hosts:
            await self.process.leave(self)


def _read_usage(pid: int) -> tuple[float, int] | None:
    """CPU seconds and resident bytes of a process; None where it is gone."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, int(process.memory_info().rss)
    except psutil.Error:
        return None
