"""Registers, finds, downloads and verifies versions, and moves their aliases.

    keys/<name>/<sha256 of key>    which version a registration is after, and when it began   (compare-and-set)
    blobs/sha256/<digest>          the files, once each
    manifests/<digest>.json        what a version consists of
    versions/<name>/<version>      points to its manifest: written last, If-None-Match = the commit
    aliases/<name>/<alias>         champion, challenger …                                    (compare-and-set)
    log/<name>/…                   what happened, append-only

Readers look at `versions/` only, so a registration killed before its commit leaves nothing to be seen, and one that is
repeated under the same key ends in one version. Why that holds: the key's record names the version tried for and moves
on only after `versions/` shows that another key owns that version. Versions never change, so no writer with this key
can have won a version that the record has left, and all writers with one key try for the same one, which exactly one
write can create.

What the kill may leave are blobs, manifests and a key's record that nothing points to: unused space, no wrong answer. A
log entry that a kill took is written by the next call that sees it missing; its name depends only on what it tells.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flytewheel.errors import RegistryError
from flytewheel.records import canonical_json
from registry.blobs import BlobState, bring_file, check_blob, keep_file
from registry.manifest import (
    Manifest,
    StoredFile,
    Version,
    check_alias,
    check_name,
    check_path,
    parse_version,
    plain_facts,
)
from registry.store import ObjectStore, StoredObject
from registry.told import Progress, tell

_TRIES = 100  # each lost race means that another writer finished; so many in a row mean that something is wrong


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What `verify` found for one file."""

    path: str
    state: BlobState
    sha256: str
    size: int


