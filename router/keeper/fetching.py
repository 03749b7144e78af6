"""Brings versions onto the disk, also while the object store is away: then by the records that proved them before.

What a fetch read of the registry (pointer, manifest, signature, marks of erasure) is remembered with the version. Where
the store does not answer, the same code reads those instead, so that signature and digests are held against the files
on disk exactly as they were at first; a file that is not there, or is not right, stays away with the store.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from flytewheel.errors import StoreError
from flytewheel.settings import Settings
from flytewheel.signed_registry import seal_registry
from flytewheel.signing_keys import KeyRing
from registry.store import ObjectStore, StoredObject
from router.backends.served import ServedModel, fetch_model
from router.keeper.lastgood import LastGood

logger = logging.getLogger("router.keeper")

RECORD_LIMIT = 1 << 20  # bytes; a manifest has a few thousand


class RecordingStore(ObjectStore):
    """A store that remembers the small objects which were read through it; None: there was none."""

    def __init__(self, inner: ObjectStore) -> None:
        self.__dict__.update(inner.__dict__)
        self.records: dict[str, bytes | None] = {}

    def read(self, key: str) -> StoredObject | None:
        found = super().read(key)
        if found is None or len(found.data) <= RECORD_LIMIT:
            self.records[key] = None if found is None else found.data
        return found


class RememberedStore(ObjectStore):
    """What was read of a store that is away; everything else is away with it."""

    def __init__(self, url: str, bucket: str, records: Mapping[str, bytes | None]) -> None:
        self.url = url
        self.bucket = bucket
        self._records = records

    def read(self, key: str) -> StoredObject | None:
        if key not in self._records:
            raise StoreError(f"object store {self.url} is away, and {key} was never read here")
        data = self._records[key]
        return None if data is None else StoredObject(data, "")

    def __getattr__(self, name: str) -> object:
        if name in ("_client", "_first"):
            raise StoreError(f"object store {self.url} is away; start it")
        raise AttributeError(name)


class Fetcher:
    """Fetches versions of one registry into `models`; `lastgood` holds what proved them."""

    def __init__(self, store: ObjectStore, ring: KeyRing, lastgood: LastGood, models: Path, settings: Settings) -> None:
        self._store = store
        self._ring = ring
        self._lastgood = lastgood
        self._models = models
        self._kind, self._mode = settings.backend, settings.backend_mode

    def fetch(self, name: str, version: str) -> ServedModel:
        """Brings what a version is served from; see `fetch_model`.

        Raises:
            StoreError: the store is away, and what is on this disk does not prove itself without it.
        """
        recording = RecordingStore(self._store)
        try:
            model = self._fetch(recording, name, version)
        except StoreError as error:
            known = self._lastgood.records.get((name, version))
            if known is None:
                raise
            logger.warning("%s; %s %s is taken from this disk", error, name, version)
            return self._fetch(RememberedStore(self._store.url, self._store.bucket, known), name, version)
        self._lastgood.records[name, version] = recording.records
        return model

    def _fetch(self, store: ObjectStore, name: str, version: str) -> ServedModel:
        registry = seal_registry(store, self._ring, sign=False)
        return fetch_model(registry, self._models, name, version, kind=self._kind, mode=self._mode)
