"""Where frozen data sets lie, and how one is found: this machine's home, and `datasets/<digest>/` of the object store.

A data set is named by its digest, or by as much of its beginning as no other shares, or by its folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flytewheel.dataset import DatasetCard, list_files, parse_card
from flytewheel.dataset.layout import CARD
from flytewheel.errors import DatasetError
from flytewheel.tombstones import TOMBSTONE, refuse_erased
from registry.store import ObjectStore

PREFIX = "datasets/"
_NAME = re.compile(r"[0-9A-Za-z_-]{1,200}")


@dataclass(frozen=True, slots=True)
class Shelved:
    """A data set that was found. `created` is the store's time of its commit; `card` is `None` where it cannot be read,
    and `fault` says why.
    """

    digest: str
    created: datetime | None
    size_bytes: int
    stored: bool
    local: bool
    card: DatasetCard | None
    fault: str | None


def list_shelf(home: Path, store: ObjectStore) -> list[Shelved]:
    """Every committed data set in `store` and in `home`, newest first; one that cannot be read brings its fault.

    Raises:
        StoreError: the store is away.
    """
    local = {path.parent.name for path in (home / PREFIX).glob(f"*/{CARD}")}
    sizes: dict[str, int] = {}
    created: dict[str, datetime | None] = {}
    for found in store.describe(PREFIX):
        digest, _, name = found.key.removeprefix(PREFIX).partition("/")
        sizes[digest] = sizes.get(digest, 0) + found.size
        if name == CARD:
            created[digest] = found.modified
    shelf = []
    for digest in sorted(created.keys() | local):
        folder = home / PREFIX / digest
        stored = digest in created
        try:
            data = store.get_bytes(f"{PREFIX}{digest}/{CARD}") if stored else (folder / CARD).read_bytes()
            card, fault = parse_card(data, digest), None
        except DatasetError as error:
            card, fault = None, str(error)
        size = sizes[digest] if stored else sum(path.stat().st_size for path in list_files(folder))
        when = created[digest] if stored else datetime.fromtimestamp((folder / CARD).stat().st_mtime, UTC)
        shelf.append(Shelved(digest, when, size, stored, digest in local, card, fault))
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(shelf, key=lambda one: (one.created or oldest, one.digest), reverse=True)


def find_folder(name: str) -> Path | None:
    """The folder that `name` says, if it is one that holds a data set's card or is written as a path.

    Raises:
        DatasetError: it is written as a path, but no data set lies there.
    """
    folder = Path(name)
    if (folder / CARD).is_file():
        return folder
    if os.sep in name or name in (".", "..") or folder.is_dir():
        raise DatasetError(f"{name}: no data set lies there (no {CARD}); name a folder or a digest")
    return None


def find_digest(name: str, home: Path, store: ObjectStore) -> str:
    """The one digest that is `name` or begins with it.

    Raises:
        DatasetError: none does, or several do, or a person's rows were erased from it.
        StoreError: the store is away.
    """
    if not _NAME.fullmatch(name):
        raise DatasetError(f"{name!r}: expected a data set's digest, the beginning of one, or a folder")
    local = {path.parent.name for path in (home / PREFIX).glob(f"*/{CARD}")}
    keys = [key.removeprefix(PREFIX) for key in store.list(f"{PREFIX}{name}")]
    stored = {key.partition("/")[0] for key in keys if key.endswith(f"/{CARD}")}
    gone = sorted(key.partition("/")[0] for key in keys if key.endswith(f"/{TOMBSTONE}"))
    local -= set(gone)
    if not stored and len(gone) == 1:
        refuse_erased(store, gone[0])
    return _choose(name, sorted(stored | {digest for digest in local if digest.startswith(name)}))


def _choose(name: str, found: Sequence[str]) -> str:
    if name in found:
        return name
    if not found:
        raise DatasetError(f"no data set begins with {name!r}; see `flytewheel datasets list`")
    if len(found) > 1:
        shown = ", ".join(digest[: len(name) + 8] for digest in found[:5])
        raise DatasetError(f"{len(found)} data sets begin with {name!r} ({shown}): give more of the digest")
    return found[0]
