"""One request of a drill, put to this worker's own front door as a client would, over no socket: the keeper cannot
choose which worker a connection reaches, and each one has to be asked.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import orjson

from router.front import Endpoint
from router.paths import CHAT, COMPLETIONS, MODEL_PREFIX

_QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (CHAT, {"messages": [{"role": "user", "content": "Hello"}]}),
    (COMPLETIONS, {"prompt": "Hello"}),
)


async def rehearse(app: Endpoint, admin_key: bytes, asked: MutableMapping[str, Any]) -> dict[str, Any]:
    """Asks `probe` as `user`; returns the status, and the version and arm that answered, empty where none did."""
    for path, question in _QUESTIONS:
        body = {"model": MODEL_PREFIX + asked["probe"], "user": asked["user"], "max_tokens": 1, **question}
        found = await _put(app, path, admin_key, orjson.dumps(body))
        if found["status"] != 400:  # a base without a chat template completes text
            break
    return found


async def _put(app: Endpoint, path: str, admin_key: bytes, body: bytes) -> dict[str, Any]:
    headers = [
        (b"host", b"drill"),
        (b"authorization", b"Bearer " + admin_key),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 0),
    }
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    started: dict[str, Any] = {}

    async def receive() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.update(message)

    await app(scope, receive, send)
    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in started.get("headers", ())}
    return {
        "status": started.get("status", 0),
        "version": told.get("x-flytewheel-version", ""),
        "arm": told.get("x-flytewheel-arm", ""),
        "fallback": "x-flytewheel-fallback" in told,
    }