class Registry:
    """The versions of all models in one object store."""

    def __init__(self, store: ObjectStore, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Opens the registry in `store`; `clock` dates the moves of aliases. Nothing is sent yet."""
        self._store = store
        self._clock = clock

    def register(
        self,
        name: str,
        files: Mapping[str, Path],
        *,
        facts: Mapping[str, Any],
        key: str,
        now: datetime,
        base_version: bool = False,
        progress: Progress | None = None,
    ) -> Manifest:
        """Registers `files` as the next version of `name`, or returns the version that `key` already has.

        Args:
            name: The model's name; it comes into being with its first version.
            files: Path inside the version → file on disk.
            facts: Lineage for the manifest, JSON-able.
            key: Names this registration; a second call with it changes nothing, whatever its files.
            now: Decides year and week; a repeated registration keeps those of its first try.
            base_version: Takes iteration 0 if it is free: the model that nothing was trained into yet.
            progress: Told the MiB that are kept, after each file.

        Raises:
            RegistryError: a file is missing or changed while it was read, or a name is not allowed.
            StoreError: the store is away, or lets two conditional writes both win.
        """
        check_name(name)
        if now.tzinfo is None:
            raise ValueError("now needs a time zone")
        if not files:
            raise RegistryError(f"{name}: no files to register")
        for path, file in files.items():
            check_path(path)
            if not file.is_file():
                raise RegistryError(f"{name}: file {path!r} is not there ({file}); export again")
        plain = plain_facts(facts)
        self._store.probe()
        claim_key = f"keys/{name}/{hashlib.sha256(key.encode()).hexdigest()}"
        version, started, etag = self._claim(claim_key, name, now, base_version)
        stored: dict[str, StoredFile] | None = None
        for _ in range(_TRIES):
            owner = self._pointer(name, str(version))
            if owner is None:
                if stored is None:
                    sizes = {path: file.stat().st_size for path, file in sorted(files.items())}
                    sent = tell(f"register {name}, MiB", sizes, progress)
                    stored = {path: keep_file(self._store, files[path]) for path in sent}
                manifest = Manifest(
                    name=name, version=str(version), created_at=started, key=key, files=stored, facts=plain
                )
                self._store.put_bytes(f"manifests/{manifest.digest}.json", manifest.to_bytes())
                pointer = {"manifest": manifest.digest, "key": claim_key}
                self._store.put_if_absent(f"versions/{name}/{version}", canonical_json(pointer))
                owner = self._pointer(name, str(version))  # whoever won: this key, here or elsewhere, or another one
                if owner is None:
                    raise RegistryError(f"{name} {version} went away when it was written; keep other tools out")
            if owner["key"] == claim_key:
                manifest = self._manifest(owner["manifest"])
                self._log(name, manifest.created_at, "register", {"version": manifest.version, **owner})
                return manifest
            version, started, etag = self._move_claim(claim_key, name, started, etag)
        raise RegistryError(f"{name}: lost {_TRIES} races for a version in a row; try again when fewer register")

    def list(self, name: str | None = None) -> builtins.list[Manifest]:
        """All versions, of one model or of every one, oldest first."""
        names = self.names() if name is None else [name]
        return [self.show(item, str(version)) for item in names for version in self._versions(item)]

    def names(self) -> builtins.list[str]:
        """Names of all models that have a version."""
        return sorted({key.split("/")[1] for key in self._store.list("versions/") if key.count("/") == 2})

    def show(self, name: str, version_or_alias: str) -> Manifest:
        """The manifest of a version.

        Raises:
            RegistryError: there is no such model, version or alias, or its manifest was changed.
        """
        check_name(name)
        version = version_or_alias
        if parse_version(version) is None:
            aliased = self.get_alias(name, version_or_alias)
            if aliased is None:
                raise RegistryError(f"{name}: no version or alias {version_or_alias!r}; {self._known(name)}")
            version = aliased
        pointer = self._pointer(name, version)
        if pointer is None:
            raise RegistryError(f"{name}: no version {version!r}; {self._known(name)}")
        return self._manifest(pointer["manifest"])

    def download(
        self,
        name: str,
        version_or_alias: str,
        to: Path,
        only: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> builtins.list[Path]:
        """Brings a version's files into folder `to`, each hashed before it gets its name; right ones are kept.

        Args:
            name: The model.
            version_or_alias: Which version.
            to: Folder, made if missing.
            only: Paths inside the version; None: all of them.
            progress: Told the MiB that are there, after each file.

        Raises:
            RegistryError: a path is not in the version, or a file is missing from the store or corrupt in it.
        """
        manifest = self.show(name, version_or_alias)
        wanted = sorted(manifest.files if only is None else only)
        unknown = [path for path in wanted if path not in manifest.files]
        if unknown:
            raise RegistryError(
                f"{name} {manifest.version}: no file {unknown[0]!r}; it has {', '.join(manifest.files)}"
            )
        for path in wanted:
            check_path(path)
        sizes = {path: manifest.files[path].size for path in wanted}
        return [
            bring_file(self._store, f"{name} {manifest.version}: {path}", manifest.files[path], to / path)
            for path in tell(f"download {name}, MiB", sizes, progress)
        ]

    def verify(self, name: str, version_or_alias: str) -> builtins.list[FileCheck]:
        """Reads every file of a version in the store and hashes it."""
        manifest = self.show(name, version_or_alias)
        return [
            FileCheck(path, check_blob(self._store, file), file.sha256, file.size)
            for path, file in sorted(manifest.files.items())
        ]

    def get_alias(self, name: str, alias: str) -> str | None:
        """The version that an alias stands for; None where it was never set."""
        check_name(name)
        check_alias(alias)
        found = self._store.read(f"aliases/{name}/{alias}")
        return str(json.loads(found.data)["version"]) if found else None

    def aliases(self, name: str) -> dict[str, str]:
        """All aliases of a model with their versions."""
        check_name(name)
        names = [key.rsplit("/", 1)[1] for key in self._store.list(f"aliases/{name}/")]
        return {alias: version for alias in names if (version := self.get_alias(name, alias)) is not None}

    def set_alias(self, name: str, alias: str, version: str, expect: str | None = None) -> bool:
        """Moves an alias to a version by compare-and-set.

        Args:
            name: The model.
            alias: As in `champion`.
            version: An existing version.
            expect: The version that the alias must stand for now, "" if it must not exist yet; None: anything.

        Returns:
            Whether it moved; False where it stood there already.

        Raises:
            RegistryError: there is no such version, or the alias is not where it was expected.
        """
        check_alias(alias)
        if parse_version(version) is None:
            raise RegistryError(f"alias {alias!r} can only point to a version, not to {version!r}; {self._known(name)}")
        self.show(name, version)
        self._store.probe()
        for _ in range(_TRIES):
            found = self._store.read(f"aliases/{name}/{alias}")
            record: dict[str, Any] = json.loads(found.data) if found else {"version": "", "moves": 0}
            if found:
                self._log_move(name, alias, record)  # in case the one who moved it was killed before writing it down
            if record["version"] == version and expect in {None, version}:
                return False
            if expect is not None and record["version"] != expect:
                raise RegistryError(
                    f"{name}: alias {alias!r} stands for {record['version'] or 'nothing'}, not {expect or 'nothing'} "
                    "as expected: someone moved it, look before you try again"
                )
            moved = {
                "version": version,
                "previous": record["version"],
                "moves": record["moves"] + 1,  # also makes every record's ETag its own, so none can come back
                "at": self._clock().astimezone(UTC).isoformat(),
                "by": uuid.uuid4().hex,
            }
            if self._replace(f"aliases/{name}/{alias}", found, moved):
                self._log_move(name, alias, moved)
                return True
        raise RegistryError(f"{name}: alias {alias!r} moved {_TRIES} times under our hands; try again")

    def log(self, name: str) -> builtins.list[dict[str, Any]]:
        """What happened to a model's versions and aliases, oldest first."""
        check_name(name)
        return [json.loads(self._store.get_bytes(key)) for key in self._store.list(f"log/{name}/")]

    # -- versions

    def _versions(self, name: str) -> builtins.list[Version]:
        check_name(name)
        tails = (key.rsplit("/", 1)[1] for key in self._store.list(f"versions/{name}/"))
        return sorted(version for tail in tails if (version := parse_version(tail)) is not None)

    def _next_version(self, name: str, started: datetime) -> Version:
        week = Version.of_week(started, 0)
        taken = [version.iteration for version in self._versions(name) if version[:2] == week[:2]]
        return week._replace(iteration=max(taken, default=0) + 1)

    def _pointer(self, name: str, version: str) -> dict[str, str] | None:
        found = self._store.read(f"versions/{name}/{version}")
        return json.loads(found.data) if found else None

    def _manifest(self, digest: str) -> Manifest:
        found = self._store.read(f"manifests/{digest}.json")
        if found is None:
            raise RegistryError(f"manifest {digest} is missing from the store; restore it")
        return Manifest.from_bytes(found.data, digest=digest)

    def _known(self, name: str) -> str:
        known = [str(version) for version in self._versions(name)]
        if known:
            return f"known are {', '.join(known[-5:])}"
        return f"there is no model {name!r}; known are {', '.join(self.names()) or 'none'}"

    # -- claims

    def _claim(self, claim_key: str, name: str, now: datetime, base: bool) -> tuple[Version, datetime, str]:
        """Reads the key's record or makes it: the version tried for, when it began, and the record's ETag."""
        if (found := self._store.read(claim_key)) is None:
            version = Version.of_week(now, 0) if base else self._next_version(name, now)
            self._store.put_if_absent(claim_key, _claim_record(version, now))
            found = self._store.read(claim_key)
            if found is None:
                raise RegistryError(f"{claim_key} went away while it was written; keep other tools out of the registry")
        return _read_claim(found)

    def _move_claim(self, claim_key: str, name: str, started: datetime, etag: str) -> tuple[Version, datetime, str]:
        """Lets the key try for the next version, unless another writer with this key has moved it on already."""
        version = self._next_version(name, started)
        self._store.put_if_match(claim_key, _claim_record(version, started), etag)
        found = self._store.read(claim_key)
        if found is None:
            raise RegistryError(f"{claim_key} went away while it was moved; keep other tools out of the registry")
        return _read_claim(found)

    def _replace(self, key: str, found: StoredObject | None, value: Mapping[str, Any]) -> bool:
        """Compare-and-set of a small JSON object; `found` is what was read."""
        data = canonical_json(value)
        if found is None:
            return self._store.put_if_absent(key, data) is not None
        return self._store.put_if_match(key, data, found.etag) is not None

    # -- log

    def _log_move(self, name: str, alias: str, record: Mapping[str, Any]) -> None:
        self._log(
            name, datetime.fromisoformat(record["at"]), f"alias-{alias}-{record['moves']}", {"alias": alias, **record}
        )

    def _log(self, name: str, at: datetime, what: str, entry: Mapping[str, Any]) -> None:
        """Writes one entry, once: its name depends on what it tells."""
        stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        version = entry["version"]
        data = canonical_json({"at": at.astimezone(UTC), "what": what.split("-")[0], **entry})
        self._store.put_if_absent(f"log/{name}/{stamp}-{what}-{version}.json", data)


def _claim_record(version: Version, started: datetime) -> bytes:
    return canonical_json({"version": str(version), "started": started.astimezone(UTC)})


def _read_claim(found: StoredObject) -> tuple[Version, datetime, str]:
    record = json.loads(found.data)
    version = parse_version(record["version"])
    if version is None:
        raise RegistryError(
            f"a registration's record names {record['version']!r}; keep other tools out of the registry"
        )
    return version, datetime.fromisoformat(record["started"]), found.etag
