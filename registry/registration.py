"""How files become a version: claim, hold, upload, manifest, signature and, last, the pointer that commits.

Each step can be the last one that a killed publisher took, and each can be taken again: the same key finds its claim,
the blobs that are there are not sent again, and manifest and signature have names that depend on what they say. Of
those who try for one number one wins, all others go on to the next, after a wait that grows with each race lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flytewheel.errors import RegistryError
from registry.blobs import hash_file, keep_file
from registry.claims import Claim, Claims
from registry.journal import write_event
from registry.manifest import Manifest, StoredFile, check_name, check_path, plain_facts
from registry.pointers import manifest_key, pointer_key, read_pointer
from registry.seal import Seal, read_sealed, signature_key
from registry.slips import write_slip
from registry.store import ObjectStore
from registry.told import Meter, Progress

_TRIES = 1000  # each lost race means that another writer finished; so many in a row mean that something is wrong
_FIRST_WAIT_S = 0.02  # about what a commit takes on a store in the same room
_LONGEST_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be registered; see `Registry.register`. Everything that can be wrong with it is said before a write.

    Raises:
        RegistryError: a file is missing, a name is not allowed, or the facts have no JSON form.
    """

    name: str
    files: Mapping[str, Path]
    facts: Mapping[str, Any]
    key: str
    now: datetime
    base_version: bool

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.now.tzinfo is None:
            raise ValueError("now needs a time zone")
        if not self.files:
            raise RegistryError(f"{self.name}: no files to register")
        for path, file in self.files.items():
            check_path(path)
            if not file.is_file():
                raise RegistryError(f"{self.name}: file {path!r} is not there ({file}); export again")
        object.__setattr__(self, "facts", plain_facts(self.facts))

    def to_manifest(self, claim: Claim, stored: Mapping[str, StoredFile]) -> Manifest:
        """The manifest of the version that `claim` tries for."""
        return Manifest(
            name=self.name,
            version=str(claim.version),
            created_at=claim.started,
            key=self.key,
            files=dict(stored),
            facts=dict(self.facts),
        )


class Registrations:
    """Registers into one store; `pause` waits for so many seconds."""

    def __init__(self, store: ObjectStore, seal: Seal | None, pause: Callable[[float], None]) -> None:
        self._store = store
        self._seal = seal
        self._pause = pause
        self._claims = Claims(store)

    def register(self, asked: Request, progress: Progress | None) -> Manifest:
        """Makes a version of what was asked, or returns the one that its key has; see `Registry.register`."""
        self._store.probe()
        found = self._claims.find(asked.name, asked.key)
        if found and (owner := self._owner(found)) and owner["key"] == found.place:
            return self._finish(asked.name, owner)
        hashed = _hash(asked, progress)
        claim = self._take(asked, hashed)
        stored = self._keep(asked, hashed, progress)
        for lost in range(_TRIES):
            owner = self._owner(claim)
            if owner is None:
                if self._claims.reread(claim) != claim or not _digests(hashed) <= claim.holds:
                    # The hold ran out, or another writer with this key has moved it on: nothing kept may be relied on.
                    claim = self._take(asked, hashed)
                    stored = self._keep(asked, hashed, None)
                    continue
                owner = self._commit(asked.to_manifest(claim, stored), claim)
            if owner["key"] == claim.place:
                return self._finish(asked.name, owner)
            self._pause(wait_s(claim.place, lost))
            claim = self._claims.move(claim)
        raise RegistryError(f"{asked.name}: lost {_TRIES} races for a version in a row; try again when fewer register")

    def _take(self, asked: Request, hashed: Mapping[str, StoredFile]) -> Claim:
        return self._claims.take(asked.name, asked.key, asked.now, _digests(hashed), base=asked.base_version)

    def _keep(
        self, asked: Request, hashed: Mapping[str, StoredFile], progress: Progress | None
    ) -> dict[str, StoredFile]:
        """Uploads what is not there; a claim holds the digests."""
        meter = Meter(f"register {asked.name}, MiB", sum(file.size for file in hashed.values()), progress)
        return {path: keep_file(self._store, asked.files[path], file, meter.add) for path, file in hashed.items()}

    def _commit(self, manifest: Manifest, claim: Claim) -> dict[str, str]:
        """Writes manifest, signature and, last, the pointer to them, unless another key's is there.

        Returns:
            The pointer that is there now: whoever won, this key, here or elsewhere, or another one.
        """
        self._store.put_bytes(manifest_key(manifest.digest), manifest.to_bytes())
        if self._seal is not None:
            self._store.put_bytes(signature_key(manifest.digest), self._seal.sign(manifest))
        place = pointer_key(claim.name, str(claim.version))
        self._store.put_if_absent(place, write_slip(place, {"manifest": manifest.digest, "key": claim.place}))
        owner = self._owner(claim)
        if owner is None:
            raise RegistryError(f"{claim.name} {claim.version} went away when it was written; keep other tools out")
        return owner

    def _owner(self, claim: Claim) -> dict[str, str] | None:
        return read_pointer(self._store, claim.name, str(claim.version))

    def _finish(self, name: str, owner: Mapping[str, str]) -> Manifest:
        """The version that this key has, whose entry in the journal a kill may have taken."""
        manifest = read_sealed(self._store, self._seal, owner["manifest"])
        write_event(self._store, name, manifest.created_at, "register", {"version": manifest.version, **owner})
        return manifest


def _hash(asked: Request, progress: Progress | None) -> dict[str, StoredFile]:
    meter = Meter(f"hash {asked.name}, MiB", sum(file.stat().st_size for file in asked.files.values()), progress)
    return {path: hash_file(file, meter.add) for path, file in sorted(asked.files.items())}


def _digests(files: Mapping[str, StoredFile]) -> frozenset[str]:
    return frozenset(file.sha256 for file in files.values())


def wait_s(place: str, lost: int) -> float:
    """Seconds that a registration waits after its n-th lost race, so that n writers need about n tries, not n².

    Twice as long each time, up to a second; where in that span depends on the claim, so that no two of them agree.
    """
    share = int.from_bytes(hashlib.sha256(f"{place}:{lost}".encode()).digest()[:4], "big") / 2**32
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**lost) * share
