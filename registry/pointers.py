"""The commit point: a version is what its pointer names.

versions/<name>/<version>    the digest of its manifest, and the claim that it belongs to
manifests/<digest>.json      what it consists of
"""

from __future__ import annotations

from flytewheel.errors import RegistryError
from registry.claims import VERSIONS
from registry.manifest import Manifest
from registry.slips import read_slip
from registry.store import ObjectStore

MANIFESTS = "manifests/"


def pointer_key(name: str, version: str) -> str:
    """Where a version's pointer lies."""
    return f"{VERSIONS}{name}/{version}"


def manifest_key(digest: str) -> str:
    """Where the manifest with this digest lies."""
    return f"{MANIFESTS}{digest}.json"


def read_pointer(store: ObjectStore, name: str, version: str) -> dict[str, str] | None:
    """What a version points to: `manifest`, and the `key` of its claim; None where there is no such version.

    Raises:
        RegistryError: the pointer was changed.
    """
    key = pointer_key(name, version)
    found = store.read(key)
    return read_slip(key, found.data) if found else None


def read_manifest(store: ObjectStore, digest: str) -> Manifest:
    """A manifest that must be there.

    Raises:
        RegistryError: it is not, or was changed.
    """
    found = store.read(manifest_key(digest))
    if found is None:
        raise RegistryError(f"manifest {digest} is missing from the store; restore it")
    return Manifest.from_bytes(found.data, digest=digest)
