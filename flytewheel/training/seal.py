"""Seals a checkpoint with the digests of its files, so that only what training wrote is ever read back.

The optimiser and the random states in a checkpoint are pickles, by transformers' format. transformers 5.23 reads them
with `weights_only=True`, which builds tensors and refuses everything else; the seal is the second lock: a file that was
changed, added or taken away since (a disk fault, a copy that broke off, another's hand) stops the resuming by name. It
is no signature: who may write the files may write the seal as well, and then meets the first lock.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flytewheel.errors import CheckpointError
from flytewheel.records import file_digest

SEAL = "complete"


def write_seal(folder: Path, step: int) -> None:
    """Writes the seal of a checkpoint that is whole, in one rename; about a second a gigabyte."""
    partial = folder / f".{SEAL}.partial"
    partial.unlink(missing_ok=True)
    content = {"step": step, "files": _digest_files(folder)}
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, folder / SEAL)


def check_seal(folder: Path) -> None:
    """Compares a checkpoint with its seal.

    Raises:
        CheckpointError: a file differs, is missing or was added, or there are no digests to compare with.
    """
    next_step = f"remove {folder} to go on from an older checkpoint, or to train afresh"
    try:
        content: Any = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        sealed = dict(content["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"{folder / SEAL}: expected the digests of the checkpoint's files; {next_step}") from None
    found = _digest_files(folder)
    for name in sorted(sealed.keys() | found.keys()):
        if sealed.get(name) != found.get(name):
            what = "is missing" if name not in found else "was changed" if name in sealed else "was added"
            raise CheckpointError(f"{folder / name}: {what} since training wrote the checkpoint; {next_step}")


def _digest_files(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SEAL)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
