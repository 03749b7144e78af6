"""What proves who made a version: a signature beside its manifest, written before the commit, asked for at every read.

    signatures/<manifest digest>.json    what `Seal.sign` gave for this manifest

A registry without a seal writes none and asks for none; one with a seal returns no manifest that its seal refuses.
"""

from __future__ import annotations

from typing import Protocol

from registry.manifest import Manifest
from registry.pointers import read_manifest
from registry.store import ObjectStore

SIGNATURES = "signatures/"


class Seal(Protocol):
    """Signs manifests and checks their signatures."""

    def sign(self, manifest: Manifest) -> bytes:
        """The signature of a manifest, as it is stored."""
        ...

    def check(self, manifest: Manifest, signature: bytes | None) -> None:
        """Accepts a stored signature, or says why not.

        Args:
            manifest: What was read, right by its own digest.
            signature: What is stored beside it; None where nothing is.

        Raises:
            RegistryError: the manifest is not to be trusted.
        """
        ...


def signature_key(manifest_digest: str) -> str:
    """The key of the signature of the manifest with this digest."""
    return f"{SIGNATURES}{manifest_digest}.json"


def read_sealed(store: ObjectStore, seal: Seal | None, manifest_digest: str) -> Manifest:
    """A manifest that must be there, and that the seal, if there is one, accepts.

    Raises:
        RegistryError: it is not there, was changed, or the seal refuses it.
    """
    manifest = read_manifest(store, manifest_digest)
    if seal is not None:
        found = store.read(signature_key(manifest_digest))
        seal.check(manifest, found.data if found else None)
    return manifest
