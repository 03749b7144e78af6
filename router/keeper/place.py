"""Where the processes of one router meet: a socket and a folder of counts, named after its first process, so that they
are the same for every keeper that it starts.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from router.paths import name_metrics
from router.server import Certificate

_PATH_LIMIT = 100  # of a Unix socket: 108 bytes on Linux, 104 on macOS


@dataclass(frozen=True, slots=True)
class Options:
    """How a router is run, beside its settings; `path` is where its processes meet."""

    path: Path
    certificate: Certificate | None = None


def choose_place(home: Path) -> Path:
    """The path of the keeper's socket, in a folder that only this user may enter, short enough for a socket."""
    folder = home / "router"
    if len(os.fsencode(folder / "keeper-4194304.sock")) > _PATH_LIMIT:
        return Path(tempfile.mkdtemp(prefix="flytewheel-")) / f"keeper-{os.getpid()}.sock"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for left in folder.glob("keeper-*"):  # of routers that were killed
        with suppress(OSError, ValueError):
            if not Path(f"/proc/{int(left.stem.partition('-')[2])}").exists():
                clear_place(left.with_suffix(".sock"), home)
    return folder / f"keeper-{os.getpid()}.sock"


def clear_place(path: Path, home: Path) -> None:
    """Removes what a router had there."""
    path.unlink(missing_ok=True)
    shutil.rmtree(name_metrics(path), ignore_errors=True)
    if path.parent != home / "router":
        with suppress(OSError):
            path.parent.rmdir()
