"""Versions that learnt from what a person has had erased since: marked, and kept from service after a deadline.

    taints/<name>/<version>    which erasures, when, why, and until when the version may still serve

A version never changes, so the mark stands beside it. It grows by compare-and-set, one entry an erasure, and holds
nothing of the person. The earliest deadline counts; a version without one is marked and may serve on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from flytewheel.errors import RegistryError
from flytewheel.records import to_jsonable
from registry.manifest import check_name, parse_version
from registry.slips import read_slip, write_slip
from registry.store import ObjectStore
from registry.versions import Registry

Reason = Literal["trained", "replayed", "validated", "inherited"]
PREFIX = "taints/"
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Taint:
    """One erasure's mark on a version.

    `reason`: rows were trained on (`trained`), came in by the replay of an earlier data set (`replayed`), chose the
    checkpoint (`validated`), or are in the adapter that training went on from (`inherited`). `deadline`: the version
    may not be served from then on; `None`: it may.
    """

    erasure: str
    at: datetime
    reason: Reason
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tainted:
    """A version with all its marks, the first one first."""

    name: str
    version: str
    marks: tuple[Taint, ...]

    @property
    def deadline(self) -> datetime | None:
        """The earliest one; `None` where no mark has any."""
        return min((mark.deadline for mark in self.marks if mark.deadline is not None), default=None)

    def blocked(self, now: datetime) -> bool:
        """Whether it may not be served at `now`."""
        return self.deadline is not None and self.deadline <= now

    def __str__(self) -> str:
        last = self.marks[-1]
        reasons = ", ".join(dict.fromkeys(mark.reason for mark in self.marks))
        until = f", may not serve from {self.deadline:%Y-%m-%d %H:%M} UTC on" if self.deadline else ""
        return f"{self.name} {self.version} is tainted ({reasons}; erased {last.at:%Y-%m-%d}{until})"


def mark_tainted(store: ObjectStore, name: str, version: str, taint: Taint) -> Tainted:
    """Adds an erasure's mark to a version, once: a second call for the same erasure changes nothing.

    Raises:
        RegistryError: the name cannot be one, or the record changed all the time.
        StoreError: the store is away.
    """
    key = _key(name, version)
    for _ in range(_TRIES):
        found = store.read(key)
        known = _parse(name, version, found.data) if found else Tainted(name, version, ())
        if any(mark.erasure == taint.erasure for mark in known.marks):
            return known
        grown = Tainted(name, version, (*known.marks, taint))
        data = write_slip(key, {"marks": [to_jsonable(asdict(mark)) for mark in grown.marks]})
        won = store.put_if_absent(key, data) if found is None else store.put_if_match(key, data, found.etag)
        if won is not None:
            return grown
    raise RegistryError(f"{key}: changed {_TRIES} times under our hands; try again")


def read_taint(store: ObjectStore, name: str, version: str) -> Tainted | None:
    """The marks of a version; `None` where it has none."""
    found = store.read(_key(name, version))
    return _parse(name, version, found.data) if found else None


def list_taints(store: ObjectStore, name: str | None = None) -> dict[tuple[str, str], Tainted]:
    """Every tainted version, of one model or of all, by name and version."""
    found = {}
    for key in store.list(PREFIX if name is None else f"{PREFIX}{name}/"):
        model, _, version = key.removeprefix(PREFIX).partition("/")
        if (tainted := read_taint(store, model, version)) is not None:
            found[model, version] = tainted
    return found


def refuse_blocked(store: ObjectStore, name: str, version: str, now: datetime) -> None:
    """Makes sure that a version may be served.

    Raises:
        RegistryError: its deadline has passed.
    """
    tainted = read_taint(store, name, version)
    if tainted is not None and tainted.blocked(now):
        raise RegistryError(
            f"{tainted}: it learnt from what a person has had erased; train from the base again and promote that"
        )


def find_fallback(registry: Registry, name: str, version: str, blocked: Iterable[str]) -> str | None:
    """What serves in the place of a version that may not: the newest earlier version that was champion once or is the
    bare base, and is not `blocked`; `None` where there is none.
    """
    limit = parse_version(version)
    kept_out = {*blocked, version}
    served = {str(entry["version"]) for entry in registry.log(name) if entry.get("alias") == "champion"}
    for manifest in reversed(registry.list(name)):
        found = parse_version(manifest.version)
        if found is None or limit is None or found >= limit or manifest.version in kept_out:
            continue
        if manifest.version in served or manifest.facts.get("kind") == "base":
            return manifest.version
    return None


def _key(name: str, version: str) -> str:
    check_name(name)
    if parse_version(version) is None:
        raise RegistryError(f"version {version!r}: expected one such as v1.202647.1")
    return f"{PREFIX}{name}/{version}"


def _parse(name: str, version: str, data: bytes) -> Tainted:
    marks = []
    for mark in read_slip(_key(name, version), data)["marks"]:
        deadline = mark["deadline"]
        marks.append(
            Taint(
                mark["erasure"],
                datetime.fromisoformat(mark["at"]),
                mark["reason"],
                datetime.fromisoformat(deadline) if deadline else None,
            )
        )
    return Tainted(name, version, tuple(marks))
