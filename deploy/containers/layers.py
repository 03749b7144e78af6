"""Image layers and OCI archives, packed so that the same files give the same digests.

A layer is a tar whose members are sorted, dated alike and owned by root; an archive is an OCI image layout in one tar,
as `ctr images import` takes it. Layers are not compressed: they are never sent anywhere, and a digest over gzip would
depend on who compressed. Source: the OCI image format specification 1.0 (media types, layout, diff ids).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

EPOCH_S = 1_700_000_000  # the date of every file: one that is not before those of zip archives, and is always the same
_CHUNK = 1 << 20
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Layer:
    """A tar on disk, `size` bytes long, with `digest` as `sha256:…`; since it is not compressed, its diff id too."""

    path: Path
    digest: str
    size: int


def pack_folder(folder: Path, target: Path, *, into: str, skip: Callable[[str], bool] = lambda name: False) -> Layer:
    """Packs what lies under `folder` as a layer that lays it under `into`, the folders above it made, too.

    Args:
        folder: whose content is packed.
        target: the layer's file, written in one step.
        into: absolute path in the image.
        skip: says by relative path what stays out, a folder with all that is in it.

    Returns:
        The layer.
    """
    root = PurePosixPath(into).relative_to("/")
    with _replaced(target) as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for above in [*reversed(root.parents), root]:
            if above.name:
                tar.addfile(_plain(tarfile.TarInfo(str(above)), tarfile.DIRTYPE, 0o755))
        for name in _walk(folder, skip):
            _add(tar, folder / name, str(root / name))
    return read_layer(target)


def read_layer(path: Path) -> Layer:
    """A layer that lies on disk."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            found.update(block)
    return Layer(path, f"sha256:{found.hexdigest()}", path.stat().st_size)


def pack_image(target: Path, name: str, layers: Sequence[Layer], config: Mapping[str, Any], tell: Tell) -> str:
    """Writes an OCI archive with one image.

    Args:
        target: the archive, written in one step.
        name: with its tag.
        layers: from the lowest to the uppermost.
        config: `Env`, `WorkingDir`, `User`, `Entrypoint` …, as the specification has it.
        tell: how many MiB are written.

    Returns:
        The digest of the manifest, which is that of the image.
    """
    history = [{"created_by": layer.path.name} for layer in layers]
    described = _blob(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": history,
        }
    )
    manifest = _blob(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _point(_CONFIG, described),
            "layers": [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
    )
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    index = _blob({"schemaVersion": 2, "manifests": [_point(_MANIFEST, manifest) | {"annotations": names}]})
    total = sum(layer.size for layer in layers) >> 20
    with _replaced(target) as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _put(tar, "oci-layout", _blob({"imageLayoutVersion": "1.0.0"}))
        _put(tar, "index.json", index)
        for blob in (described, manifest):
            _put(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        done = 0
        for layer in dict.fromkeys(layers):
            header = tarfile.TarInfo(f"blobs/sha256/{layer.digest.removeprefix('sha256:')}")
            header.size = layer.size
            with layer.path.open("rb") as content:
                tar.addfile(_plain(header, tarfile.REGTYPE, 0o644), content)
            done += layer.size
            tell(f"pack {name} (MiB)", done >> 20, total)
    return _sum(manifest)


@contextmanager
def _replaced(target: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is whole."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as stream:
            yield stream
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _walk(folder: Path, skip: Callable[[str], bool]) -> Iterable[str]:
    """Relative paths, a folder before what it holds, sorted by their parts."""
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        inside = os.path.relpath(place, folder)
        names = [name if inside == "." else f"{inside}/{name}" for name in (*folders, *files)]
        kept = {name for name in names if not skip(name)}
        folders[:] = [name for name in folders if (name if inside == "." else f"{inside}/{name}") in kept]
        found += kept
    return sorted(found, key=lambda name: name.split("/"))


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    status = path.lstat()
    header = tarfile.TarInfo(name)
    if stat.S_ISLNK(status.st_mode):
        header.linkname = os.readlink(path)
        tar.addfile(_plain(header, tarfile.SYMTYPE, 0o777))
    elif stat.S_ISDIR(status.st_mode):
        tar.addfile(_plain(header, tarfile.DIRTYPE, 0o755))
    elif stat.S_ISREG(status.st_mode):
        header.size = status.st_size
        with path.open("rb") as content:  # hard links become files of their own: nothing of what is packed has many
            tar.addfile(_plain(header, tarfile.REGTYPE, 0o755 if status.st_mode & 0o111 else 0o644), content)


def _plain(header: tarfile.TarInfo, kind: bytes, mode: int) -> tarfile.TarInfo:
    header.type, header.mode, header.mtime = kind, mode, EPOCH_S
    header.uid = header.gid = 0
    header.uname = header.gname = ""
    return header


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(_plain(header, tarfile.REGTYPE, 0o644), io.BytesIO(content))


def _blob(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _sum(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _point(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _sum(blob), "size": len(blob)}
