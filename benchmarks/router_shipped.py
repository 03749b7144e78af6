"""Ours, as it is shipped: `python -m router --workers 1`, a keeper and a worker, with PostgreSQL and an object store.

The model's two versions stand for one upstream, named in signed configuration (`upstream.json`), and share its traffic
by a running experiment: every request brings a key, is assigned, logged and counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.router_contestants import Contestant, find_port, run_contestant
from flytewheel.local import objects
from flytewheel.signed_registry import seal_registry
from flytewheel.signing_keys import KeyRing, ensure_home_key
from registry.store import ObjectStore

NAME, SHARE = "demo", 0.3
SECRET = "the secret of this benchmark"
READY_S = 60.0


@contextmanager
def run_router(folder: Path, upstream: int, database_url: str) -> Iterator[Contestant]:
    """The router, once both arms answer."""
    home = folder / "home"
    home.mkdir(parents=True)
    with ExitStack() as cleanup:
        access: Any = {"access_key": "benchmark", "secret_key": SECRET, "bucket": "flytewheel"}
        process, at = objects.start(folder / "objects", log=folder / "objects.log", **access)
        cleanup.callback(objects.stop, process)
        environ = {
            "FLYTEWHEEL_HOME": str(home),
            "FLYTEWHEEL_DATABASE_URL": database_url,
            "FLYTEWHEEL_S3_URL": objects.server_url(at),
            "FLYTEWHEEL_S3_ACCESS_KEY": access["access_key"],
            "FLYTEWHEEL_S3_SECRET_KEY": SECRET,
            "FLYTEWHEEL_ADMIN_KEY": SECRET,
            "FLYTEWHEEL_ASSIGNMENT_KEY": SECRET,
        }
        plain = {key: value for key, value in os.environ.items() if not key.startswith("FLYTEWHEEL_")}
        port = find_port()
        arguments = [sys.executable, "-m", "router", "--port", str(port), "--workers", "1"]
        started = run_contestant(folder, "ours", (port, arguments), environ=plain | environ, settle_s=0.6)
        ours = cleanup.enter_context(started)
        versions = _register(folder, home, ObjectStore(environ["FLYTEWHEEL_S3_URL"], *access.values()), upstream)
        _ask(port, "PUT", f"/models/{NAME}/champion", {"version": versions["control"]})
        _ask(port, "POST", "/experiments", {"name": NAME, **versions, "share": SHARE, "launch_key": "benchmark"})
        deadline = time.monotonic() + READY_S
        while _ask(port, "GET", "/healthz")["status"] != "ready":
            if time.monotonic() > deadline:
                raise SystemExit(f"ours is not ready within {READY_S:g} s: {_ask(port, 'GET', '/healthz')['reasons']}")
            time.sleep(0.1)
        yield ours


def _register(folder: Path, home: Path, store: ObjectStore, upstream: int) -> dict[str, str]:
    """The versions of both arms, by arm."""
    ring = KeyRing(home)
    ensure_home_key(ring)
    registry = seal_registry(store, ring)
    versions = {}
    for arm in ("control", "treatment"):
        form = folder / arm / "upstream.json"
        form.parent.mkdir()
        told = {"url": f"http://127.0.0.1:{upstream}/v1", "model": f"demo-{arm}", "allow": ["127.0.0.1"]}
        form.write_text(json.dumps(told))
        facts = {"kind": "upstream"}
        made = registry.register(NAME, {form.name: form}, facts=facts, key=arm, now=datetime.now(UTC))
        versions[arm] = made.version
    return versions


def _ask(port: int, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {SECRET}"}
    answer = httpx.request(
        method, f"http://127.0.0.1:{port}{path}", json=body, headers=headers, timeout=READY_S, trust_env=False
    )
    if answer.is_error:
        raise SystemExit(f"ours: {method} {path} answers {answer.status_code}: {answer.text[:500]}")
    return answer.json()
