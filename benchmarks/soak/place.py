"""The processes of a soak: PostgreSQL and object store of their own, an upstream for each arm, the router; each can be
killed and comes back on its own port. The control is an adapter that the router loads into a vLLM, the treatment a
version that is served elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from safetensors.numpy import save_file

from benchmarks.soak.reaper import Reaper
from benchmarks.soak.record import Recording
from flytewheel.api_keys import create_key
from flytewheel.database import migrate
from flytewheel.local import objects, places, postgres
from flytewheel.local.processes import ProcessId
from flytewheel.signed_registry import seal_registry
from flytewheel.signing_keys import KeyRing, ensure_home_key
from flytewheel.upstreams import UPSTREAM
from registry.store import ObjectStore

ROOT = Path(__file__).resolve().parents[2]
SECRET = "soak-secret"  # of services on loopback that live for minutes
MODEL = "soak"
ELSEWHERE = "soak-elsewhere"  # what the treatment's server calls its model
ARMS = ("control", "treatment")
SHARE = 0.5
START_S = 90.0


@dataclass(slots=True)
class Place:
    """Everything that runs, under `folder`."""

    folder: Path
    reaper: Reaper
    workers: int
    recordings: list[Recording]
    database: tuple[ProcessId, int] | None = None
    store: tuple[ProcessId, int] | None = None
    upstreams: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    router: subprocess.Popen[bytes] | None = None
    ports: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    key: str = ""
    kills: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['router']}"

    @property
    def database_url(self) -> str:
        assert self.database is not None
        return postgres.server_url(self.database[1], SECRET, postgres.DATABASE)

    # -- starting

    def start(self) -> None:
        """Starts everything and gives the model its two arms."""
        self.folder.chmod(0o711)
        self.home.mkdir()
        (self.folder / "answers.json").write_text(json.dumps([asdict(one) for one in self.recordings]))
        self.start_database()
        migrate(self.database_url)
        _, self.key = create_key(self.database_url, scopes=("serve", "read"), name="soak")
        self.start_store()
        for arm in ARMS:
            _on_free_port(self.ports, arm, lambda arm=arm: self.start_upstream(arm))  # type: ignore[misc]
        _on_free_port(self.ports, "router", self.start_router)
        self._serve_two_arms()

    def start_database(self) -> None:
        """PostgreSQL, durable, recovering by itself where it was killed."""
        port = self.database[1] if self.database else None
        data = places.choose_place(self.folder, places.unprivileged_account())
        self.database = postgres.start(data, password=SECRET, log=self._log("postgres"), port=port)
        self.reaper.watch(self.database[0].pid)

    def start_store(self) -> None:
        """The object store."""
        port = self.store[1] if self.store else None
        self.store = objects.start(
            self.folder / "objects",
            log=self._log("objects"),
            access_key="soak",
            secret_key=SECRET,
            bucket="flytewheel",
            port=port,
        )
        self.reaper.watch(self.store[0].pid)

    def start_upstream(self, arm: str) -> None:
        """The model server of one arm."""
        self.upstreams[arm] = self._spawn(
            arm,
            [
                *("-m", "benchmarks.soak.upstream", "--port", str(self.ports[arm])),
                *("--answers", str(self.folder / "answers.json")),
                *(("--model", ELSEWHERE) if arm == "treatment" else ()),
            ],
        )
        self._wait(self.upstreams[arm], f"http://127.0.0.1:{self.ports[arm]}/health", f"the {arm}'s upstream")

    def start_router(self) -> None:
        """The router with its workers."""
        assert self.store is not None
        environ = {
            "FLYTEWHEEL_HOME": str(self.home),
            "FLYTEWHEEL_DATABASE_URL": self.database_url,
            "FLYTEWHEEL_S3_URL": objects.server_url(self.store[1]),
            "FLYTEWHEEL_S3_ACCESS_KEY": "soak",
            "FLYTEWHEEL_S3_SECRET_KEY": SECRET,
            "FLYTEWHEEL_ADMIN_KEY": SECRET,
            "FLYTEWHEEL_ASSIGNMENT_KEY": SECRET,
            "FLYTEWHEEL_BACKEND": "vllm",
            "FLYTEWHEEL_BACKEND_URL": f"http://127.0.0.1:{self.ports['control']}",
        }
        workers = ["--workers", str(self.workers)] if self.workers else []
        self.router = self._spawn("router", ["-m", "router", "--port", str(self.ports["router"]), *workers], environ)
        self._wait(self.router, self.url + "/healthz", "the router")

    def _serve_two_arms(self) -> None:
        ring = KeyRing(self.home)
        ensure_home_key(ring)
        assert self.store is not None
        store = ObjectStore(objects.server_url(self.store[1]), "soak", SECRET, "flytewheel")
        registry = seal_registry(store, ring)
        for arm, files, facts in (
            ("control", self._write_adapter(), {}),
            ("treatment", self._write_form(), {"kind": "upstream"}),
        ):
            self.versions[arm] = registry.register(MODEL, files, facts=facts, key=arm, now=datetime.now(UTC)).version
        self.ask("PUT", f"/models/{MODEL}/champion", {"version": self.versions["control"]})
        launch = {"name": MODEL, **self.versions, "share": SHARE, "launch_key": "soak"}
        self.ask("POST", "/experiments", launch)

    def _write_adapter(self) -> dict[str, Path]:
        adapter = self.folder / "adapter"
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text(json.dumps({"r": 8, "peft_type": "LORA"}))
        weights = np.arange(7, dtype=np.float32)
        save_file({"base_model.model.q_proj.lora_A.weight": weights}, adapter / "adapter_model.safetensors")
        return {f"adapter/{path.name}": path for path in adapter.iterdir()}

    def _write_form(self) -> dict[str, Path]:
        form = self.folder / UPSTREAM
        url = f"http://127.0.0.1:{self.ports['treatment']}/v1"
        form.write_text(json.dumps({"url": url, "model": ELSEWHERE, "allow": ["127.0.0.1"]}))
        return {UPSTREAM: form}

    # -- breaking

    def kill_database(self) -> None:
        """kill −9 of the postmaster; its children end with it."""
        assert self.database is not None
        _kill_tree(self.database[0].pid)

    def kill_store(self) -> None:
        """kill −9 of the object store."""
        assert self.store is not None
        _kill_tree(self.store[0].pid)

    def kill_upstream(self, arm: str) -> None:
        """kill −9 of an arm's model server."""
        self.upstreams[arm].kill()
        self.upstreams[arm].wait()

    def kill_keeper(self) -> bool:
        """kill −9 of the router's keeper; false where there is none at the moment."""
        keeper = self.find_keeper()
        if keeper is not None:
            keeper.kill()
        return keeper is not None

    def kill_worker(self, place: int) -> bool:
        """kill −9 of the worker at this place; false where there is none at the moment."""
        found = self.find_workers()
        if not found:
            return False
        found[place % len(found)].kill()
        self.kills += 1
        return True

    def find_keeper(self) -> psutil.Process | None:
        """The router's keeper; None while it is away."""
        return next((child for child, command in self._list_processes() if "router" in command), None)

    def find_workers(self) -> list[psutil.Process]:
        """The router's worker processes, by their place."""
        found = [
            (int(command[command.index("--slot") + 1]), child)
            for child, command in self._list_processes()
            if "router.worker" in command
        ]
        return [child for _, child in sorted(found, key=lambda pair: (pair[0], pair[1].pid))]

    def _list_processes(self) -> list[tuple[psutil.Process, list[str]]]:
        assert self.router is not None
        found = []
        for child in psutil.Process(self.router.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ended as it was looked at
                found.append((child, child.cmdline()))
        return found

    # -- asking

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request to the control API."""
        headers = {"authorization": f"Bearer {SECRET}"}
        answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=60, trust_env=False)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    def stop(self) -> int | None:
        """Stops the router as its owner would; its exit code, None where it had to be killed. The rest is reaped."""
        code = None
        if self.router is not None:
            self.router.terminate()
            try:
                code = self.router.wait(30)
            except subprocess.TimeoutExpired:
                self.router.kill()
                self.router.wait()
        return code

    def _spawn(self, name: str, arguments: list[str], environ: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        plain = {key: value for key, value in os.environ.items() if not key.startswith("FLYTEWHEEL_")}
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=plain | (environ or {}), stdout=log, stderr=log
            )
        self.reaper.watch(process.pid)
        return process

    def _wait(self, process: subprocess.Popen[bytes], url: str, what: str) -> None:
        wait_until(lambda: process.poll() is not None or _answers(url), what, START_S)
        if process.poll() is not None:
            raise PortTakenError(f"{what} ended with code {process.returncode}; its log says why")

    def _log(self, name: str) -> Path:
        (self.folder / "logs").mkdir(exist_ok=True)
        return self.folder / "logs" / f"{name}.log"


class PortTakenError(Exception):
    """A process ended while it started, as one does whose port was taken meanwhile."""


def _on_free_port(ports: dict[str, int], name: str, start: Callable[[], None]) -> None:
    """Starts something for the first time; others on this machine look for free ports, too."""
    for last in (False, False, True):
        ports[name] = find_port()
        try:
            start()
        except PortTakenError:
            if last:
                raise
        else:
            return


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float) -> Any:
    """Asks until it is true.

    Raises:
        TimeoutError: it was not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.05)
    return found


def find_port() -> int:
    """A free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _kill_tree(pid: int) -> None:
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, str(pid), 10)
