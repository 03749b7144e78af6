"""Run as a child process: registers one version and is killed by SIGKILL before the n-th write, for every n asked.

    python registration.py URL ACCESS SECRET BUCKET FOLDER KILLS

Forks one process for each kill, each with a model name (`model-<n>`) and files (`FOLDER/<n>/`) of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.store import ObjectStore
from registry.versions import Registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WRITES = ("put_bytes", "put_file", "put_if_absent", "put_if_match")


def main(url: str, access: str, secret: str, bucket: str, folder: str, kills: str) -> None:
    for kill in range(int(kills)):
        files = {path.name: path for path in (Path(folder) / str(kill)).iterdir()}
        pid = os.fork()
        if pid == 0:
            store = ObjectStore(url, access, secret, bucket)
            store.probe()
            _arm(store, kill)
            Registry(store).register(f"model-{kill}", files, facts={}, key="run", now=NOW)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        print(kill, os.waitstatus_to_exitcode(status))


def _arm(store: ObjectStore, kill: int) -> None:
    left = kill

    def armed(write: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return write(*args, **kwargs)

        return counted

    for name in WRITES:
        setattr(store, name, armed(getattr(store, name)))


if __name__ == "__main__":
    main(*sys.argv[1:])
