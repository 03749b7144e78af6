"""Where a training keeps its checkpoints, and when it may go on from one.

The directory is `<root>/<station>-<data digest>-<recipe digest>`, twelve digits of each. "Is it the same training?" is
decided by these digests alone: the rows, the slice of the recipe that trains, the seed and the adapter started from.
`manifest.json` is written first and holds them in full, with the code and whose training it is. One of other code
(`code`) is refused by name, never gone on from; one of other inputs under the same name as well (`leftovers`); a fresh
start sets either aside. A checkpoint counts once its seal is written (`seal`), after everything else: one torn by a
kill is removed, and the newest complete one is gone on from, once its files are found to be those that were written.
With a store (`uploads`) the newest may come from there. A finished training leaves `finished/` (adapter and report),
moved into place by one rename, and a repeated call returns it at once.

Departs from transformers' own resuming, which takes the checkpoint with the highest number, complete or not, of
whatever training wrote there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flytewheel.errors import CheckpointError, DivergedError, StoreError
from flytewheel.records import canonical_json, digest
from flytewheel.training.code import name_code, read_code
from flytewheel.training.leftovers import FRESH, check_station, compare, move_aside, read_kept, refuse
from flytewheel.training.lock import lock_folder
from flytewheel.training.processes import Processes, find_processes
from flytewheel.training.report import TrainingReport, read_report, write_report
from flytewheel.training.seal import SEAL, check_seal, write_seal
from flytewheel.training.uploads import MANIFEST, StoredCheckpoints, Uploader
from flytewheel.training.workplace import Workplace

CODE_VERSION = name_code()  # of this process's code and libraries, for Flyte's cache
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint directory belongs to: `recipe` is what trains, `start` the digest of the first adapter."""

    station: str
    data: str
    recipe: Mapping[str, Any]
    seed: int
    start: str | None = None
    code: Mapping[str, str] = field(default_factory=read_code)

    @property
    def recipe_digest(self) -> str:
        """Over all that trains but the rows."""
        return digest({"recipe": self.recipe, "seed": self.seed, "start": self.start})

    @property
    def folder_name(self) -> str:
        return f"{self.station}-{self.data[:_DIGITS]}-{self.recipe_digest[:_DIGITS]}"

    def to_json(self) -> dict[str, Any]:
        """As it is written down: with the recipe's digest, and everything as JSON reads it back."""
        content: dict[str, Any] = json.loads(canonical_json({**asdict(self), "recipe_digest": self.recipe_digest}))
        return content


class Checkpoints:
    """The checkpoint directory of one training. Open it with `open_checkpoints`."""

    def __init__(self, folder: Path, about: Mapping[str, Any] | None = None, uploader: Uploader | None = None) -> None:
        self.folder = folder
        self._processes = find_processes()
        self._about = about or {}
        self._uploader = uploader

    def complete(self) -> list[Path]:
        """The complete checkpoints, oldest first."""
        found = [path for path in self.folder.glob("checkpoint-*") if (path / SEAL).is_file()]
        return sorted(found, key=_step)

    def newest(self) -> Path | None:
        """The checkpoint to go on from; torn ones are removed on the way, None when there is none.

        Processes that train together all have to call it: the first one decides.

        Raises:
            CheckpointError: its files are not those that training wrote, it belongs to another training, or it is not
                on this machine.
        """
        found = self._newest() if self._processes.first else None
        name: str | None = self._processes.tell(found.name if found is not None else None)
        if name is None:
            return None
        if not (self.folder / name).is_dir():
            raise CheckpointError(
                f"{self.folder / name}: is not on this machine; let all nodes share one FLYTEWHEEL_HOME, or one store"
            )
        return self.folder / name

    def _newest(self) -> Path | None:
        for path in self.folder.glob("checkpoint-*"):
            if not (path / SEAL).is_file():
                remove_checkpoint(path)
        complete = self.complete()
        if not complete:
            return None
        differences = compare(self._about, check_seal(complete[-1]))
        if differences:
            raise CheckpointError(
                f"{complete[-1]}: belongs to another training, {'; '.join(differences)}; remove it, or {FRESH}"
            )
        return complete[-1]

    def mark(self, step: int, keep: int) -> None:
        """Declares `checkpoint-<step>` complete, then removes all but the `keep` newest complete ones.

        In this order (the trainer's own limit removes first): at every moment one complete checkpoint is left. One that
        is being uploaded stays until the next. Processes that train together all have to call it, once each has
        written its part.
        """
        self._processes.wait()
        if not self._processes.first:
            return
        checkpoint = self.folder / f"checkpoint-{step}"
        write_seal(checkpoint, step, self._about)
        if self._uploader is not None:
            self._uploader.hand_over(checkpoint, step, keep)
        for path in self.complete()[:-keep]:
            if self._uploader is None or not self._uploader.holds(path):
                remove_checkpoint(path)

    def finished(self) -> TrainingReport | None:
        """The report of an earlier attempt that came to its end, if there was one."""
        path = self.folder / "finished" / "report.json"
        return read_report(path) if path.is_file() else None

    def finish(self, staged: Path, report: TrainingReport) -> None:
        """Moves the published files in `staged` (a folder in this directory) and `report` to `finished/`."""
        write_report(staged / "report.json", report)
        target = self.folder / "finished"
        if target.exists():
            shutil.rmtree(target)
        os.replace(staged, target)

    def publish(self, out: Path) -> None:
        """Copies `finished/` to `out`, the report last: a folder without one is not a finished training."""
        publish_folder(self.folder / "finished", out)


