"""schemathesis over the whole OpenAPI of a router: `python -m benchmarks.fuzzed [--quick] [--role NAME] [--json FILE]`.

Every operation of `/openapi.json` of a real router with a model, as each role (root, each scope, nobody): examples,
boundary cases (coverage) and random ones (fuzzing), valid and invalid. No answer may be a 5xx, or of a status that the
description does not know. All roles together take more than an hour, so each can be run by itself (`--role`), and
schemathesis's own output is passed on while it works, with the requests that the router has answered so far every half
minute. One worker: with two threads CPython 3.11's parser ends in "AST constructor recursion depth mismatch" while
Hypothesis describes a lambda.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import Goal, report
from flytewheel.api_keys import create_key
from tests.router.hosting import host_router
from tests.router.live import ADMIN_KEY, ROOT, LiveRouter

EXAMPLES, QUICK = 150, 8
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "ignored_auth",
)
ROLES: Mapping[str, tuple[str, ...]] = {
    "serve": ("serve",),
    "feedback": ("feedback",),
    "read": ("read",),
    "admin": ("admin",),
}  # beside the root key and nobody
EVERYBODY = ("root", "nobody", *ROLES)
PROGRESS_S = 30.0
LIMIT_S = 3 * 3600.0  # of one role


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What schemathesis said: operations tested, the line of failures where there are any, and all its output."""

    operations: int
    cases: int
    failed: bool
    said: str


def fuzz(
    router: LiveRouter,
    *,
    examples: int,
    key: str | None,
    seed: int = 7,
    phases: str = "examples,coverage,fuzzing",
    told: str | None = None,
) -> Fuzzed:
    """Runs schemathesis against a running router.

    Args:
        router: under test.
        examples: of each operation, and phase.
        key: that every request brings; None: none.
        seed: of the examples.
        phases: of schemathesis.
        told: the role that progress is printed for; None: nothing is.

    Raises:
        subprocess.TimeoutExpired: it took longer than `LIMIT_S`.
    """
    header = ["-H", f"Authorization: Bearer {key}"] if key else []
    with tempfile.TemporaryDirectory(prefix="flytewheel-fuzzed-") as folder:
        command = [
            str(Path(sys.executable).parent / "schemathesis"), "run", f"{router.url}/openapi.json", "--url", router.url,
            "--checks", ",".join(CHECKS), "--max-examples", str(examples), "--seed", str(seed), "--phases", phases,
            "--workers", "1", "--max-redirects", "0", "--request-timeout", "60", "--suppress-health-check", "all",
            "--no-color", "--continue-on-failure", "--exclude-path", "/v1/rewards",
            "--warnings", "off", "--generation-database", "none", *header,
        ]  # fmt: skip
        said, failed = _run(command, folder, router, told)
    return Fuzzed(_find_count(said, "Tested:"), _find_count(said, "test cases:", before=True), failed, said)


def _run(command: Sequence[str], folder: str, router: LiveRouter, told: str | None) -> tuple[str, bool]:
    """What the command said, and whether it failed; what it says is passed on meanwhile."""
    began, over = time.monotonic(), threading.Event()
    lines: list[str] = []
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=_environment()
    ) as run:
        assert run.stdout is not None

        def watch() -> None:
            while not over.wait(PROGRESS_S):
                taken_s = time.monotonic() - began
                if told is not None:
                    print(f"{told}: {taken_s:.0f} s, {count_answers(router)} requests answered", flush=True)
                if taken_s > LIMIT_S:
                    run.kill()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            for line in run.stdout:
                lines.append(line)
                if told is not None and line.strip():
                    print(f"{told}: {line}", end="", flush=True)
            code = run.wait()
        finally:
            over.set()
            watcher.join()
            run.kill()
    if code < 0 and time.monotonic() - began > LIMIT_S:
        raise subprocess.TimeoutExpired(command[0], LIMIT_S, "".join(lines))
    return "".join(lines), code != 0


def count_answers(router: LiveRouter) -> int:
    """How many requests the router's access log has: all, where it was started with one, since it was started."""
    with (router.home / "router.log").open("rb") as log:
        return sum(b'"router.requests"' in line for line in log)


def _environment() -> dict[str, str]:
    return {**os.environ, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}


def _find_count(said: str, mark: str, *, before: bool = False) -> int:
    """The number beside a word of the summary."""
    for line in said.splitlines():
        if mark.rstrip(":") in line:
            numbers = [
                int(word.replace(",", "")) for word in line.replace("/", " ").split() if word.replace(",", "").isdigit()
            ]
            if numbers:
                return numbers[0]
    return 0


def measure(quick: bool, role: Sequence[str] | None) -> list[Goal]:
    """Starts services and a router of its own; `role`: those that are tried, all where none is named."""
    examples, roles = QUICK if quick else EXAMPLES, role or EVERYBODY
    with (
        tempfile.TemporaryDirectory(prefix="flytewheel-fuzzed-") as folder,
        host_router(Path(folder), FLYTEWHEEL_ACCESS_LOG="1") as router,
    ):
        router.serve("demo", "stable")
        assert router.process is not None
        before = router.process.pid
        keys: dict[str, str | None] = {"root": ADMIN_KEY, "nobody": None}
        keys |= {who: create_key(router.database_url, scopes, name=who)[1] for who, scopes in ROLES.items()}
        found = {who: fuzz(router, examples=examples, key=keys[who], told=who) for who in roles}
        alive = router.process.poll() is None and router.process.pid == before
        log = (router.home / "router.log").read_text()
    return [
        *(Goal(f"runs that met a 5xx, {who}", int(each.failed), 0) for who, each in found.items()),
        Goal("tracebacks in the log", log.count("Traceback"), 0),
        Goal("crashes", int(not alive), 0),
        Goal("operations tested", min(each.operations for each in found.values()), 20, at_most=False),
    ]


if __name__ == "__main__":
    more: dict[str, dict[str, Any]] = {
        "role": {"action": "append", "choices": EVERYBODY, "help": "only this one; may be given several times"}
    }
    sys.exit(report(measure, __doc__ or "", more))
