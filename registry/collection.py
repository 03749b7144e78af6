"""Garbage collection in two passes, with days between them.

    gc/condemned    what was garbage when it was last looked at, and since when    (compare-and-set)

One call is one pass: it deletes what was condemned at least `grace` ago, is garbage still and was not written since,
and condemns what is new. Without `apply` it only says what it would do, and keeps nothing. All ages are by the store's
clock.

The two passes are for people and foreign tools: whatever they do by mistake can be undone for a day. Against our own
publishers the grace proves nothing, and need not: no blob that one of them relies on can be deleted (`blobs`), no
manifest that can still be committed is garbage (`garbage`). One assumption is left: a publisher that was stopped for
longer than `hold` between its last look at its claim and its commit would commit a version whose blobs may be gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flytewheel.errors import RegistryError, StoreError
from registry.blobs import BLOBS, RETIRED
from registry.garbage import OURS, Marked, find_garbage, let_go, mark
from registry.pointers import MANIFESTS
from registry.seal import SIGNATURES
from registry.slips import read_slip, write_slip
from registry.store import ObjectStore, StoredKey, Upload

CONDEMNED = "gc/condemned"
GRACE = timedelta(days=1)
HOLD = timedelta(days=7)
_OWN_ROOMS = (*OURS, "versions/", "aliases/", "keys/", "heads/", "log/", "gc/", "taints/")


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object that nothing needs: key, size in bytes, ETag and time of its last write, condemned since when."""

    key: str
    size: int
    etag: str
    modified: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class Collection:
    """What a pass did, or would do where it was not `applied`.

    Attributes:
        applied: Whether it was done.
        deleted: Condemned long enough ago, and garbage still.
        condemned: Garbage that was not condemned before, or was written since.
        waiting: Condemned, and not long enough ago.
        young: How many objects are garbage, and too young to be condemned.
        uploads: Keys whose unfinished uploads in parts were given up.
        foreign: How many objects in the bucket are not the registry's (data sets, runs): never looked at.
    """

    applied: bool
    deleted: tuple[Garbage, ...]
    condemned: tuple[Garbage, ...]
    waiting: tuple[Garbage, ...]
    young: int
    uploads: tuple[str, ...]
    foreign: int


def tell_time(store: ObjectStore) -> datetime:
    """The store's clock, read off an object that is written and removed again.

    Raises:
        StoreError: the store does not date its objects.
    """
    key = f"probe/{uuid.uuid4().hex}"
    try:
        store.put_bytes(key, b"")
        listed = store.describe(key)
    finally:
        store.delete(key)
    if not listed or listed[0].modified is None:
        raise StoreError(f"object store {store.url} does not say when an object was written: nothing can be collected")
    return listed[0].modified.astimezone(UTC)


def collect(
    store: ObjectStore,
    *,
    apply: bool = False,
    grace: timedelta = GRACE,
    hold: timedelta = HOLD,
    clock: Callable[[ObjectStore], datetime] = tell_time,
) -> Collection:
    """Makes one pass.

    Args:
        store: Where the registry is.
        apply: Whether to do it; else nothing is kept.
        grace: How old garbage must be to be condemned, and how long it must have been condemned to be deleted.
        hold: How long an unfinished registration that nobody goes on with keeps its blobs; not shorter than `grace`.
        clock: Tells the store's time.

    Raises:
        RegistryError: a record cannot be read, so that what is needed is not known; nothing was deleted.
        StoreError: the store is away, or breaks its promises.
    """
    if grace > hold:
        raise RegistryError(f"a grace period of {grace} is longer than the hold of {hold}; give a longer hold")
    store.probe()
    now = clock(store)
    marked = _mark(store, let_go_before=now - hold if apply else None, held_after=None if apply else now - hold)
    known, etag = _read_condemned(store)
    listed = find_garbage(store, marked, now)
    old = [each for each in listed if each.modified is not None and each.modified <= now - grace]
    garbage = [_date(each, known, now) for each in old]
    due = [each for each, again in garbage if again and each.since <= now - grace]
    uploads = [each for each in store.list_uploads(BLOBS) if _is_left(each, marked, now - grace)]
    if apply:
        due = _delete(store, due, {each.key for each in listed})
        for upload in uploads:
            store.abort_upload(upload)
    left = [(each, again) for each, again in garbage if each not in due]
    if apply:
        _write_condemned(store, [each for each, _ in left], etag)
    return Collection(
        applied=apply,
        deleted=tuple(due),
        condemned=tuple(each for each, again in left if not again),
        waiting=tuple(each for each, again in left if again),
        young=len(listed) - len(old),
        uploads=tuple(sorted(each.key for each in uploads)),
        foreign=sum(not key.startswith(_OWN_ROOMS) for key in store.list()),
    )


