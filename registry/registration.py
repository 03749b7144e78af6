"""How files become a version: claim, hold, upload, manifest, signature and, last, the pointer that commits.

Each step can be the last one that a killed publisher took, and each can be taken again: the same key finds its claim,
the blobs that are there are not sent again, and manifest and signature have names that depend on what they say. Of
those who try for one number one wins, all others go on to the next, after a wait that grows with each race lost.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flytewheel.errors import RegistryError
from registry.blobs import Inspect, hash_bytes, hash_file, keep_bytes, keep_file, look_at
from registry.claims import Claim, Claims
from registry.journal import write_event
from registry.manifest import Manifest, StoredFile, check_name, check_path, plain_facts
from registry.pointers import manifest_key, pointer_key, read_pointer
from registry.seal import Seal, read_sealed, signature_key
from registry.slips import write_slip
from registry.store import ObjectStore
from registry.told import Meter, Progress

_TRIES = 1000  # each lost race means that another writer finished; so many in a row mean that something is wrong
_LONGEST_WAIT_S = 30.0
_DOUBLINGS = 8


# Writes further files of a version out of what is known of it by then: name, version, facts, digests of its files.
Describe = Callable[[Manifest], Mapping[str, bytes]]


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
    describe: Describe | None = None

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
        """The manifest of the version that `claim` tries for, as far as its files are `stored`."""
        return Manifest(
            name=self.name,
            version=str(claim.version),
            created_at=claim.started,
            key=self.key,
            files=dict(stored),
            facts=dict(self.facts),
        )


class Registrations:
    """Registers into one store.

    `inspect` looks at every file, `pause` waits for so many seconds, `monotonic` tells how long a try took.
    """

    def __init__(
        self,
        store: ObjectStore,
        seal: Seal | None,
        inspect: Inspect | None,
        pause: Callable[[float], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._seal = seal
        self._inspect = inspect
        self._pause = pause
        self._monotonic = monotonic
        self._claims = Claims(store)

    def register(self, asked: Request, progress: Progress | None) -> Manifest:
        """Makes a version of what was asked, or returns the one that its key has; see `Registry.register`."""
        for path, file in asked.files.items():
            look_at(file, path, f"{asked.name}: file {path!r} is refused", self._inspect)
        self._store.probe()
        found = self._claims.find(asked.name, asked.key)
        if found and (owner := self._owner(found)) and owner["key"] == found.place:
            return self._finish(asked.name, owner)
        hashed = _hash(asked, progress)
        claim = self._take(asked, hashed)
        stored = self._keep(asked, hashed, progress)
        fresh = False  # whether the claim was written after the blobs were kept, for a number that was free then
        for lost in range(_TRIES):
            began = self._monotonic()
            owner = None if fresh else self._owner(claim)
            held = _digests(hashed) <= claim.holds
            if owner is None and not fresh and not (held and self._claims.reread(claim) == claim):
                # The hold ran out, or another writer with this key moved on: nothing kept may be relied on.
                claim = self._take(asked, hashed)
                stored = self._keep(asked, hashed, None)
                continue
            if owner is None:
                manifest = asked.to_manifest(claim, stored)
                if asked.describe is not None:
                    more = asked.describe(manifest)
                    claim, held = self._hold(claim, more)
                    if not held:
                        fresh = False
                        continue
                    manifest = self._add(manifest, more)
                owner = self._commit(manifest, claim)
            if owner["key"] == claim.place:
                return self._finish(asked.name, owner)
            self._pause(wait_s(claim.place, lost, self._monotonic() - began))
            claim, fresh = self._claims.move(claim)
            fresh = fresh and _digests(hashed) <= claim.holds
        raise RegistryError(f"{asked.name}: lost {_TRIES} races for a version in a row; try again when fewer register")

    def _take(self, asked: Request, hashed: Mapping[str, StoredFile]) -> Claim:
        return self._claims.take(asked.name, asked.key, asked.now, _digests(hashed), base=asked.base_version)

    def _keep(
        self, asked: Request, hashed: Mapping[str, StoredFile], progress: Progress | None
    ) -> dict[str, StoredFile]:
        """Uploads what is not there; a claim holds the digests."""
        meter = Meter(f"register {asked.name}, MiB", sum(file.size for file in hashed.values()), progress)
        return {path: keep_file(self._store, asked.files[path], file, meter.add) for path, file in hashed.items()}

    def _hold(self, claim: Claim, more: Mapping[str, bytes]) -> tuple[Claim, bool]:
        """Lets the claim hold what describes its version too; says whether it was as it was thought to be."""
        digests = frozenset(hash_bytes(data).sha256 for data in more.values())
        return self._claims.hold(claim, digests)

    def _add(self, manifest: Manifest, more: Mapping[str, bytes]) -> Manifest:
        """The manifest with further files, which are kept. The claim holds their digests."""
        kept = {path: keep_bytes(self._store, data) for path, data in sorted(more.items())}
        return manifest.model_copy(update={"files": manifest.files | kept})

    def _commit(self, manifest: Manifest, claim: Claim) -> dict[str, str]:
        """Writes manifest, signature and, last, the pointer to them, unless another key's is there.

        Returns:
            The pointer that is there now: whoever won, this key, here or elsewhere, or another one.
        """
        self._store.put_bytes(manifest_key(manifest.digest), manifest.to_bytes())
        if self._seal is not None:
            self._store.put_bytes(signature_key(manifest.digest), self._seal.sign(manifest))
        place = pointer_key(claim.name, str(claim.version))
        ours = {"manifest": manifest.digest, "key": claim.place}
        if self._store.put_if_absent(place, write_slip(place, ours)) is not None:
            self._claims.note_head(claim.name, claim.version)
            return ours
        owner = self._owner(claim)
        if owner is None:
            raise RegistryError(f"{claim.name} {claim.version} went away when it was written; keep other tools out")
        return owner

    def _owner(self, claim: Claim) -> dict[str, str] | None:
        return read_pointer(self._store, claim.name, str(claim.version))

    def _finish(self, name: str, owner: Mapping[str, str]) -> Manifest:
        """The version that this key has, whose entry in the journal a kill may have taken."""
        manifest, _ = read_sealed(self._store, self._seal, owner["manifest"])
        write_event(self._store, name, manifest.created_at, "register", {"version": manifest.version, **owner})
        return manifest


def _hash(asked: Request, progress: Progress | None) -> dict[str, StoredFile]:
    meter = Meter(f"hash {asked.name}, MiB", sum(file.stat().st_size for file in asked.files.values()), progress)
    return {path: hash_file(file, meter.add) for path, file in sorted(asked.files.items())}


def _digests(files: Mapping[str, StoredFile]) -> frozenset[str]:
    return frozenset(file.sha256 for file in files.values())


def wait_s(place: str, lost: int, tried_s: float) -> float:
    """Seconds that a registration waits after its n-th lost race, so that n writers need some n tries, not n².

    Binary exponential backoff (Metcalfe and Boggs 1976): a share of a span that doubles with each loss. Its unit is
    what the try itself took, so that it fits any store and load; the share depends on the claim, so that no two agree.
    """
    share = int.from_bytes(hashlib.sha256(f"{place}:{lost}".encode()).digest()[:4], "big") / 2**32
    return min(_LONGEST_WAIT_S, tried_s * 2.0 ** min(lost + 1, _DOUBLINGS)) * share
