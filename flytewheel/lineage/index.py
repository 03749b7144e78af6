"""Which rows of which data set come from whom and what: a table in PostgreSQL, so that an answer reads no data set.

Data sets and versions never change, so each is read once, when an answer first needs it, and never again; what went
from the store goes from the index. Memory stays at one row group, however large the data sets are. The table is made of
the store alone: `rebuild` drops it and reads everything again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.dataset.layout import CARD, QUARANTINED, all_parts, part_file
from flytewheel.dataset.parts import read_batches
from flytewheel.progress import ProgressCallback
from flytewheel.tombstones import PREFIX, Tombstone, list_tombstones
from registry.manifest import Manifest, parse_version
from registry.store import ObjectStore
from registry.versions import Registry

_LOCK = 0x6C696E65  # any constant, the same for every process
_COPY = """
COPY dataset_rows (dataset, kind, part, row_id, user_id, source, interactions, events) FROM STDIN
"""
_REMEMBER = """
INSERT INTO indexed_versions (name, version, dataset, started_from, run_id, reward, serve_days)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name, version) DO NOTHING
"""

Row = tuple[str, str, str, str, str, str, list[str], list[str]]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What bringing the index up to date came to."""

    datasets: int
    rows: int
    versions: int
    added_datasets: int
    added_versions: int
    stones: dict[str, Tombstone]


def refresh_index(database_url: str, store: ObjectStore, *, progress: ProgressCallback | None = None) -> Refreshed:
    """Brings the index up to date with the store.

    Args:
        database_url: PostgreSQL.
        store: holds the data sets and the registry.
        progress: is told the data sets read, of those that are new.

    Raises:
        DatabaseError, StoreError: a service is away.
        DatasetError: a data set is damaged; those before it are in the index.
    """
    standing = _list_datasets(store)
    with connect(database_url) as connection:
        known = {row[0] for row in connection.execute("SELECT dataset FROM indexed_datasets").fetchall()}
        connection.execute("DELETE FROM indexed_datasets WHERE dataset = ANY(%s)", (sorted(known - standing),))
    missing = sorted(standing - known)
    for number, digest in enumerate(missing):
        if progress is not None:
            progress("index data sets", number, len(missing))
        add_dataset(database_url, store, digest)
    if progress is not None and missing:
        progress("index data sets", len(missing), len(missing))
    added = _refresh_versions(database_url, store)
    with connect(database_url) as connection:
        ((rows, versions),) = connection.execute(
            "SELECT (SELECT coalesce(sum(rows), 0) FROM indexed_datasets)::bigint,"
            " (SELECT count(*) FROM indexed_versions)"
        ).fetchall()
    return Refreshed(len(standing), rows, versions, len(missing), added, list_tombstones(store))


def rebuild(database_url: str, store: ObjectStore, *, progress: ProgressCallback | None = None) -> Refreshed:
    """Drops the index and makes it again; arguments and errors as `refresh_index`."""
    with connect(database_url) as connection:
        connection.execute("TRUNCATE dataset_rows, indexed_datasets, indexed_versions")
    return refresh_index(database_url, store, progress=progress)


def add_dataset(database_url: str, store: ObjectStore, digest: str) -> int:
    """Puts a data set of the store into the index, in one transaction; gives its rows."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-index-") as scratch, connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if connection.execute("SELECT FROM indexed_datasets WHERE dataset = %s", (digest,)).rowcount:
            return 0
        folder = Path(scratch)
        present = set(store.list(f"{PREFIX}{digest}/"))
        connection.execute("INSERT INTO indexed_datasets (dataset, rows) VALUES (%s, 0)", (digest,))
        count = 0
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for kind, part in all_parts():
                file = part_file(folder, kind, part)
                key = f"{PREFIX}{digest}/{file.relative_to(folder).as_posix()}"
                if key not in present:
                    continue
                store.get_file(key, file)
                for row in read_origins(file, digest, kind, part):
                    copy.write_row(row)
                    count += 1
                file.unlink()
        connection.execute("UPDATE indexed_datasets SET rows = %s WHERE dataset = %s", (count, digest))
        return count


def read_origins(file: Path, digest: str, kind: str, part: str) -> Iterator[Row]:
    """The rows of one part as the index has them: whose, and from what."""
    for batch in read_batches(file, kind):
        if kind == QUARANTINED:
            columns = [batch.column(name).to_pylist() for name in ("event_id", "user_id", "interaction_id")]
            for event, user, interaction in zip(*columns, strict=True):
                yield digest, kind, part, event, user, "", [interaction] if interaction else [], [event]
            continue
        names = ("id", "user", "interactions", "events")
        found: list[list[Any]] = [batch.column(name).to_pylist() for name in names]
        has_source = "source" in batch.schema.names
        sources = batch.column("source").to_pylist() if has_source else [""] * batch.num_rows
        for (row, user, said, heard), source in zip(zip(*found, strict=True), sources, strict=True):
            yield digest, kind, part, row, user, source, said, heard


def _list_datasets(store: ObjectStore) -> set[str]:
    keys = (key.removeprefix(PREFIX).partition("/") for key in store.list(PREFIX))
    return {digest for digest, _, name in keys if name == CARD}


def _refresh_versions(database_url: str, store: ObjectStore) -> int:
    registry = Registry(store)
    with connect(database_url) as connection:
        known = {
            (row[0], row[1]) for row in connection.execute("SELECT name, version FROM indexed_versions").fetchall()
        }
    there = list_versions(store)
    added = [registry.show(*each) for each in sorted(there - known)]
    with connect(database_url) as connection:
        for name, version in sorted(known - there):
            connection.execute("DELETE FROM indexed_versions WHERE name = %s AND version = %s", (name, version))
        for manifest in added:
            _remember(connection, manifest)
    return len(added)


def list_versions(store: ObjectStore) -> set[tuple[str, str]]:
    """Name and version of everything that is registered, from the listing alone."""
    keys = (key.split("/") for key in store.list("versions/"))
    return {(parts[1], parts[2]) for parts in keys if len(parts) == 3 and parse_version(parts[2]) is not None}


def _remember(connection: Connection, manifest: Manifest) -> None:
    facts = manifest.facts
    recipe = facts.get("recipe") if isinstance(facts.get("recipe"), dict) else {}
    rlhf = recipe.get("rlhf") or {} if isinstance(recipe, dict) else {}
    privacy = recipe.get("privacy") or {} if isinstance(recipe, dict) else {}
    connection.execute(
        _REMEMBER,
        (
            manifest.name,
            manifest.version,
            str(facts.get("dataset_digest") or ""),
            str(facts.get("started_from") or ""),
            str(facts.get("run_id") or ""),
            bool(rlhf.get("enable")) and rlhf.get("method") == "grpo",
            privacy.get("erased_serve_days"),
        ),
    )