def _delete(store: ObjectStore, due: list[Garbage], present: set[str]) -> list[Garbage]:
    """Deletes what nobody has come to need meanwhile, and returns that.

    The order is what keeps a registration's blobs (`registry.blobs`): retire the names, look again who needs them, and
    only then delete. A signature goes before its manifest, which says what both were for.
    """
    for each in due:
        if each.key.startswith(BLOBS):
            store.put_if_absent(RETIRED + each.key.removeprefix(BLOBS), b"")
    marked = _mark(store)
    keys = {each.key for each in due}

    def may_go(each: Garbage) -> bool:
        if each.key.startswith(BLOBS):
            return not marked.needs_blob(each.key)
        signature = SIGNATURES + each.key.removeprefix(MANIFESTS)
        return not each.key.startswith(MANIFESTS) or signature in keys or signature not in present

    gone = sorted(filter(may_go, due), key=lambda each: (each.key.startswith(MANIFESTS), each.key))
    for each in gone:
        store.delete(each.key)
    return gone


def _date(each: StoredKey, known: Mapping[str, Garbage], now: datetime) -> tuple[Garbage, bool]:
    """A piece of garbage, and whether it was condemned before and has not been written since."""
    assert each.modified is not None
    found = Garbage(each.key, each.size, each.etag, each.modified.astimezone(UTC), now)
    before = known.get(each.key)
    if before is not None and (before.etag, before.modified) == (found.etag, found.modified):
        return before, True
    return found, False


def _is_left(upload: Upload, marked: Marked, before: datetime) -> bool:
    """Whether nobody goes on with an upload."""
    return upload.begun is not None and upload.begun <= before and not marked.needs_blob(upload.key)


def _read_condemned(store: ObjectStore) -> tuple[dict[str, Garbage], str]:
    found = store.read(CONDEMNED)
    if found is None:
        return {}, ""
    rows: dict[str, Any] = read_slip(CONDEMNED, found.data)["keys"]
    known = {
        key: Garbage(key, size, etag, datetime.fromisoformat(modified), datetime.fromisoformat(since))
        for key, (size, etag, modified, since) in rows.items()
    }
    return known, found.etag


def _write_condemned(store: ObjectStore, left: list[Garbage], etag: str) -> None:
    """Keeps the list for the next pass; of two passes at once, one keeps its list, and either is right."""
    rows = {each.key: (each.size, each.etag, each.modified, each.since) for each in left}
    data = write_slip(CONDEMNED, {"keys": rows, "nonce": uuid.uuid4().hex})
    if etag:
        store.put_if_match(CONDEMNED, data, etag)
    else:
        store.put_if_absent(CONDEMNED, data)


def _mark(store: ObjectStore, *, let_go_before: datetime | None = None, held_after: datetime | None = None) -> Marked:
    try:
        if let_go_before is not None:
            let_go(store, held_after=let_go_before)
        return mark(store, held_after=held_after)
    except RegistryError as error:
        raise RegistryError(f"nothing was collected, because what is needed cannot be known: {error}") from error
