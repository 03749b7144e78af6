"""Versions on their way out: every file is hashed before it gets its name, and can be hashed where it lies."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from flytewheel.errors import RegistryError
from registry.blobs import BlobState, Inspect, bring_file, check_blob
from registry.manifest import Manifest, check_path
from registry.store import ObjectStore
from registry.told import Meter, Progress


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What `verify` found for one file."""

    path: str
    state: BlobState
    sha256: str
    size: int


def bring_files(
    store: ObjectStore,
    manifest: Manifest,
    to: Path,
    only: Collection[str] | None,
    progress: Progress | None,
    inspect: Inspect | None = None,
) -> list[Path]:
    """Brings the files of a version into folder `to`; see `Registry.download`."""
    wanted = sorted(manifest.files if only is None else only)
    what = f"{manifest.name} {manifest.version}"
    unknown = [path for path in wanted if path not in manifest.files]
    if unknown:
        raise RegistryError(f"{what}: no file {unknown[0]!r}; it has {', '.join(manifest.files)}")
    for path in wanted:
        check_path(path)
    meter = Meter(f"download {manifest.name}, MiB", sum(manifest.files[path].size for path in wanted), progress)
    return [
        bring_file(store, f"{what}: {path}", manifest.files[path], to / path, meter.add, inspect=inspect)
        for path in wanted
    ]


def check_files(store: ObjectStore, manifest: Manifest, progress: Progress | None = None) -> list[FileCheck]:
    """Reads every file of a version in the store and hashes it."""
    meter = Meter(f"verify {manifest.name}, MiB", manifest.size, progress)
    return [
        FileCheck(path, check_blob(store, file, meter.add), file.sha256, file.size)
        for path, file in sorted(manifest.files.items())
    ]
