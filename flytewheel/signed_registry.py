"""The registry as every command, task and router opens it: with this machine's seal, and a look at every file.

Nothing is read from it that no trusted key has signed, and no file comes in or goes out that is not what its name says
(`weights.check_file`: a pickle named .safetensors, a GGUF whose header lies). A registry opened without these is for
looking only.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from flytewheel import weights
from flytewheel.signing_keys import KeyRing
from registry.store import ObjectStore
from registry.versions import Registry

if TYPE_CHECKING:
    from flytewheel.local.services import Services


def open_registry(services: Services) -> Registry:
    """The registry of these services, which signs with their key where they have one.

    Raises:
        StoreError: the store is away, or refuses the keys.
    """
    from flytewheel.turn_training import open_store  # here, so that a router need not load what trains

    return seal_registry(open_store(services), services.key_ring)


def seal_registry(store: ObjectStore, ring: KeyRing, *, sign: bool = True) -> Registry:
    """The registry in `store`; with `sign` off it only reads."""
    return Registry(store, seal=ring.open_seal(sign=sign), inspect=inspect_file)


def inspect_file(file: Path, name: str) -> None:
    """Looks at a file of a version by its content; `name` is its name inside the version.

    Raises:
        BaseModelError: what it is, and the next step.
    """
    weights.check_file(file, "export it again", called=PurePosixPath(name))
