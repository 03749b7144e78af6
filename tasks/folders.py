"""Folders that tasks pass on, cached by their content rather than by where they lie."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from flytekit import HashMethod, current_context
from flytekit.types.directory import FlyteDirectory

from flytewheel.records import digest, file_digest


def hash_folder(folder: FlyteDirectory) -> str:
    """Digest over every file of a folder, by relative name."""
    root = Path(folder.download())
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return digest({path.relative_to(root).as_posix(): file_digest(path) for path in files})


HashedDirectory = Annotated[FlyteDirectory, HashMethod(hash_folder)]


def new_folder(name: str) -> Path:
    """A fresh folder of this task, named for its content."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=current_context().working_directory))
