"""Which stores a registry may stand on: one that keeps each promise when it is put to the test, in under a second.

The promises: of many writers with `If-None-Match: *` or with one `If-Match` exactly one wins, and its bytes are kept;
an ETag that is no longer the object's replaces nothing; every read and every listing shows the last write; bytes come
back as they went, whole or from the middle on; every other content has another ETag. A store that accepts the headers
and keeps none of it answers 200 to everything, so nothing but a test tells. One that passes may still fail in another
minute or under another load: what is read is hashed all the same.
"""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from flytewheel.errors import StoreError

if TYPE_CHECKING:
    from registry.store import ObjectStore

RACERS = 8  # conditional writes at once
ROUNDS = 5  # reads and listings that must show what was just written
_RACE_TIMEOUT_S = 60.0
_ODD_BYTES = (
    bytes(range(256)) * 16 + b"\r\n\r\n\0\xff\xfe\n \t\r\n"
)  # what a text mode, a codec or a strip() would change


def check_promises(store: ObjectStore) -> None:
    """Puts a store to the test on keys of its own, which it removes.

    Raises:
        StoreError: a promise was broken; the message says which.
    """
    prefix = f"probe/{uuid.uuid4().hex}"
    try:
        _check_races(store, f"{prefix}/race")
        _check_bytes(store, f"{prefix}/bytes")
        _check_freshness(store, f"{prefix}/fresh")
    finally:
        for name in ("race", "bytes", "fresh"):
            store.delete(f"{prefix}/{name}")


def _check_races(store: ObjectStore, key: str) -> None:
    _race(store, key, None)
    first = store.read(key)
    old = first.etag if first else ""
    _race(store, key, old)
    if store.put_if_absent(key, b"late") is not None:
        raise _refused(store, "If-None-Match let a late writer replace an object")
    if store.put_if_match(key, b"late", old) is not None:
        raise _refused(store, "If-Match let a writer with an old ETag replace an object")


def _race(store: ObjectStore, key: str, etag: str | None) -> None:
    """Eight conditional writes at once: created when `etag` is None, else replaced."""
    barrier = threading.Barrier(RACERS)

    def write(racer: int) -> bytes | None:
        data = f"{etag}:{racer}".encode()
        barrier.wait(timeout=_RACE_TIMEOUT_S)
        won = store.put_if_absent(key, data) if etag is None else store.put_if_match(key, data, etag)
        return data if won is not None else None

    with ThreadPoolExecutor(RACERS) as pool:
        winners = [data for data in pool.map(write, range(RACERS)) if data is not None]
    header = "If-None-Match" if etag is None else "If-Match"
    if len(winners) != 1:
        raise _refused(store, f"of {RACERS} writers with {header}, {len(winners)} won where exactly one may")
    if store.get_bytes(key) != winners[0]:
        raise _refused(store, f"the one writer with {header} that won is not the one whose bytes were kept")


def _check_bytes(store: ObjectStore, key: str) -> None:
    for data in (_ODD_BYTES, b""):
        store.put_bytes(key, data)
        got = store.get_bytes(key)
        if got != data:
            raise _refused(store, f"{len(data)} bytes of every value came back as {len(got)} others")
        if store.size(key) != len(data):
            raise _refused(store, f"an object of {len(data)} bytes is said to have {store.size(key)}")
    store.put_bytes(key, _ODD_BYTES)
    if b"".join(store.stream(key, start=1000)) != _ODD_BYTES[1000:]:
        raise _refused(store, "a read from the middle of an object brought other bytes than stand there")


def _check_freshness(store: ObjectStore, key: str) -> None:
    etags: set[str] = set()
    for turn in range(ROUNDS):
        data = f"turn {turn}".encode()
        store.put_bytes(key, data)
        found = store.read(key)
        if found is None or found.data != data:
            raise _refused(store, "a read after a write brought what was there before")
        if not found.etag or found.etag in etags:
            raise _refused(store, "an object that was changed kept its ETag")
        etags.add(found.etag)
        if key not in store.list(key):
            raise _refused(store, "a listing after a write does not show the object")
        if store.put_if_match(key, data + b"!", found.etag) is None:
            raise _refused(store, "If-Match refused the ETag that had just been read")
        store.delete(key)
        if store.read(key) is not None or key in store.list(key):
            raise _refused(store, "an object that was deleted is still shown")


def _refused(store: ObjectStore, what: str) -> StoreError:
    return StoreError(
        f"object store {store.url} is refused: {what}; "
        "the registry needs conditional writes and fresh reads, take a store that keeps them"
    )