def publish_folder(source: Path, out: Path) -> None:
    """Copies the files of `source` into `out`, `report.json` last."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: (path.name == "report.json", path.name)):
        if path.is_file():
            partial = out / f".{path.name}.partial"
            shutil.copyfile(path, partial)
            os.replace(partial, out / path.name)


def remove_checkpoint(path: Path) -> None:
    """Removes a checkpoint, its seal first: a kill in the middle leaves a torn one, not one that lacks files."""
    (path / SEAL).unlink(missing_ok=True)
    shutil.rmtree(path)


@contextmanager
def open_checkpoints(at: Workplace, manifest: Manifest) -> Iterator[Checkpoints]:
    """Opens (makes, if missing) the directory of the training that `manifest` describes, for this process alone, or for
    those that train together: the first of them claims it.

    Where the store has a newer checkpoint than this machine, it is fetched. At the end the last upload is waited for. A
    training that diverges takes its checkpoints along: nobody can go on from them.

    Raises:
        CheckpointError: an unfinished training with other inputs or of other code would be left behind, another
            process is at work in the directory, or what the store has is not what training wrote.
        StoreError: the store is away; nothing has begun then.
    """
    folder = at.checkpoints / manifest.folder_name
    processes = find_processes()
    if not processes.first:
        yield _follow(folder, at, processes)
        return
    ours = manifest.to_json()
    check_station(at.checkpoints, at.name, ours, folder, settled=at.settled, fresh=at.fresh is not None)
    with lock_folder(folder):
        stored = StoredCheckpoints(at.store, folder.name) if at.store is not None else None
        owned = _claim(folder, ours, at, stored)
        uploader = None
        if stored is not None and not read_kept(folder).finished:
            _fetch_newer(folder, stored)
            uploader = Uploader(stored, announce=_say)
        processes.wait()  # for those that follow
        try:
            yield Checkpoints(folder, owned, uploader)
        except DivergedError:
            if uploader is not None:
                uploader.close()
            _discard(folder, stored)
            raise
        finally:
            if uploader is not None:
                uploader.close()


def _follow(folder: Path, at: Workplace, processes: Processes) -> Checkpoints:
    """The directory for a process that is not the first: once that one has opened it, and not claimed once more."""
    processes.wait()
    if processes.fetches and at.store is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch_newer(folder, StoredCheckpoints(at.store, folder.name))
    return Checkpoints(folder)


def _claim(folder: Path, ours: dict[str, Any], at: Workplace, stored: StoredCheckpoints | None) -> dict[str, Any]:
    """Makes the directory ours, unless what is there, or in the store, may be neither gone on from nor passed over."""
    known = [_claim_stored(stored, ours, at)] if stored is not None else []
    if folder.exists():
        known.insert(0, _claim_local(folder, ours, at))
    earlier = next((about["fresh"] for about in known if about.get("fresh")), None)
    owned = {**ours, "name": at.name, "run": at.run, "fresh": at.fresh or earlier}
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{MANIFEST}.partial"
    partial.write_text(json.dumps(owned, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, folder / MANIFEST)
    if stored is not None:
        stored.write_manifest(owned)
    return owned


def _claim_local(folder: Path, ours: dict[str, Any], at: Workplace) -> Mapping[str, Any]:
    """What the directory says of itself, where it stays; else it is moved away or removed."""
    kept = read_kept(folder)
    worth = bool(kept.steps) or kept.finished
    if at.fresh is not None and kept.about.get("fresh") != at.fresh:
        if worth:
            move_aside(folder)
        return {}
    if not kept.about and worth:
        raise CheckpointError(f"{folder}: holds checkpoints but no {MANIFEST} that can be read; remove it, or {FRESH}")
    differences = compare(ours, kept.about) if kept.about else []
    if differences and kept.steps and not kept.finished:
        raise refuse(kept.about, kept.steps, folder, differences)
    if differences or not kept.about:
        shutil.rmtree(folder)  # nothing in it, or finished by other code: trained anew
        return {}
    return kept.about


def _claim_stored(stored: StoredCheckpoints, ours: dict[str, Any], at: Workplace) -> Mapping[str, Any]:
    """The same for what the store has; a fresh start removes it."""
    about = stored.read_manifest() if at.fresh is None else _read_if_sound(stored)
    if about is None:
        stored.clear()
        return {}
    if at.fresh is not None and about.get("fresh") != at.fresh:
        stored.clear()
        return {}
    if differences := compare(ours, about):
        if steps := [step for step, _ in stored.complete()]:
            raise refuse(about, steps, f"{stored.prefix} in the object store", differences)
        stored.clear()
        return {}
    return about


def _read_if_sound(stored: StoredCheckpoints) -> dict[str, Any] | None:
    try:
        return stored.read_manifest()
    except CheckpointError:  # it is about to be removed
        return None


def _discard(folder: Path, stored: StoredCheckpoints | None) -> None:
    shutil.rmtree(folder)
    if stored is not None:
        try:
            stored.clear()
        except StoreError as error:
            _say(f"warning: checkpoints of a training that diverged stay in the object store ({error})")


def _say(line: str) -> None:
    print(line, flush=True)


def _fetch_newer(folder: Path, stored: StoredCheckpoints) -> None:
    copies = stored.complete()
    here = read_kept(folder).steps
    if copies and (not here or copies[-1][0] > here[-1]):
        stored.fetch(copies[-1], folder)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
