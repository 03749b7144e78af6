"""One process at a time in a checkpoint directory. The kernel drops the lock when its holder dies: none is stale."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flytewheel.errors import CheckpointError


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process; the lock lies beside it, so that the folder may be moved away.

    Raises:
        CheckpointError: another process is at work in it.
    """
    path = folder.parent / "locks" / folder.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{folder}: another process is training here; wait for it, or stop it") from None
        yield
