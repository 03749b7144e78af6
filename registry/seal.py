"""What proves who made a version: a signature beside its manifest, written before the commit, asked for at every read.

    signatures/<manifest digest>.json    what `Seal.sign` gave for this manifest

A registry without a seal writes none and asks for none; one with a seal returns no manifest that its seal refuses.
"""

from __future__ import annotations

from typing import Protocol

from registry.manifest import Manifest
from registry.store import ObjectStore


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
    return f"signatures/{manifest_digest}.json"


def check_sealed(store: ObjectStore, seal: Seal, manifest: Manifest, manifest_digest: str) -> None:
    """Reads the signature of a manifest and has it checked.

    Raises:
        RegistryError: the seal refuses it.
    """
    found = store.read(signature_key(manifest_digest))
    seal.check(manifest, found.data if found else None)
