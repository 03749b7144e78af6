"""A downloaded version as a folder that proves itself: its files, its manifest, one signature.

Written and checked without the store, so that whoever is handed a folder can hold it against a public key alone. A
folder is right when the signature is a trusted key's, and when every file is there, unchanged, and no other is.
Departs from `model-signing`'s own check in that nothing is passed over: git's files and links count as extra.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flytewheel.errors import RegistryError, SigningError
from flytewheel.records import file_digest
from registry.manifest import Manifest
from registry.signing import PROVENANCE, SIGNATURE, KeySeal
from registry.told import Progress, tell

FileState = Literal["ok", "changed", "missing", "extra"]


@dataclass(frozen=True, slots=True)
class FolderFile:
    """One file of a folder, and how it stands to the manifest."""

    path: str
    state: FileState


def write_proof(folder: Path, manifest: Manifest, signature: bytes) -> None:
    """Puts the manifest and one signature (what `Seal.check` gave) beside a version's downloaded files."""
    for name, data in ((PROVENANCE, manifest.to_bytes()), (SIGNATURE, signature)):
        part = folder / f".{name}.part"
        part.write_bytes(data)
        part.replace(folder / name)


def check_folder(folder: Path, seal: KeySeal, *, progress: Progress | None = None) -> tuple[Manifest, list[FolderFile]]:
    """Holds a downloaded folder against its own manifest, and that against the trusted keys.

    Args:
        folder: What `flytewheel models download` wrote.
        seal: Knows the trusted keys.
        progress: Told the MiB that are read, after each file.

    Returns:
        The manifest, and every file of it or of the folder in the order of names. Right is a folder with `ok` alone.

    Raises:
        RegistryError: there is no manifest or signature in the folder, they cannot be read, or no trusted key signed.
    """
    manifest = _read_manifest(folder)
    seal.check(manifest, _read_signature(folder))
    there = set(_list_paths(folder)) - {PROVENANCE, SIGNATURE}
    sizes = {path: file.size for path, file in manifest.files.items() if path in there}
    states: dict[str, FileState] = {path: "missing" for path in manifest.files}
    states |= {path: "extra" for path in there if path not in manifest.files}
    for path in tell(f"verify {folder.name}, MiB", sizes, progress):
        states[path] = _compare(folder / path, manifest.files[path].size, manifest.files[path].sha256)
    return manifest, [FolderFile(path, state) for path, state in sorted(states.items())]


def _compare(path: Path, size: int, sha256: str) -> FileState:
    plain = path.is_file() and not path.is_symlink()
    return "ok" if plain and path.stat().st_size == size and file_digest(path) == sha256 else "changed"


def _list_paths(folder: Path) -> Iterator[str]:
    """Everything in the folder that is not a folder; links are not followed."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _read_manifest(folder: Path) -> Manifest:
    data = _read(folder / PROVENANCE)
    try:
        return Manifest.from_bytes(data, digest=hashlib.sha256(data).hexdigest())
    except RegistryError:
        raise SigningError(
            f"{folder / PROVENANCE}: is not the manifest that was written; download the version again"
        ) from None


def _read_signature(folder: Path) -> bytes:
    """The file's one signature in the form of the store."""
    return b"[" + _resort(_read(folder / SIGNATURE)) + b"]"


def _resort(data: bytes) -> bytes:
    """The same JSON with sorted keys, as far as it is JSON; the rest is said by who reads it next."""
    try:
        return json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningError(
            f"{path}: cannot be read ({error.strerror}), so nothing vouches for this folder; bring it with "
            "`flytewheel models download`"
        ) from None
