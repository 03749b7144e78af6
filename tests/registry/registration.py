"""Run as a child process: registers one version and is killed by SIGKILL before the n-th write, for every n asked.

    python registration.py URL ACCESS SECRET BUCKET FOLDER KILLS

Forks one process for each kill, each with a model name (`model-<n>`) and files (`FOLDER/<n>/`) of its own.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.registry_faults import arm
from registry.store import ObjectStore
from registry.versions import Registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def main(url: str, access: str, secret: str, bucket: str, folder: str, kills: str) -> None:
    for kill in range(int(kills)):
        files = {path.name: path for path in (Path(folder) / str(kill)).iterdir()}
        pid = os.fork()
        if pid == 0:
            store = ObjectStore(url, access, secret, bucket)
            store.probe()
            arm(kill)
            Registry(store).register(f"model-{kill}", files, facts={}, key="run", now=NOW)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        print(kill, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
