"""Trainings that were stopped before their end, and when one of them stands in the way of another.

A person whose training was killed may change the data or the recipe and start again. What was learnt so far would then
lie in another directory and be lost without a word; so an unfinished training of the same name and station with other
inputs is named, with each difference, and the new one is refused unless a fresh start was asked for: then the old one
is set aside, under `aside/`.

What counts: a complete checkpoint on this machine, nobody at work in it, and a run that is not settled. A run is
settled once it, or a later one of its name, has come to its end: last month's leftovers block nobody (docs/adr/0013).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flytewheel.errors import CheckpointError
from flytewheel.training.lock import is_busy, lock_folder
from flytewheel.training.seal import SEAL
from flytewheel.training.uploads import MANIFEST, parse_manifest

ASIDE = "aside"
FRESH = "start anew with --fresh (`flytewheel run RECIPE --fresh`; FLYTEWHEEL_FRESH=1 for pyflyte)"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_OWNER = frozenset({"name", "run", "fresh", "recipe_digest"})  # whose it is; not what it is


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint directory: `about` is its manifest (empty where it cannot be read), `steps` its complete ones."""

    folder: Path
    about: Mapping[str, Any]
    steps: tuple[int, ...]
    finished: bool
    aside: bool

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    @property
    def modified(self) -> datetime:
        """When something was last written into the directory."""
        return datetime.fromtimestamp(self.folder.stat().st_mtime, UTC)


def list_kept(root: Path) -> list[Kept]:
    """All checkpoint directories under `root`, those set aside last, each by name."""
    found = [path.parent for path in root.glob(f"*/{MANIFEST}")] + [
        path.parent for path in root.glob(f"{ASIDE}/*/{MANIFEST}")
    ]
    return sorted((read_kept(folder) for folder in found), key=lambda kept: (kept.aside, kept.folder.name))


def read_kept(folder: Path) -> Kept:
    """What lies in a checkpoint directory."""
    try:
        about: Mapping[str, Any] = parse_manifest((folder / MANIFEST).read_bytes(), folder / MANIFEST)
    except (CheckpointError, OSError):
        about = {}
    steps = sorted(int(path.parent.name.rpartition("-")[2]) for path in folder.glob(f"checkpoint-*/{SEAL}"))
    finished = (folder / "finished" / "report.json").is_file()
    return Kept(folder, about, tuple(steps), finished, aside=folder.parent.name == ASIDE)


def find_leftovers(root: Path, name: str, settled: Collection[str]) -> list[Kept]:
    """The unfinished trainings of `name` that count (see the module)."""
    return [
        kept
        for kept in list_kept(root)
        if kept.steps
        and not (kept.finished or kept.aside)
        and name
        and kept.about.get("name") == name
        and kept.about.get("run") not in settled
        and not is_busy(kept.folder)
    ]


def check_recipe(
    root: Path, name: str, sections: Mapping[str, Any], *, settled: Collection[str], fresh: bool
) -> list[Path]:
    """Looks at a recipe before anything is done with it: would its trainings leave an unfinished one behind?

    Args:
        root: of all checkpoint directories.
        name: of the model.
        sections: what trainings go by, as in their manifests: `base`, `training`, `rlhf`, `seed`.
        settled: runs that do not count.
        fresh: set those with differences aside instead of refusing.

    Returns:
        Where they were set aside.

    Raises:
        CheckpointError: there is an unfinished one, and `fresh` is false; each difference is named.
    """
    moved = []
    for kept in find_leftovers(root, name, settled):
        theirs = {**kept.about["recipe"], "seed": kept.about.get("seed")}
        shared = {key: value for key, value in sections.items() if key in theirs}
        differences = list_differences(shared, {key: theirs[key] for key in shared})
        if differences and not fresh:
            raise refuse(kept.about, kept.steps, kept.folder, differences)
        if differences:
            moved.append(set_aside(kept.folder))
    return moved


def check_station(
    root: Path, name: str, ours: Mapping[str, Any], folder: Path, *, settled: Collection[str], fresh: bool
) -> None:
    """The same for one station, whose data are known by now: `ours` is the manifest of what is to train in `folder`.

    Raises:
        CheckpointError: as `check_recipe`.
    """
    for kept in find_leftovers(root, name, settled):
        if kept.about["station"] != ours["station"] or kept.folder == folder:
            continue
        if not fresh:
            raise refuse(kept.about, kept.steps, kept.folder, compare(ours, kept.about))
        set_aside(kept.folder)


def refuse(
    about: Mapping[str, Any], steps: Sequence[int], where: object, differences: Sequence[str]
) -> CheckpointError:
    """The error that names an unfinished training, which lies at `where`, and what differs."""
    whose = f" of {about['name']!r}" if about.get("name") else ""
    return CheckpointError(
        f"{about.get('station', 'a training')}{whose} stopped at step {steps[-1]} and is not finished ({where}), but "
        f"{'; '.join(differences)}; take these back to go on, or {FRESH}"
    )


def set_aside(folder: Path) -> Path:
    """Moves a checkpoint directory to `aside/`; returns where it lies now.

    Raises:
        CheckpointError: another process is at work in it.
    """
    with lock_folder(folder):
        return move_aside(folder)


def move_aside(folder: Path) -> Path:
    """As `set_aside`, for who holds the directory already."""
    parent = folder.parent / ASIDE
    parent.mkdir(exist_ok=True)
    number = 1
    while (target := parent / f"{folder.name}.{number}").exists():
        number += 1
    os.rename(folder, target)
    return target


def remove_run(root: Path, run: str) -> None:
    """Removes what a run left behind; its rows may not be learnt from any more."""
    for kept in list_kept(root):
        if run and kept.about.get("run") == run and not is_busy(kept.folder):
            shutil.rmtree(kept.folder)


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs between two manifests, in the recipe's words; whose they are does not count."""
    flat = [
        {**{key: value for key, value in each.items() if key not in _OWNER | {"recipe"}}, **each.get("recipe", {})}
        for each in (ours, theirs)
    ]
    return list_differences(flat[0], flat[1])


def list_differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """One line for each leaf that differs; digests are shortened."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return [
            line
            for key in sorted(set(ours) | set(theirs))
            for line in list_differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        ours, theirs = list(ours), list(theirs)
    return [] if ours == theirs else [f"{path} is {_show(ours)} here and {_show(theirs)} there"]


def _show(value: Any) -> str:
    return f"{value[:12]}…" if isinstance(value, str) and _DIGEST.fullmatch(value) else repr(value)
