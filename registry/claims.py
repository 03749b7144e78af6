"""Which version a registration is after: numbers without a lock, dense and unique, one for each key.

    keys/<name>/<sha256 of key>    the version tried for, and when the registration began   (compare-and-set)

Why a key ends in one version: its record moves on only after `versions/` shows that another key owns the version in
it. Versions never change, so no writer with this key can have won a version that the record has left, and all writers
with one key try for the same one, which exactly one write can create.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from flytewheel.errors import RegistryError
from flytewheel.records import canonical_json
from registry.manifest import Version, parse_version
from registry.store import ObjectStore, StoredObject


@dataclass(frozen=True, slots=True)
class Claim:
    """A registration's record: `place` is its key in the store."""

    name: str
    place: str
    version: Version
    started: datetime
    etag: str


class Claims:
    """The records of all registrations in one store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def take(self, name: str, key: str, now: datetime, *, base: bool) -> Claim:
        """Reads the record of a key, or makes it for the next version (iteration 0 for a base)."""
        place = f"keys/{name}/{hashlib.sha256(key.encode()).hexdigest()}"
        if (found := self._store.read(place)) is None:
            version = Version.of_week(now, 0) if base else self.next_version(name, now)
            self._store.put_if_absent(place, _record(version, now))
            found = self._store.read(place)
        return _read(name, place, found)

    def move(self, claim: Claim) -> Claim:
        """Lets the key try for the next version, unless another writer with this key has moved it on already."""
        version = self.next_version(claim.name, claim.started)
        self._store.put_if_match(claim.place, _record(version, claim.started), claim.etag)
        return _read(claim.name, claim.place, self._store.read(claim.place))

    def next_version(self, name: str, started: datetime) -> Version:
        """The number after the last one of the week."""
        week = Version.of_week(started, 0)
        taken = [version.iteration for version in list_versions(self._store, name) if version[:2] == week[:2]]
        return week._replace(iteration=max(taken, default=0) + 1)


def list_versions(store: ObjectStore, name: str) -> list[Version]:
    """All versions of a model, oldest first."""
    tails = (key.rsplit("/", 1)[1] for key in store.list(f"versions/{name}/"))
    return sorted(version for tail in tails if (version := parse_version(tail)) is not None)


def _record(version: Version, started: datetime) -> bytes:
    return canonical_json({"version": str(version), "started": started.astimezone(UTC)})


def _read(name: str, place: str, found: StoredObject | None) -> Claim:
    if found is None:
        raise RegistryError(f"{place} went away while it was written; keep other tools out of the registry")
    record = json.loads(found.data)
    version = parse_version(record["version"])
    if version is None:
        raise RegistryError(f"{place} names {record['version']!r}; keep other tools out of the registry")
    return Claim(name, place, version, datetime.fromisoformat(record["started"]), found.etag)
