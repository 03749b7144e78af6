"""What proves who made a version: a signature beside its manifest, written before the commit, asked for at every read.

    signatures/<manifest digest>.json    what `Seal.sign` gave for this manifest

A registry without a seal writes none and asks for none; one with a seal returns no manifest that its seal refuses.
"""

from __future__ import annotations

from typing import Protocol

from flytewheel.errors import RegistryError
from registry.manifest import Manifest
from registry.pointers import read_manifest
from registry.store import ObjectStore

SIGNATURES = "signatures/"
_TRIES = 20


class Seal(Protocol):
    """Signs manifests and checks their signatures."""

    def sign(self, manifest: Manifest, earlier: bytes | None = None) -> bytes:
        """The signature of a manifest, as it is stored; `earlier` is what was stored before, by other keys."""
        ...

    def check(self, manifest: Manifest, signature: bytes | None) -> bytes:
        """Accepts a stored signature, or says why not.

        Args:
            manifest: What was read, right by its own digest.
            signature: What is stored beside it; None where nothing is.

        Returns:
            The one signature that goes along with a downloaded version (`folder`).

        Raises:
            RegistryError: the manifest is not to be trusted.
        """
        ...


def signature_key(manifest_digest: str) -> str:
    """The key of the signature of the manifest with this digest."""
    return f"{SIGNATURES}{manifest_digest}.json"


def read_sealed(store: ObjectStore, seal: Seal | None, manifest_digest: str) -> tuple[Manifest, bytes | None]:
    """A manifest that must be there and that the seal, if there is one, accepts; and the signature to hand on.

    Raises:
        RegistryError: it is not there, was changed, or the seal refuses it.
    """
    manifest = read_manifest(store, manifest_digest)
    if seal is None:
        return manifest, None
    found = store.read(signature_key(manifest_digest))
    return manifest, seal.check(manifest, found.data if found else None)


def sign_again(store: ObjectStore, seal: Seal, manifest: Manifest) -> None:
    """Signs a manifest that is there already, beside what other keys said of it (compare-and-set).

    Raises:
        RegistryError: the seal cannot sign it, or others sign it all the time.
    """
    key = signature_key(manifest.digest)
    for _ in range(_TRIES):
        found = store.read(key)
        signature = seal.sign(manifest, found.data if found else None)
        written = store.put_if_match(key, signature, found.etag) if found else store.put_if_absent(key, signature)
        if written is not None:
            return
    raise RegistryError(f"{key} changed {_TRIES} times under our hands; try again when fewer sign")
