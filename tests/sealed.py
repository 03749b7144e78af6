"""Keys for tests: a home with a signing key, and registries that sign with it."""

from __future__ import annotations

from pathlib import Path

from flytewheel.signed_registry import seal_registry
from flytewheel.signing_keys import KeyRing, ensure_home_key
from registry.store import ObjectStore
from registry.versions import Registry


def sealed_registry(store: ObjectStore, home: Path) -> Registry:
    """The registry in `store`, signing with the key of `home`, which is made where there is none."""
    ring = KeyRing(home)
    ensure_home_key(ring)
    return seal_registry(store, ring)
