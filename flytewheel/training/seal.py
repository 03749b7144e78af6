"""Seals a checkpoint with the digests of its files, so that only what training wrote is ever read back.

The seal also says what the checkpoint belongs to, so that one that is found alone can be told: `training` holds the
data's digest, the recipe and its digest, the seed, the code (`checkpoints.Manifest`), whose it is, and `step`.

The optimiser and the random states in a checkpoint are pickles, by transformers' format. transformers 5.23 reads them
with `weights_only=True`, which builds tensors and refuses everything else; the seal is the second lock: a file that was
changed, added or taken away since (a disk fault, a copy that broke off, another's hand) stops the resuming by name. It
is no signature: who may write the files may write the seal as well, and then meets the first lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flytewheel.errors import CheckpointError
from flytewheel.records import file_digest, to_jsonable

SEAL = "complete"


def write_seal(folder: Path, step: int, training: Mapping[str, Any] | None = None) -> None:
    """Writes the seal of a checkpoint that is whole, in one rename; about a second a gigabyte."""
    partial = folder / f".{SEAL}.partial"
    partial.unlink(missing_ok=True)
    content = {"step": step, "files": _digest_files(folder), "training": to_jsonable(training or {})}
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, folder / SEAL)


def read_seal(folder: Path) -> dict[str, Any]:
    """What the seal of a checkpoint says: `step`, `files` (digest by name) and `training`.

    Raises:
        CheckpointError: there are no digests to compare with.
    """
    try:
        content: Any = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return {"step": content["step"], "files": dict(content["files"]), "training": dict(content["training"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(
            f"{folder / SEAL}: expected the digests of the checkpoint's files; {_next_step(folder)}"
        ) from None


def check_seal(folder: Path) -> dict[str, Any]:
    """Compares a checkpoint with its seal, and gives what the seal says it belongs to.

    Raises:
        CheckpointError: a file differs, is missing or was added, or there are no digests to compare with.
    """
    content = read_seal(folder)
    sealed, found = content["files"], _digest_files(folder)
    for name in sorted(sealed.keys() | found.keys()):
        if sealed.get(name) != found.get(name):
            what = "is missing" if name not in found else "was changed" if name in sealed else "was added"
            raise CheckpointError(f"{folder / name}: {what} since training wrote the checkpoint; {_next_step(folder)}")
    return dict(content["training"])


def _next_step(folder: Path) -> str:
    return f"remove {folder} to go on from an older checkpoint, or to train afresh"


def _digest_files(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SEAL)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
