"""One process at a time in a checkpoint directory. The kernel drops the lock when its holder dies: none is stale."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flytewheel.errors import CheckpointError

_PATIENCE_S = 0.5  # who only looks whether somebody is at work holds the lock for a moment, too


@contextmanager
def lock_folder(folder: Path, *, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Holds `folder` for this process; the lock lies beside it, so that the folder may be moved away.

    Raises:
        CheckpointError: another process is at work in it, for longer than `patience_s`.
    """
    path = folder.parent / "locks" / folder.name
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise CheckpointError(
                        f"{folder}: another process is training here; wait for it, or stop it"
                    ) from None
                time.sleep(0.01)
        yield


def is_busy(folder: Path) -> bool:
    """Whether a process is at work in `folder`."""
    try:
        with lock_folder(folder, patience_s=0):
            return False
    except CheckpointError:
        return True
