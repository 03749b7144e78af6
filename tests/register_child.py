"""Run as a child process: registers one turn's versions and is killed by SIGKILL before the n-th write, for growing n.

    python register_child.py SERVICES EXPORTED RUN…

SERVICES is the JSON of the services' environment. Forks one process for each run id given, the n-th killed before its
n-th write to the object store, and prints how each ended; stops after the first that came to its end.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import model_signing.signing  # noqa: F401  (here, or each fork would load them anew)
import safetensors.numpy  # noqa: F401

from benchmarks.registry_faults import arm
from flytewheel import release, runs
from flytewheel.local.services import Services, find_services
from flytewheel.settings import read_settings
from registry.versions import Registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def main(services: str, exported: str, *run_ids: str) -> None:
    for heavy in ("model_signing.signing", "model_signing.verifying", "model_signing.hashing", "cyclonedx.model.bom"):
        import_module(heavy)  # once, and not in each of the forks
    found = find_services(read_settings(json.loads(services)))
    for kill, run_id in enumerate(run_ids):
        pid = os.fork()
        if pid == 0:
            _arm_after_opening(kill)
            run = runs.read_run(found.database_url, run_id)
            release.register_versions(found, run, Path(exported), champion="", now=NOW)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(code, flush=True)
        if code == 0:
            break


def _arm_after_opening(kill: int) -> None:
    """Counts what is written after the store was probed."""
    open_registry = release.open_registry

    def opened(services: Services) -> Registry:
        registry = open_registry(services)
        arm(kill)
        return registry

    release.open_registry = opened  # type: ignore[assignment]


if __name__ == "__main__":
    main(*sys.argv[1:])
