"""What two versions have in common and where they differ, from their manifests alone: no file is read.

Files are compared by digest, facts value by value; of a nested fact each leaf is a row of its own, so that a changed
learning rate is one row and not two recipes side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.manifest import Manifest

FileChange = Literal["same", "changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class FileRow:
    """One path in two versions: digests in hex and sizes in bytes, None where it is not there."""

    path: str
    change: FileChange
    before: str | None
    after: str | None
    size_before: int | None
    size_after: int | None

    @property
    def size(self) -> int | None:
        """Bytes of the file as it is after, or of what was removed."""
        return self.size_before if self.size_after is None else self.size_after


@dataclass(frozen=True, slots=True)
class FactRow:
    """A fact that differs: its path, as in `recipe.training.epochs`, and both values, None where one lacks it.

    `difference` is after − before where both are numbers.
    """

    fact: str
    before: Any
    after: Any
    difference: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two versions side by side; only facts that differ are listed, but every file."""

    before: str
    after: str
    files: tuple[FileRow, ...]
    facts: tuple[FactRow, ...]


def compare(before: Manifest, after: Manifest) -> Difference:
    """Compares two versions, of one model or of two."""
    return Difference(
        f"{before.name} {before.version}",
        f"{after.name} {after.version}",
        tuple(_file(path, before, after) for path in sorted(before.files.keys() | after.files.keys())),
        tuple(_facts(before.facts, after.facts)),
    )


def _file(path: str, before: Manifest, after: Manifest) -> FileRow:
    old, new = before.files.get(path), after.files.get(path)
    change: FileChange = "changed"
    if old is None:
        change = "added"
    elif new is None:
        change = "removed"
    elif old.sha256 == new.sha256:
        change = "same"
    return FileRow(
        path,
        change,
        old.sha256 if old else None,
        new.sha256 if new else None,
        old.size if old else None,
        new.size if new else None,
    )


def _facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[FactRow]:
    old, new = dict(_leaves("", before)), dict(_leaves("", after))
    for fact in sorted(old.keys() | new.keys()):
        one, two = old.get(fact), new.get(fact)
        if one != two or type(one) is not type(two):
            yield FactRow(fact, one, two, _subtract(one, two))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), item)
    else:
        yield path, value


def _subtract(before: Any, after: Any) -> float | None:
    for value in (before, after):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
    return float(after - before)
