"""The stack of a month, embedded as on anybody's machine, with the replaying upstream behind its router; and what
breaks in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.month.replay import BROKEN
from benchmarks.soak.place import ROOT, find_port, wait_until
from benchmarks.soak.reaper import Reaper
from flytewheel.local import stack
from flytewheel.local.services import Services
from flytewheel.local.state import read_state
from flytewheel.settings import Settings

NAME = "oncall"
START_S = 60.0


@dataclass(slots=True)
class Place:
    """Everything that runs, under `folder`; started again it goes on where it was."""

    folder: Path
    port: int = field(default_factory=find_port)
    reaper: Reaper = field(default_factory=Reaper)
    upstream: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """Of the stack; the same from every process of the month."""
        return Settings(
            home=self.folder / "home",
            backend="vllm",
            backend_url=f"http://127.0.0.1:{self.port}",
            workers=2,
        )

    @property
    def answers(self) -> Path:
        """The upstream's files."""
        return self.folder / "answers"

    def up(self) -> Services:
        """Starts what does not run: the stack, then what answers behind its router."""
        if self.upstream is None:
            services = stack.up(self.settings, announce=lambda line: None, with_router=False)
            self._start_upstream(services)
        return stack.up(self.settings, announce=lambda line: None)

    def _start_upstream(self, services: Services) -> None:
        log = self.folder / "upstream.log"
        with log.open("ab") as output:
            self.upstream = subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.month.replay", "--port", str(self.port)),
                    *("--folder", str(self.answers), "--name", NAME),
                ],
                cwd=ROOT,
                env={**os.environ, **services.environ()},
                stdout=output,
                stderr=output,
            )
        self.reaper.watch(self.upstream.pid)
        wait_until(lambda: _answers(self.port), f"the upstream (log: {log})", START_S)

    def plant(self, version: str) -> None:
        """From now on this version is served broken: its answers stop after a few words."""
        (self.answers / BROKEN).write_text(json.dumps([version]))

    def kill(self, part: str) -> None:
        """kill −9 of `postgres` or `router` with everything that belongs to it."""
        state = read_state(self.settings.home.absolute())
        assert state is not None
        process = state.parts[part].process
        assert process is not None
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in family:
            one.kill()
        psutil.wait_procs(family, timeout=10)

    def close(self) -> None:
        """Stops everything; the folder stays."""
        try:
            stack.down(self.settings)
        finally:
            if self.upstream is not None:
                self.upstream.terminate()
                self.upstream.wait(30)
            self.reaper.close()

    def read_generated(self) -> dict[str, Any]:
        """How many answers llama.cpp gave for each version."""
        import httpx

        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/generated", trust_env=False).json()
        return found


def _answers(port: int) -> bool:
    import httpx

    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
