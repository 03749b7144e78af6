"""Which version a registration is after: numbers without a lock, dense and unique, one for each key.

    keys/<name>/<sha256 of key>    the version tried for, when the registration began, and the digests that it holds
                                   (compare-and-set)

Why a key ends in one version: its record moves on only after `versions/` shows that another key owns the version in
it. Versions never change, so no writer with this key can have won a version that the record has left, and all writers
with one key try for the same one, which exactly one write can create. Why the numbers are dense: a number is tried for
only when the one before it is there, and none ever goes.

The next number is found by doubling steps and halving them again, from the last one seen: a handful of questions,
where a listing of n versions at each of n registrations would be n² keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from flytewheel.errors import RegistryError
from registry.manifest import Version, parse_version
from registry.slips import read_slip, write_slip
from registry.store import ObjectStore, StoredObject

CLAIMS = "keys/"
VERSIONS = "versions/"


@dataclass(frozen=True, slots=True)
class Claim:
    """A registration's record: `place` is its key in the store, `holds` are digests that no one may delete."""

    name: str
    place: str
    version: Version
    started: datetime
    holds: frozenset[str]
    etag: str


class Claims:
    """The records of all registrations in one store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._seen: dict[tuple[str, int, int], int] = {}  # the last iteration seen of a model and week

    def find(self, name: str, key: str) -> Claim | None:
        """The record of a key; None where there was no try yet."""
        place = claim_place(name, key)
        found = self._store.read(place)
        return read_claim(name, place, found) if found else None

    def take(self, name: str, key: str, now: datetime, holds: Iterable[str], *, base: bool) -> Claim:
        """Makes the record of a key for the next version (iteration 0 for a base), or reads it, holding `holds`."""
        place, wanted = claim_place(name, key), frozenset(holds)
        while True:
            claim = self.find(name, key)
            if claim is None:
                version = Version.of_week(now, 0) if base else self.next_version(name, now)
                self._store.put_if_absent(place, write_claim(place, version, now, wanted))
            elif wanted <= claim.holds:
                return claim
            else:
                self._store.put_if_match(
                    place, write_claim(place, claim.version, claim.started, wanted | claim.holds), claim.etag
                )

    def move(self, claim: Claim) -> Claim:
        """Lets the key try for the next version, unless its record was changed meanwhile; returns what is there."""
        version = self.next_version(claim.name, claim.started)
        self._store.put_if_match(claim.place, write_claim(claim.place, version, claim.started, claim.holds), claim.etag)
        return self.reread(claim)

    def reread(self, claim: Claim) -> Claim:
        """The record as it is now."""
        return read_claim(claim.name, claim.place, self._store.read(claim.place))

    def next_version(self, name: str, started: datetime) -> Version:
        """The first number of the week after which none is taken."""
        week = Version.of_week(started, 0)
        below = self._seen.get((name, week.year, week.week), 0)  # taken, or 0
        step = 1
        while self._taken(name, week, below + step):
            below += step
            step *= 2
        above = below + step  # free
        while above - below > 1:
            middle = (below + above) // 2
            if self._taken(name, week, middle):
                below = middle
            else:
                above = middle
        self._seen[name, week.year, week.week] = below
        return week._replace(iteration=above)

    def _taken(self, name: str, week: Version, iteration: int) -> bool:
        return self._store.exists(f"{VERSIONS}{name}/{week._replace(iteration=iteration)}")


def claim_place(name: str, key: str) -> str:
    """Where the record of a key lies."""
    return f"{CLAIMS}{name}/{hashlib.sha256(key.encode()).hexdigest()}"


def write_claim(place: str, version: Version, started: datetime, holds: Iterable[str]) -> bytes:
    """A record's bytes."""
    return write_slip(place, {"version": str(version), "started": started.astimezone(UTC), "holds": sorted(holds)})


def read_claim(name: str, place: str, found: StoredObject | None) -> Claim:
    """A record that must be there.

    Raises:
        RegistryError: it is not, or was changed.
    """
    if found is None:
        raise RegistryError(f"{place} went away while it was used; keep other tools out of the registry")
    record = read_slip(place, found.data)
    version = parse_version(record["version"])
    if version is None:
        raise RegistryError(f"{place} names {record['version']!r}; keep other tools out of the registry")
    started = datetime.fromisoformat(record["started"])
    return Claim(name, place, version, started, frozenset(record["holds"]), found.etag)


def list_versions(store: ObjectStore, name: str) -> list[Version]:
    """All versions of a model, oldest first."""
    tails = (key.rsplit("/", 1)[1] for key in store.list(f"{VERSIONS}{name}/"))
    return sorted(version for tail in tails if (version := parse_version(tail)) is not None)
