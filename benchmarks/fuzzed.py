"""schemathesis over the whole OpenAPI of a router: `python -m benchmarks.fuzzed [--quick] [--json FILE]`.

Every operation of `/openapi.json` of a real router with a model, as each role (root, each scope, nobody): examples,
boundary cases (coverage) and random ones (fuzzing), valid and invalid. No answer may be a 5xx, or of a status that the
description does not know. One worker: with two threads
CPython 3.11's parser ends in "AST constructor recursion depth mismatch" while Hypothesis describes a lambda.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What schemathesis said: operations tested, the line of failures where there are any, and all its output."""

    operations: int
    cases: int
    failed: bool
    said: str


def fuzz(
    router: LiveRouter, *, examples: int, key: str | None, seed: int = 7, phases: str = "examples,coverage,fuzzing"
) -> Fuzzed:
    """Runs schemathesis against a running router."""
    header = ["-H", f"Authorization: Bearer {key}"] if key else []
    with tempfile.TemporaryDirectory(prefix="flytewheel-fuzzed-") as folder:
        command = [
            str(Path(sys.executable).parent / "schemathesis"), "run", f"{router.url}/openapi.json", "--url", router.url,
            "--checks", ",".join(CHECKS), "--max-examples", str(examples), "--seed", str(seed), "--phases", phases,
            "--workers", "1", "--max-redirects", "0", "--request-timeout", "60", "--suppress-health-check", "all",
            "--no-color", "--continue-on-failure", "--exclude-path", "/v1/rewards",
            "--warnings", "off", "--generation-database", "none", *header,
        ]  # fmt: skip
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=3600, env=_environment())
    said = run.stdout + run.stderr
    return Fuzzed(
        _find_count(said, "Tested:"), _find_count(said, "test cases:", before=True), run.returncode != 0, said
    )


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


def measure(quick: bool) -> list[Goal]:
    """Starts services and a router of its own."""
    examples = QUICK if quick else EXAMPLES
    with tempfile.TemporaryDirectory(prefix="flytewheel-fuzzed-") as folder, host_router(Path(folder)) as router:
        router.serve("demo", "stable")
        assert router.process is not None
        before = router.process.pid
        keys: dict[str, str | None] = {"root": ADMIN_KEY, "nobody": None}
        keys |= {who: create_key(router.database_url, scopes, name=who)[1] for who, scopes in ROLES.items()}
        found: dict[str, Fuzzed] = {}
        for who, key in keys.items():  # told one by one: all of them take half an hour
            each = found[who] = fuzz(router, examples=examples, key=key)
            print(f"--- {who}")
            print("\n".join(each.said.splitlines()[-150 if each.failed else -12 :]), flush=True)
        alive = router.process.poll() is None and router.process.pid == before
        log = (router.home / "router.log").read_text()
    return [
        *(Goal(f"runs that met a 5xx, {who}", int(each.failed), 0) for who, each in found.items()),
        Goal("tracebacks in the log", log.count("Traceback"), 0),
        Goal("crashes", int(not alive), 0),
        Goal("operations tested", min(each.operations for each in found.values()), 20, at_most=False),
    ]


if __name__ == "__main__":
    sys.exit(report(measure, __doc__ or ""))
