"""Files that may quote a person: under the home, and in the object store outside data sets and registry.

Every file is opened in whatever form it has (`contents`), mended where it can be, and removed where not. Copies of runs
go as a whole: a wandb run of a turn whose data set quoted somebody has the quotes inside, in its log and its staged
files. Weights are not searched: they hold figures, and the versions that learnt from the person are tainted.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from flytewheel.erase.contents import WEIGHTS, finds, list_views, mend
from flytewheel.erase.needles import Needles
from flytewheel.erase.waiting import sweep_spool
from flytewheel.progress import ProgressCallback
from registry.store import ObjectStore

_SERVICES = frozenset({"postgres", "objects", "models", "spool"})  # of the home: searched by other ways, or weights
_KEPT = frozenset({"stack.json", "stack.lock", "erasure.key", ".lock"})
# Of the store: data sets are rewritten, the registry's files never change and hold no feedback (`list_unmendable`).
_OTHERS = (
    *("datasets/", "blobs/", "manifests/", "versions/", "keys/", "aliases/", "log/", "taints/", "signatures/"),
    *("heads/", "retired/", "gc/"),
)
_CARD_ARTIFACT = "dataset-card"
_LARGEST_BLOB = 4 << 20


def sweep_home(
    home: Path, needles: Needles, *, quoting: frozenset[str], write: bool, progress: ProgressCallback
) -> Counter[str]:
    """Mends or removes what quotes the person under the home; gives how many files, by folder.

    Args:
        home: of this machine.
        needles: the person.
        quoting: runs whose data set's card quotes people: their tracked runs that hold the card go as well.
        write: false: only counts.
        progress: is told the files.

    Raises:
        FeedbackError: the spool of a running router does not drain.
    """
    counts: Counter[str] = Counter()
    files = list(_list_files(home))
    gone: set[Path] = set()
    for number, path in enumerate(files):
        if number % 50 == 0:
            progress("search files", number, len(files))
        if any(folder in gone for folder in path.parents) or not path.is_file():
            continue
        name = path.relative_to(home).as_posix()
        tracked = _find_tracked(path)
        if tracked is not None:
            if _quotes_card(tracked, home, quoting) or finds(needles, path.read_bytes(), name):
                gone.add(tracked)
                counts["wandb"] += 1
                if write:
                    shutil.rmtree(tracked, ignore_errors=True)
            continue
        data = path.read_bytes()
        mended = mend(needles, data, name)
        if mended is data:
            continue
        counts[name.partition("/")[0]] += 1
        if write:
            _write(path, mended)
    progress("search files", len(files), len(files))
    counts["spool"] += sweep_spool(home, needles, write=write)
    return +counts


def sweep_store(store: ObjectStore, needles: Needles, *, write: bool, progress: ProgressCallback) -> Counter[str]:
    """Mends or removes what quotes the person in the store; arguments as `sweep_home`.

    Raises:
        StoreError: the store is away.
    """
    counts: Counter[str] = Counter()
    keys = [key for key in store.list() if not key.startswith(_OTHERS) and Path(key).suffix not in WEIGHTS]
    for number, key in enumerate(keys):
        progress("search the store", number, len(keys))
        found = store.read(key)
        if found is None:
            continue
        mended = mend(needles, found.data, key)
        if mended is found.data:
            continue
        counts[f"store {key.partition('/')[0]}"] += 1
        if write and mended is None:
            store.delete(key)
        elif write and mended is not None:
            store.put_bytes(key, mended)
    progress("search the store", len(keys), len(keys))
    return counts


def list_unmendable(store: ObjectStore, needles: Needles) -> list[str]:
    """Files of the registry that quote the person; they never change, so a person has to remove the versions.

    Weights and large blobs are passed over. Ids of rows may stand in them (a gate's reason names a case by its id):
    they lead nowhere any more.
    """
    found = []
    for prefix in ("manifests/", "blobs/", "signatures/", "log/", "aliases/"):
        for each in store.describe(prefix):
            if each.size <= _LARGEST_BLOB and (held := store.read(each.key)) is not None:
                if held.data[:4] == b"GGUF" or b'"dtype"' in held.data[:256]:
                    continue
                if any(needles.quotes(view) for view in list_views(held.data)):
                    found.append(each.key)
    return found


def _list_files(home: Path) -> Iterator[Path]:
    for top in sorted(home.iterdir()) if home.is_dir() else ():
        if top.name in _SERVICES or top.name in _KEPT or top.is_symlink():
            continue
        if top.is_file():
            yield top
            continue
        for folder, _, names in sorted(os.walk(top)):
            for name in sorted(names):
                path = Path(folder) / name
                own_step = top.name == "datasets"  # data sets have a step of their own
                if not own_step and path.suffix not in WEIGHTS and name not in _KEPT and not path.is_symlink():
                    yield path


def _find_tracked(path: Path) -> Path | None:
    """The folder of the wandb run that a file belongs to."""
    for folder in path.parents:
        if folder.parent.name == "wandb" and ("run-" in folder.name):
            return folder
    return None


def _quotes_card(tracked: Path, home: Path, quoting: frozenset[str]) -> bool:
    parts = tracked.relative_to(home).parts
    run = parts[1] if len(parts) > 1 and parts[0] == "runs" else ""
    return run in quoting and (tracked / "artifacts" / _CARD_ARTIFACT).is_dir()


def _write(path: Path, data: bytes | None) -> None:
    """Replaces a file's content in its place: a log may be open in a service."""
    if data is None:
        path.unlink(missing_ok=True)
        return
    with path.open("r+b") as stream:
        stream.write(data)
        stream.truncate()
