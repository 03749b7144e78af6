"""What a task has left in the world, so that running it a second time can be compared with the first.

Outputs are compared by content: two attempts write to two places, and the same files there are the same output. Side
effects are what the database's tables and the store of the registry hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from psycopg import sql

from flytewheel.database import connect
from registry.store import ObjectStore


def take_stock(database_url: str, store: ObjectStore) -> dict[str, int]:
    """Rows of each table, and objects of the store by the first part of their keys."""
    stock: dict[str, int] = {}
    with connect(database_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            found = connection.execute(query).fetchone()
            stock[f"table {table}"] = int(found[0]) if found else 0
    for key in store.list():
        name = f"store {key.split('/', 1)[0]}"
        stock[name] = stock.get(name, 0) + 1
    return stock


def compare_stock(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """What there is more or less of, a line each."""
    names = sorted(set(before) | set(after))
    return [
        f"{name}: {before.get(name, 0)} → {after.get(name, 0)}" for name in names if before.get(name) != after.get(name)
    ]


def read_content(literal: Any, store: ObjectStore, bucket_url: str) -> Any:
    """A literal as something that equals another one's exactly when both say the same: files by their digests."""
    kind = literal.WhichOneof("value")
    if kind == "collection":
        return [read_content(one, store, bucket_url) for one in literal.collection.literals]
    if kind == "map":
        return {name: read_content(one, store, bucket_url) for name, one in literal.map.literals.items()}
    if literal.scalar.WhichOneof("value") != "blob":
        return literal.scalar.SerializeToString(deterministic=True).hex()
    prefix = literal.scalar.blob.uri.removeprefix(bucket_url).strip("/")
    return {
        key.removeprefix(prefix).lstrip("/"): hashlib.sha256(store.get_bytes(key)).hexdigest()
        for key in store.list(prefix)
    }


def compare_content(first: Any, second: Any, path: str = "") -> list[str]:
    """Where two contents differ, by their paths."""
    if isinstance(first, dict) and isinstance(second, dict):
        names = sorted(set(first) | set(second))
        return [line for name in names for line in compare_content(first.get(name), second.get(name), f"{path}/{name}")]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [
            line
            for index, (one, other) in enumerate(zip(first, second, strict=True))
            for line in compare_content(one, other, f"{path}/{index}")
        ]
    return [] if first == second else [path.lstrip("/")]
