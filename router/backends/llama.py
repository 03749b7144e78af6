"""A version served by llama.cpp in a process of our own (flytewheel/llama_server.py).

One that ends by itself is started again, at once the first time and then at growing intervals.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from pathlib import Path

from flytewheel import llama_server
from flytewheel.errors import RouterError
from flytewheel.llama_server import tell_last_line
from router.backends.backend import READY
from router.backends.host import Host
from router.backends.served import ServedModel

logger = logging.getLogger("router.backends")

START_DEADLINE_S = 120.0
STEADY_S = 30.0  # one that ran so long is restarted at once, as if it had never failed
LONGEST_PAUSE_S = 5.0


class LlamaHost(Host):
    """One version and the process that serves it."""

    def __init__(self, model: ServedModel, log_file: Path, *, threads: int) -> None:
        super().__init__(model)
        self._log_file = log_file
        self._threads = threads
        self._process: asyncio.subprocess.Process | None = None

    async def _look(self) -> None:
        """Waits a moment for the process's end, which `_keep` sees as it happens."""
        process = self._process
        if process is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1.0)
        if process is self._process and process.returncode is not None and self.status.state == READY:
            self._lose()

    async def _keep(self) -> None:
        pause_s = 0.0
        while True:
            try:
                await self._start_process()
            except RouterError as error:
                logger.error("%s", error)
                if not self._first_start.done():
                    self._fail(error)
                    return
                self._lose(str(error))
            else:
                assert self._process is not None
                began = asyncio.get_running_loop().time()
                await self._process.wait()
                self._lose()
                if asyncio.get_running_loop().time() - began > STEADY_S:
                    pause_s = 0.0
                logger.warning("%s ended with code %s; starting it again", self.alias, self._process.returncode)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, max(0.1, pause_s * 2))

    async def _start_process(self) -> None:
        model = self.model
        assert model.file is not None
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
            await self._end()
            raise RouterError(
                f"{self.alias} does not start: {tell_last_line(self._log_file.read_bytes())} (log: {self._log_file}; is"
                f" {model.file.name} a GGUF of a known architecture, and is there memory for it?)"
            )
        self._serve(json.loads(line)["url"], pid=self._process.pid)
        logger.info("%s serves at %s, process %d", self.alias, self.status.url, self._process.pid)

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
