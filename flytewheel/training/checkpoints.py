"""Where a training keeps its checkpoints, and when it may go on from one.

The directory is `<root>/<station>-<data digest>-<recipe digest>`, twelve digits of each. "Is it the same training?" is
decided by these digests alone: the rows, the slice of the recipe that trains, the seed and the adapter started from.
`manifest.json` is written first and holds them in full; a directory whose manifest says otherwise (another code
version, a changed file) is refused, never mixed into. A checkpoint counts once its seal is written (`seal`), after
everything else: one torn by a kill is removed, and the newest complete one is gone on from, once its files are found to
be those that were written. A finished training leaves `finished/`
(adapter and report), moved into place by one rename, and a repeated call returns it at once.

Departs from transformers' own resuming, which takes the checkpoint with the highest number, complete or not, of
whatever training wrote there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import CheckpointError
from flytewheel.records import canonical_json, digest, to_jsonable
from flytewheel.training.report import TrainingReport, read_report, write_report
from flytewheel.training.seal import SEAL, check_seal, write_seal

CODE_VERSION = "1"
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint directory belongs to: `recipe` is what trains, `start` the digest of the first adapter."""

    station: str
    data: str
    recipe: Mapping[str, Any]
    seed: int
    start: str | None = None
    code: str = CODE_VERSION

    @property
    def folder_name(self) -> str:
        inputs = digest({"recipe": self.recipe, "seed": self.seed, "start": self.start})
        return f"{self.station}-{self.data[:_DIGITS]}-{inputs[:_DIGITS]}"


class Checkpoints:
    """The checkpoint directory of one training. Open it with `open_checkpoints`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def complete(self) -> list[Path]:
        """The complete checkpoints, oldest first."""
        found = [path for path in self.folder.glob("checkpoint-*") if (path / SEAL).is_file()]
        return sorted(found, key=_step)

    def newest(self) -> Path | None:
        """The checkpoint to go on from; torn ones are removed on the way, None when there is none.

        Raises:
            CheckpointError: its files are not those that training wrote.
        """
        for path in self.folder.glob("checkpoint-*"):
            if not (path / SEAL).is_file():
                shutil.rmtree(path)
        complete = self.complete()
        if not complete:
            return None
        check_seal(complete[-1])
        return complete[-1]

    def mark(self, step: int, keep: int) -> None:
        """Declares `checkpoint-<step>` complete, then removes all but the `keep` newest complete ones.

        In this order (the trainer's own limit removes first): at every moment one complete checkpoint is left.
        """
        write_seal(self.folder / f"checkpoint-{step}", step)
        for path in self.complete()[:-keep]:
            shutil.rmtree(path)

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


@contextmanager
def open_checkpoints(root: Path, manifest: Manifest) -> Iterator[Checkpoints]:
    """Opens (makes, if missing) the directory of the training that `manifest` describes, for this process alone.

    Raises:
        CheckpointError: the directory belongs to another training, or another process is at work in it.
    """
    folder = root / manifest.folder_name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{folder}: another process is training here; wait for it, or stop it") from None
        _check_manifest(folder, manifest)
        yield Checkpoints(folder)


def _check_manifest(folder: Path, manifest: Manifest) -> None:
    path = folder / "manifest.json"
    ours = json.loads(canonical_json(asdict(manifest)))
    if not path.exists():
        if any(folder.glob("checkpoint-*")) or (folder / "finished").exists():
            raise CheckpointError(f"{folder}: holds checkpoints but no manifest.json; remove it to train afresh")
        partial = folder / ".manifest.json.partial"
        partial.write_text(json.dumps(to_jsonable(ours), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(partial, path)
        return
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); remove {folder} to train afresh") from None
    differences = _differences("", ours, theirs)
    if differences:
        raise CheckpointError(
            f"{folder}: belongs to another training, {'; '.join(differences)}; remove it to train afresh"
        )


def _differences(path: str, ours: Any, theirs: Any) -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            line
            for key in sorted(set(ours) | set(theirs))
            for line in _differences(f"{path}.{key}" if path else key, ours.get(key), theirs.get(key))
        ]
    return [] if ours == theirs else [f"{path} is {ours!r} here and {theirs!r} there"]


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
