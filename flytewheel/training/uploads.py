"""Copies checkpoints to the object store while training goes on, and brings the newest one back to a machine without.

`checkpoints/<directory>/manifest.json` and `checkpoints/<directory>/checkpoint-<step>-<attempt>/<file>`, the seal last:
a copy without its seal does not exist for a reader. Every attempt writes under a name of its own, so that two machines
which train the same for a while (a lost one that was not dead) never mix their files.

One thread, one checkpoint at a time, in order; a checkpoint that waits is passed over when a newer one is complete. An
upload that fails costs a line, not the training: the next checkpoint is tried again. The last one is waited for.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from flytewheel.errors import CheckpointError, StoreError
from flytewheel.records import to_jsonable
from flytewheel.training.seal import SEAL, check_seal, read_seal

PREFIX = "checkpoints/"
MANIFEST = "manifest.json"
_COPY = re.compile(r"checkpoint-(\d+)-(\w+)")


class Store(Protocol):
    """What is asked of an object store (`registry.store.ObjectStore` is one); each method raises `StoreError`."""

    def put_bytes(self, key: str, data: bytes) -> None: ...
    def put_file(self, key: str, path: Path) -> str: ...
    def get_bytes(self, key: str) -> bytes: ...
    def get_file(self, key: str, path: Path) -> str: ...
    def list(self, prefix: str = "") -> list[str]: ...
    def delete(self, key: str) -> None: ...


class StoredCheckpoints:
    """The copies of one training's checkpoints in the store."""

    def __init__(self, store: Store, name: str) -> None:
        """`name` is that of the checkpoint directory."""
        self.store = store
        self.name = name
        self.prefix = f"{PREFIX}{name}/"
        self.attempt = secrets.token_hex(3)

    def read_manifest(self) -> dict[str, Any] | None:
        """What the copies belong to; None where nothing was uploaded.

        Raises:
            CheckpointError: it cannot be read.
            StoreError: the store is away.
        """
        key = self.prefix + MANIFEST
        if key not in self.store.list(key):
            return None
        return parse_manifest(self.store.get_bytes(key), key)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Says what the copies belong to."""
        self.store.put_bytes(self.prefix + MANIFEST, json.dumps(to_jsonable(manifest), sort_keys=True).encode())

    def complete(self) -> list[tuple[int, str]]:
        """Step and attempt of every complete copy, oldest first."""
        return [copy for copy, sealed in self._copies().items() if sealed]

    def fetch(self, copy: tuple[int, str], folder: Path) -> None:
        """Brings a complete copy into `folder` as `checkpoint-<step>`, which appears once its seal was found to hold.

        Raises:
            CheckpointError: what came is not what training wrote.
            StoreError: the store is away, or the copy was removed meanwhile.
        """
        step, attempt = copy
        source = f"{self.prefix}checkpoint-{step}-{attempt}/"
        partial = folder / "fetched.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for key in self.store.list(source):
            name = key.removeprefix(source)
            if name.startswith("/") or ".." in name.split("/"):
                raise CheckpointError(f"{key}: a file of a checkpoint does not lie there; remove it from the store")
            self.store.get_file(key, partial / name)
        try:
            check_seal(partial)
        except CheckpointError as error:
            what = str(error).partition(";")[0].replace(str(partial), source.rstrip("/"))
            raise CheckpointError(
                f"{what}; remove it from the store to go on from an older one, or take --fresh"
            ) from None
        target = folder / f"checkpoint-{step}"
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)

    def upload(self, checkpoint: Path, step: int, keep: int) -> None:
        """Copies a complete checkpoint, its seal last, then removes all but the `keep` newest complete copies.

        Raises:
            StoreError: the store is away, or the file sent is not the one that was sealed.
        """
        target = f"{self.prefix}checkpoint-{step}-{self.attempt}/"
        for name, digest in sorted(read_seal(checkpoint)["files"].items()):
            if self.store.put_file(target + name, checkpoint / name) != digest:
                raise StoreError(f"{checkpoint / name}: changed while it was uploaded")
        self.store.put_file(target + SEAL, checkpoint / SEAL)
        copies = self._copies()
        kept = [copy for copy, sealed in copies.items() if sealed][-keep:]
        for copy, sealed in copies.items():
            if copy < kept[0] or (not sealed and copy[1] == self.attempt):
                self._remove(copy)

    def clear(self) -> None:
        """Removes all copies, and at last what says whose they are."""
        for copy in self._copies():
            self._remove(copy)
        self.store.delete(self.prefix + MANIFEST)

    def _copies(self) -> dict[tuple[int, str], bool]:
        """Whether complete, by step and attempt, oldest first."""
        found: dict[tuple[int, str], bool] = {}
        for key in self.store.list(self.prefix):
            folder, _, name = key.removeprefix(self.prefix).partition("/")
            if match := _COPY.fullmatch(folder):
                copy = (int(match[1]), match[2])
                found[copy] = found.get(copy, False) or name == SEAL
        return dict(sorted(found.items()))

    def _remove(self, copy: tuple[int, str]) -> None:
        source = f"{self.prefix}checkpoint-{copy[0]}-{copy[1]}/"
        keys = self.store.list(source)
        for key in sorted(keys, key=lambda key: key != source + SEAL):  # the seal first: half a copy is none
            self.store.delete(key)


def list_copies(store: Store) -> list[tuple[StoredCheckpoints, dict[str, Any]]]:
    """Every training that has copies in the store, with its manifest (empty where it cannot be read).

    Raises:
        StoreError: the store is away.
    """
    found = []
    for name in sorted({key.removeprefix(PREFIX).partition("/")[0] for key in store.list(PREFIX)}):
        stored = StoredCheckpoints(store, name)
        try:
            about = stored.read_manifest() or {}
        except CheckpointError:
            about = {}
        found.append((stored, about))
    return found


def remove_copies(store: Store, run: str) -> None:
    """Removes the copies that belong to a run.

    Raises:
        StoreError: the store is away.
    """
    for stored, about in list_copies(store):
        if run and about.get("run") == run:
            stored.clear()


class Uploader:
    """Uploads complete checkpoints in a thread of its own."""

    def __init__(self, stored: StoredCheckpoints, announce: Callable[[str], None]) -> None:
        self._stored, self._announce = stored, announce
        self._changed = threading.Condition()
        self._waiting: tuple[Path, int, int] | None = None
        self._at_work: Path | None = None
        self._closed = False
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
        self._thread.start()

    def hand_over(self, checkpoint: Path, step: int, keep: int) -> None:
        """Takes a complete checkpoint, in the place of one that still waits."""
        with self._changed:
            self._raise_fault()
            self._waiting = (checkpoint, step, keep)
            self._changed.notify_all()

    def holds(self, checkpoint: Path) -> bool:
        """Whether `checkpoint` waits or is being uploaded: it must stay until then."""
        with self._changed:
            return checkpoint == self._at_work or (self._waiting is not None and checkpoint == self._waiting[0])

    def close(self) -> None:
        """Waits for the last upload; raises what was no failure of the store or the disk."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._raise_fault()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                if self._waiting is None:
                    return
                (checkpoint, step, keep), self._waiting = self._waiting, None
                self._at_work = checkpoint
            try:
                self._stored.upload(checkpoint, step, keep)
            except (StoreError, OSError, CheckpointError) as error:
                self._announce(
                    f"warning: checkpoint {step} is not in the object store, training goes on ({error}); "
                    "the next one is tried again"
                )
            except BaseException as error:
                self._fault = error  # a defect: raised where training meets it
                return
            finally:
                with self._changed:
                    self._at_work = None

    def _raise_fault(self) -> None:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault


def parse_manifest(data: bytes, where: object) -> dict[str, Any]:
    """What `manifest.json` says.

    Raises:
        CheckpointError: it is no manifest.
    """
    try:
        content = json.loads(data)
        return {**content, "recipe": dict(content["recipe"]), "station": str(content["station"])}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{where}: cannot be read ({error}); remove its folder, or take --fresh") from None
