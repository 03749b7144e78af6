"""A real router process over real services, with models that spell a word each (spelling_model)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from flytewheel.api_keys import new_secret
from registry.store import ObjectStore
from registry.versions import Registry
from tests.ports import free_port
from tests.router.spelling_model import write_spelling_model
from tests.sealed import sealed_registry

ADMIN_KEY = "admin-key-of-the-tests"
ASSIGNMENT_KEY = "assignment-key-of-the-tests"
API_KEY = new_secret()  # serve and read, in every router's database
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
KEY = {"authorization": f"Bearer {API_KEY}"}
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], Any], *, what: str, timeout_s: float = 30.0) -> Any:
    """Asks `condition` until it is true, and returns what it said."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)


def measure_stale(ask: Callable[[int], object], expected: object, change: Callable[[], object]) -> float:
    """Seconds from a committed change until the last question was put that was not answered as expected.

    Over once eight in a row are. How long a question takes is not in it: on a machine that does much else that is more
    than what is measured.
    """
    change()
    began, stale_s, right = time.monotonic(), 0.0, 0
    while right < 8:
        asked_s = time.monotonic() - began
        if ask(right) == expected:
            right += 1
        else:
            right, stale_s = 0, asked_s
            assert stale_s < 30, f"still not {expected}"
    return stale_s


@dataclass
class LiveRouter:
    """One router, which can be killed and started again on the same state."""

    home: Path
    database_url: str
    store: ObjectStore
    environ: dict[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, trust_env=False, headers=KEY))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def registry(self) -> Registry:
        return sealed_registry(self.store, self.home)

    def start(self, *, ready: bool = True) -> LiveRouter:
        plain = {key: value for key, value in os.environ.items() if not key.startswith("FLYTEWHEEL_")}
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "router.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "router", "--port", str(self.port)],
                cwd=ROOT,
                env={**plain, **self.environ},
                stdout=log,
                stderr=log,
            )
        wait_until(
            lambda: self.status() in (("ready",) if ready else ("ready", "starting", "degraded")),
            what="ready",
            timeout_s=120,
        )
        return self

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=90)

    def kill(self) -> None:
        """kill −9 of its first process and of its keeper; its workers end after their answers. Returns when nobody
        takes connections any more, so that whoever answers next is another router.
        """
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        self.process.kill()
        for child in children:
            child.kill()
        self.process.wait()
        wait_until(lambda: not self._is_listening(), what="no connection is taken any more")
        self.client.close()  # an old worker answers for a moment on those that it has
        self.client = httpx.Client(timeout=60, trust_env=False, headers=KEY)

    def _is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionError:
            return False
        return True

    def status(self) -> str | None:
        try:
            return str(self.get("/healthz").json()["status"])
        except httpx.TransportError:
            assert self.process is not None
            assert self.process.poll() is None, (self.home / "router.log").read_text()
            return None

    # -- requests

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(self.url + path, **options)

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """A request to the control API, with the admin key."""
        return self.client.request(method, self.url + path, json=body, headers=ADMIN, **options)

    def ask(self, name: str, user: str | None = "ada", **options: Any) -> httpx.Response:
        """One chat request; `options` go into the body."""
        body = {"model": f"flytewheel/{name}", "messages": [{"role": "user", "content": "Which word?"}], **options}
        if user is not None:
            body["user"] = user
        return self.post("/v1/chat/completions", json={"temperature": 0, "max_tokens": 64} | body)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """A request with a key that may chat and read, no more."""
        return self.client.post(self.url + path, **options)

    # -- models

    def register(self, name: str, word: str, *, endless: bool = False, file: Path | None = None) -> str:
        """Registers a model that spells `word`; returns its version."""
        if file is None:
            file = write_spelling_model(self.home / f"{name}-{word}.gguf", word, endless=endless)
        facts = {"serve": "model.gguf"}
        return self.registry.register(name, {"model.gguf": file}, facts=facts, key=f"{name}-{word}", now=NOW).version

    def serve(self, name: str, word: str, *, endless: bool = False) -> str:
        """Registers a model and makes it the champion."""
        version = self.register(name, word, endless=endless)
        answer = self.send("PUT", f"/models/{name}/champion", {"version": version})
        assert answer.status_code == 200, answer.text
        return version

    def launch(
        self, name: str, control: str, treatment: str, *, share: float, key: str | None = None
    ) -> httpx.Response:
        body = {"name": name, "control": control, "treatment": treatment, "share": share}
        return self.send("POST", "/experiments", body | {"launch_key": key or f"{name}-run"})

    def backend(self, name: str, version: str) -> dict[str, Any] | None:
        for model in self.send("GET", "/models").json()["models"]:
            if model["name"] == name:
                found: dict[str, Any] | None = model["backends"].get(version)
                return found
        return None

    # -- rows

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def interaction(self, interaction_id: str) -> dict[str, Any]:
        """The stored body of an interaction, waited for."""
        query = "SELECT body FROM interactions WHERE interaction_id = %s"
        found = wait_until(lambda: self.rows(query, interaction_id), what=f"interaction {interaction_id} stored")
        body: dict[str, Any] = found[0][0]
        return body
