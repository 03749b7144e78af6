"""Data sets that are no more: a person's rows were taken out, and what is left lies under a new digest.

`datasets/<digest>/erased.json` stands where the old one was. It says when, by which erasure, and what came in its
place; nothing of the person. Whoever asks for the old digest is told in one line; lineage and replay go on with the
new one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flytewheel.errors import DatasetError
from flytewheel.records import canonical_json
from registry.manifest import Manifest
from registry.store import ObjectStore
from registry.taints import Taint, Tainted, mark_tainted, read_taint

PREFIX = "datasets/"
TOMBSTONE = "erased.json"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stands in the place of the data set `digest`; `successor` is the data set without the person's rows."""

    digest: str
    successor: str
    erasure: str
    erased_at: str

    def __str__(self) -> str:
        return (
            f"data set {self.digest[:12]} is no more: a person's rows were erased on {self.erased_at[:10]} "
            f"({self.erasure}); without them it is {self.successor[:12]}"
        )


def tombstone_key(digest: str) -> str:
    """Where the tombstone of a data set lies in the store."""
    return f"{PREFIX}{digest}/{TOMBSTONE}"


def read_tombstone(store: ObjectStore, digest: str) -> Tombstone | None:
    """The tombstone of a data set; `None` where it was never erased."""
    found = store.read(tombstone_key(digest))
    return _parse(found.data) if found else None


def write_tombstone(store: ObjectStore, stone: Tombstone) -> None:
    """Puts the tombstone up, once: from then on the data set does not exist for a reader."""
    store.put_if_absent(tombstone_key(stone.digest), canonical_json(asdict(stone)))


def list_tombstones(store: ObjectStore) -> dict[str, Tombstone]:
    """Every tombstone by the digest that it stands for."""
    found = {}
    for key in store.list(PREFIX):
        digest, _, name = key.removeprefix(PREFIX).partition("/")
        if name == TOMBSTONE and (stone := read_tombstone(store, digest)) is not None:
            found[digest] = stone
    return found


def follow(stones: dict[str, Tombstone], digest: str) -> str:
    """What a data set is by now: the end of its tombstones, itself where there are none."""
    while digest in stones:
        digest = stones[digest].successor
    return digest


def find_standing(store: ObjectStore, digest: str) -> str:
    """As `follow`, asking the store step by step."""
    while (stone := read_tombstone(store, digest)) is not None:
        digest = stone.successor
    return digest


def refuse_erased(store: ObjectStore, digest: str) -> None:
    """Makes sure that a data set was not erased.

    Raises:
        DatasetError: it was; the line says when, and what is left of it.
    """
    if (stone := read_tombstone(store, digest)) is not None:
        raise DatasetError(str(stone))


def taint_late(store: ObjectStore, manifest: Manifest) -> Tainted | None:
    """Marks a version that was registered after a person was erased from what it learnt from: its training had begun.

    Whether the person's rows were trained on cannot be told any more, so it counts as if they were.
    """
    name, facts = manifest.name, manifest.facts
    stone = read_tombstone(store, str(facts.get("dataset_digest") or "none"))
    if stone is not None:
        recipe = facts.get("recipe") or {}
        days = (recipe.get("privacy") or {}).get("erased_serve_days")
        at = datetime.fromisoformat(stone.erased_at)
        deadline = None if days is None else at + timedelta(days=days)
        return mark_tainted(store, name, manifest.version, Taint(stone.erasure, at, "trained", deadline))
    parent = str(facts.get("started_from") or "")
    inherited = read_taint(store, name, parent) if parent else None
    if inherited is None:
        return None
    found = None
    for mark in inherited.marks:
        found = mark_tainted(store, name, manifest.version, replace(mark, reason="inherited"))
    return found


def _parse(data: bytes) -> Tombstone:
    told: dict[str, Any] = json.loads(data)
    return Tombstone(**told)
