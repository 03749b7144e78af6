"""How data sets go to the object store and come back: what was erased from one does not come back with it."""

from __future__ import annotations

import shutil
from pathlib import Path

from flytewheel.database import connect
from flytewheel.dataset import Dataset, DatasetCard, digest_content, list_files, name_files, parse_card
from flytewheel.dataset.layout import QUARANTINED, all_parts
from flytewheel.erasures import find_erased, leave_out
from flytewheel.errors import DatasetError
from flytewheel.forgotten import read_forgotten
from flytewheel.local.services import Services
from flytewheel.tombstones import find_standing, read_tombstone, refuse_erased
from flytewheel.turn_training import open_store


def publish_dataset(services: Services, folder: Path, card: DatasetCard) -> None:
    """Copies a frozen data set into the object store under its digest, the card last; what is there already is left.

    Raises:
        DatasetError: a person's rows were erased from it, or it holds rows of somebody who was erased while it was
            curated: it may not come back.
    """
    store = open_store(services)
    prefix = f"datasets/{card.digest}"
    refuse_erased(store, card.digest)
    _refuse_forgotten(services, folder)
    if store.exists(f"{prefix}/card.json"):
        return
    for path in list_files(folder):
        store.put_file(f"{prefix}/{path.relative_to(folder).as_posix()}", path)


def fetch_dataset(services: Services, name: str) -> Path:
    """Brings an earlier data set from the object store into this machine's home, and counts its rows' bytes again.

    Raises:
        DatasetError: it is not in the store, or its rows are not those that its card was written for; or a person's
            rows were erased from it, and a copy that this machine still had is gone now as well.
    """
    folder = services.home / "datasets" / name
    store = open_store(services)
    if (stone := read_tombstone(store, name)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        raise DatasetError(str(stone))
    if (folder / "card.json").exists():
        return folder
    prefix = f"datasets/{name}/"
    if not store.exists(f"{prefix}card.json"):
        raise DatasetError(f"data set {name} is not in {store}: it cannot be replayed; set curation.replay_share: 0")
    card = parse_card(store.get_bytes(f"{prefix}card.json"), f"{store}/{prefix}card.json")
    present = set(store.list(prefix))
    for path in name_files(folder)[:-1]:
        if (key := f"{prefix}{path.relative_to(folder).as_posix()}") in present:
            store.get_file(key, path)
    if digest_content(folder) != card.content_digest:
        raise DatasetError(f"data set {name}: its rows in {store} are not those of its card; curate it again")
    store.get_file(f"{prefix}card.json", folder / "card.json")
    return folder


def fetch_replay(services: Services, name: str, folder: Path) -> Path:
    """Brings an earlier data set to be replayed, without the rows that were erased since: in `folder` where any were.

    Raises:
        DatasetError: see `fetch_dataset`.
        DatabaseError: PostgreSQL is away.
    """
    name = find_standing(open_store(services), name)
    whole = fetch_dataset(services, name)
    erased = find_erased(services.database_url, whole)
    if not erased:
        return whole
    leave_out(whole, folder, erased)
    print(f"replay of data set {name[:12]}: rows of {erased} that were erased since are left out", flush=True)
    return folder


def _refuse_forgotten(services: Services, folder: Path) -> None:
    """Makes sure that no row comes from what was erased.

    Raises:
        FeedbackError: people were erased with another key than this machine's.
    """
    with connect(services.database_url) as connection:
        row = connection.execute("SELECT FROM erased_ids LIMIT 1")
        forgotten = read_forgotten(connection, services.erasure_key) if row.rowcount else None
    if not forgotten:
        return
    data = Dataset(folder)
    rows = (row for kind, part in all_parts() if kind != QUARANTINED for row in data.rows(kind, part))
    if any(forgotten.holds("interaction", row.interactions) or forgotten.holds("feedback", row.events) for row in rows):
        raise DatasetError(
            "a person was erased while this data set was curated, and rows of theirs are in it: run the turn again"
        )
