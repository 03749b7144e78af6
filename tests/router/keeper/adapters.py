"""Versions that the vLLM stand-in answers by a word, registered and served."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil

from tests.processes import find_children, runs
from tests.router.live import API_KEY, KEY, NOW, LiveRouter
from tests.servers.vllm import write_adapter


def register(router: LiveRouter, name: str, word: str) -> str:
    """Registers an adapter that answers `word`; returns its version."""
    folder = write_adapter(router.home / f"{name}-{word}", word)
    files = {f"adapter/{path.name}": path for path in folder.iterdir()}
    return router.registry.register(name, files, facts={}, key=f"{name}-{word}", now=NOW).version


def serve(router: LiveRouter, name: str, word: str) -> str:
    """Registers an adapter and makes it the champion."""
    version = register(router, name, word)
    answer = router.send("PUT", f"/models/{name}/champion", {"version": version})
    assert answer.status_code == 200, answer.text
    return version


def post(router: LiveRouter, body: dict[str, Any], key: str = API_KEY) -> tuple[int, dict[str, str], bytes]:
    """One chat request over a connection of its own: status, headers and body. An httpx client takes 100 ms to make."""
    connection = http.client.HTTPConnection("127.0.0.1", router.port, timeout=20)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ask(router: LiveRouter, name: str, user: str = "ada") -> str:
    """The version that answers one request over a connection of its own."""
    said = [{"role": "user", "content": "Which word?"}]
    status, headers, body = post(router, {"model": f"flytewheel/{name}", "messages": said, "user": user})
    assert status == 200, body
    return headers["x-flytewheel-version"]


@contextmanager
def stream(router: LiveRouter, name: str, **options: Any) -> Iterator[Iterator[str]]:
    """A stream that has begun; the lines of it."""
    body = {"model": f"flytewheel/{name}", "messages": [{"role": "user", "content": "Which word?"}], "stream": True}
    with (
        httpx.Client(timeout=20, trust_env=False, headers=KEY, **options) as client,
        client.stream("POST", router.url + "/v1/chat/completions", json=body) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        lines = answer.iter_lines()
        assert next(lines).startswith("data: {")
        yield lines


def find_keeper(router: LiveRouter) -> int | None:
    """The process that keeps the workers; None while there is none."""
    assert router.process is not None
    found = [
        child.pid for child in psutil.Process(router.process.pid).children() if runs(child.pid, "-m router --port")
    ]
    return found[0] if found else None


def workers(router: LiveRouter) -> list[int]:
    """The processes that answer."""
    assert router.process is not None
    return [child.pid for child in find_children("router.worker", router.process.pid)]
