"""A version as a folder that needs no registry: its files, and what proves that they are the version.

registry-manifest.json     the manifest, byte for byte: its SHA-256 is the version's digest
registry-signature.json    its signature, where one was stored
"""

from __future__ import annotations

from pathlib import Path

from flytewheel.errors import RegistryError
from registry.downloads import bring_files
from registry.manifest import Manifest
from registry.pointers import manifest_key
from registry.seal import signature_key
from registry.store import ObjectStore
from registry.told import Progress

MANIFEST = "registry-manifest.json"
SIGNATURE = "registry-signature.json"


def write_bundle(
    store: ObjectStore, manifest: Manifest, digest: str, to: Path, progress: Progress | None
) -> list[Path]:
    """Writes a version, whose pointer names `digest`, into folder `to`: a new one, or one that an earlier try left.

    Raises:
        RegistryError: the folder holds something else, or a file is missing from the store or corrupt in it.
    """
    what, own = f"{manifest.name} {manifest.version}", {MANIFEST, SIGNATURE}
    if taken := own & manifest.files.keys():
        raise RegistryError(f"{what} has a file {taken.pop()!r}, which an exported folder needs; download it")
    data = store.get_bytes(manifest_key(digest))
    Manifest.from_bytes(data, digest=digest)
    proof = to / MANIFEST
    if to.exists() and any(to.iterdir()) and not (proof.is_file() and proof.read_bytes() == data):
        raise RegistryError(f"{to} holds something else than {what}; give a folder that is new or empty")
    to.mkdir(parents=True, exist_ok=True)
    proof.write_bytes(data)
    written = [proof]
    if (signature := store.read(signature_key(digest))) is not None:
        (to / SIGNATURE).write_bytes(signature.data)
        written.append(to / SIGNATURE)
    return [*bring_files(store, manifest, to, None, progress), *written]
