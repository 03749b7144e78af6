"""Which version a registration is after: numbers without a lock, dense and unique, one for each key.

    keys/<name>/<sha256 of key>    the version tried for, when the registration began, and the digests that it holds
                                   (compare-and-set)
    heads/<name>/<week>            a number that is taken, near the last one

Why a key ends in one version: its record moves on only after `versions/` shows that another key owns the version in
it. Versions never change, so no writer with this key can have won a version that the record has left, and all writers
with one key try for the same one, which exactly one write can create. Why the numbers are dense: a number is tried for
only when the one before it is there, and none ever goes.

The next number is found from a hint, the last commit that someone left word of, by doubling steps and halving them
again: a handful of questions, where a listing of n versions at each of n registrations would be n² keys. The hint may
be late, missing or unreadable; only the way gets longer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flytewheel.errors import RegistryError
from registry.manifest import Version, parse_version
from registry.slips import read_slip, write_slip
from registry.store import ObjectStore, StoredObject

CLAIMS = "keys/"
HEADS = "heads/"
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

    def find(self, name: str, key: str) -> Claim | None:
        """The record of a key; None where there was no try yet."""
        place = claim_place(name, key)
        found = self._store.read(place)
        return read_claim(name, place, found) if found else None

    def take(self, name: str, key: str, now: datetime, holds: Iterable[str], *, base: bool) -> Claim:
        """Makes the record of a key for the next version (iteration 0 for a base), or reads it, holding `holds`."""
        place, wanted = claim_place(name, key), frozenset(holds)
        claim = self.find(name, key)
        while claim is None or not wanted <= claim.holds:
            if claim is None:
                version = Version.of_week(now, 0) if base else self.next_version(name, now)
                made = Claim(name, place, version, now.astimezone(UTC), wanted, "")
                etag = self._store.put_if_absent(place, write_claim(made))
            else:
                made = replace(claim, holds=wanted | claim.holds)
                etag = self._store.put_if_match(place, write_claim(made), claim.etag)
            claim = replace(made, etag=etag) if etag is not None else self.find(name, key)
        return claim

    def move(self, claim: Claim) -> tuple[Claim, bool]:
        """Lets the key try for the next version, unless its record was changed meanwhile.

        Returns:
            What is there, and whether it is what was just written: for a number that was free a moment ago.
        """
        moved = replace(claim, version=self.next_version(claim.name, claim.started))
        etag = self._store.put_if_match(claim.place, write_claim(moved), claim.etag)
        return (self.reread(claim), False) if etag is None else (replace(moved, etag=etag), True)

    def hold(self, claim: Claim, more: frozenset[str]) -> tuple[Claim, bool]:
        """Lets a claim hold further digests.

        Returns:
            What is there, and whether nobody had changed it.
        """
        if more <= claim.holds:
            return claim, True
        held = replace(claim, holds=claim.holds | more)
        etag = self._store.put_if_match(claim.place, write_claim(held), claim.etag)
        return (self.reread(claim), False) if etag is None else (replace(held, etag=etag), True)

    def reread(self, claim: Claim) -> Claim:
        """The record as it is now."""
        return read_claim(claim.name, claim.place, self._store.read(claim.place))

    def next_version(self, name: str, started: datetime) -> Version:
        """The first number of the week after which none is taken."""
        week = Version.of_week(started, 0)
        below = self._read_head(name, week)  # taken, or 0
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
        return week._replace(iteration=above)

    def note_head(self, name: str, version: Version) -> None:
        """Leaves word of a version that was just committed, for those who look for the next number."""
        key = head_key(name, version)
        self._store.put_bytes(key, write_slip(key, {"iteration": version.iteration}))

    def _read_head(self, name: str, week: Version) -> int:
        """A number that is taken, seldom far from the last one; 0 where no word was left, or none that can be read."""
        key = head_key(name, week)
        found = self._store.read(key)
        try:
            return int(read_slip(key, found.data)["iteration"]) if found else 0
        except RegistryError:  # the way to the next number is longer then, and the next commit writes it anew
            return 0

    def _taken(self, name: str, week: Version, iteration: int) -> bool:
        return self._store.exists(f"{VERSIONS}{name}/{week._replace(iteration=iteration)}")


def claim_place(name: str, key: str) -> str:
    """Where the record of a key lies."""
    return f"{CLAIMS}{name}/{hashlib.sha256(key.encode()).hexdigest()}"


def head_key(name: str, version: Version) -> str:
    """Where word of the last version of a week is left."""
    return f"{HEADS}{name}/{version.year:04d}{version.week:02d}"


def write_claim(claim: Claim) -> bytes:
    """A record's bytes."""
    return write_slip(
        claim.place, {"version": str(claim.version), "started": claim.started, "holds": sorted(claim.holds)}
    )


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
