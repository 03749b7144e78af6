"""Registers, finds, downloads and verifies versions, and moves their aliases.

    keys/<name>/<sha256 of key>    which version a registration is after (`claims`)
    blobs/sha256/<digest>          the files, once each (`blobs`)
    manifests/<digest>.json        what a version consists of (`manifest`)
    signatures/<digest>.json       who says so (`seal`)
    versions/<name>/<version>      points to its manifest: written last, If-None-Match = the commit
    aliases/<name>/<alias>         champion, challenger … (`aliases`)
    log/<name>/…                   what happened, append-only (`journal`)

Readers look at `versions/` only, so a registration killed before its commit leaves nothing to be seen, and one that is
repeated under the same key ends in one version. What the kill may leave are blobs, manifests and a key's record that
nothing points to: unused space, no wrong answer. A log entry that a kill took is written by the next call that sees it
missing.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flytewheel.errors import RegistryError
from flytewheel.records import canonical_json
from registry.aliases import Aliases
from registry.blobs import Inspect, keep_bytes, keep_file, look_at
from registry.claims import Claim, Claims, list_versions
from registry.downloads import FileCheck, bring_files, check_files
from registry.folder import write_proof
from registry.journal import read_events, write_event
from registry.manifest import Manifest, StoredFile, check_alias, check_name, check_path, parse_version, plain_facts
from registry.seal import Seal, check_sealed, sign_again, signature_key
from registry.store import ObjectStore
from registry.told import Progress, tell

_TRIES = 100  # each lost race means that another writer finished; so many in a row mean that something is wrong


class Registry:
    """The versions of all models in one object store."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        seal: Seal | None = None,
        inspect: Inspect | None = None,
    ) -> None:
        """Opens the registry in `store`; nothing is sent yet.

        Args:
            store: Where everything is kept.
            clock: Dates the moves of aliases.
            seal: Signs what is registered, and must accept every version that is read; None: neither.
            inspect: Looks at every file that comes in or goes out, and refuses it by an error.
        """
        self._store = store
        self._seal = seal
        self._inspect = inspect
        self._claims = Claims(store)
        self._aliases = Aliases(store, clock)

    @property
    def store(self) -> ObjectStore:
        """Where everything is kept."""
        return self._store

    def register(
        self,
        name: str,
        files: Mapping[str, Path],
        *,
        facts: Mapping[str, Any],
        key: str,
        now: datetime,
        base_version: bool = False,
        describe: Callable[[Manifest], Mapping[str, bytes]] | None = None,
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
            describe: Writes further files out of what is known of the version by then: name, version, facts, and the
                digests of `files`. It must give the same bytes for the same manifest.
            progress: Told the MiB that are kept, after each file.

        Raises:
            RegistryError: a file is missing or changed while it was read, a name is not allowed, or the seal refuses
                what was signed.
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
            look_at(file, path, f"{name}: file {path!r} is refused", self._inspect)
        plain = plain_facts(facts)
        self._store.probe()
        claim = self._claims.take(name, key, now, base=base_version)
        stored: dict[str, StoredFile] | None = None
        for _ in range(_TRIES):
            owner = self._pointer(name, str(claim.version))
            if owner is None:
                if stored is None:
                    sizes = {path: file.stat().st_size for path, file in sorted(files.items())}
                    sent = tell(f"register {name}, MiB", sizes, progress)
                    stored = {path: keep_file(self._store, files[path]) for path in sent}
                manifest = Manifest(
                    name=name, version=str(claim.version), created_at=claim.started, key=key, files=stored, facts=plain
                )
                if describe is not None:
                    more = {path: keep_bytes(self._store, data) for path, data in sorted(describe(manifest).items())}
                    manifest = manifest.model_copy(update={"files": manifest.files | more})
                owner = self._commit(manifest, claim)
            if owner["key"] == claim.place:
                manifest, _ = self._read(owner["manifest"])
                write_event(self._store, name, manifest.created_at, "register", {"version": manifest.version, **owner})
                return manifest
            claim = self._claims.move(claim)
        raise RegistryError(f"{name}: lost {_TRIES} races for a version in a row; try again when fewer register")

    def _commit(self, manifest: Manifest, claim: Claim) -> dict[str, str]:
        """Writes manifest, signature and, last, the pointer to them, unless another key's is there.

        Returns:
            The pointer that is there now: whoever won, this key, here or elsewhere, or another one.
        """
        self._store.put_bytes(f"manifests/{manifest.digest}.json", manifest.to_bytes())
        if self._seal is not None:
            self._store.put_bytes(signature_key(manifest.digest), self._seal.sign(manifest))
        pointer = {"manifest": manifest.digest, "key": claim.place}
        self._store.put_if_absent(f"versions/{claim.name}/{claim.version}", canonical_json(pointer))
        owner = self._pointer(claim.name, str(claim.version))
        if owner is None:
            raise RegistryError(f"{claim.name} {claim.version} went away when it was written; keep other tools out")
        return owner

    def list(self, name: str | None = None) -> builtins.list[Manifest]:
        """All versions, of one model or of every one, oldest first."""
        names = self.names() if name is None else [name]
        for item in names:
            check_name(item)
        return [self.show(item, str(version)) for item in names for version in list_versions(self._store, item)]

    def names(self) -> builtins.list[str]:
        """Names of all models that have a version."""
        return sorted({key.split("/")[1] for key in self._store.list("versions/") if key.count("/") == 2})

    def show(self, name: str, version_or_alias: str) -> Manifest:
        """The manifest of a version.

        Raises:
            RegistryError: there is no such model, version or alias, its manifest was changed, or the seal refuses it.
        """
        return self._find(name, version_or_alias)[0]

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

        With all files of a sealed registry come manifest and signature (`folder`), so that they prove themselves.

        Raises:
            RegistryError: a path is not in the version, or a file is missing from the store or corrupt in it.
        """
        manifest, signature = self._find(name, version_or_alias)
        brought = bring_files(self._store, manifest, to, only, progress, self._inspect)
        if only is None and signature is not None:
            write_proof(to, manifest, signature)
        return brought

    def sign(self, name: str, version_or_alias: str) -> Manifest:
        """Signs a version that is there already, after every file of it was read and found whole.

        Raises:
            RegistryError: a file is missing or corrupt, or the seal cannot sign.
        """
        if self._seal is None:
            raise ValueError("a registry without a seal cannot sign")
        manifest, _ = self._find(name, version_or_alias, sealed=False)
        for check in check_files(self._store, manifest):
            if check.state != "ok":
                raise RegistryError(f"{name} {manifest.version}: {check.path} is {check.state}; restore it, then sign")
        sign_again(self._store, self._seal, manifest)
        return manifest

    def verify(self, name: str, version_or_alias: str) -> builtins.list[FileCheck]:
        """Reads every file of a version in the store and hashes it."""
        return check_files(self._store, self.show(name, version_or_alias))

    def get_alias(self, name: str, alias: str) -> str | None:
        """The version that an alias stands for; None where it was never set."""
        return self._aliases.get(name, alias)

    def aliases(self, name: str) -> dict[str, str]:
        """All aliases of a model with their versions."""
        return self._aliases.all(name)

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
        return self._aliases.move(name, alias, version, expect)

    def log(self, name: str) -> builtins.list[dict[str, Any]]:
        """What happened to a model's versions and aliases, oldest first."""
        check_name(name)
        return read_events(self._store, name)

    def _find(self, name: str, version_or_alias: str, *, sealed: bool = True) -> tuple[Manifest, bytes | None]:
        """A version's manifest, and its signature where there is a seal to ask."""
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
        return self._read(pointer["manifest"], sealed=sealed)

    def _pointer(self, name: str, version: str) -> dict[str, str] | None:
        found = self._store.read(f"versions/{name}/{version}")
        return json.loads(found.data) if found else None

    def _read(self, digest: str, *, sealed: bool = True) -> tuple[Manifest, bytes | None]:
        found = self._store.read(f"manifests/{digest}.json")
        if found is None:
            raise RegistryError(f"manifest {digest} is missing from the store; restore it")
        manifest = Manifest.from_bytes(found.data, digest=digest)
        asked = self._seal if sealed else None
        return manifest, check_sealed(self._store, asked, manifest) if asked else None

    def _known(self, name: str) -> str:
        known = [str(version) for version in list_versions(self._store, name)]
        if known:
            return f"known are {', '.join(known[-5:])}"
        return f"there is no model {name!r}; known are {', '.join(self.names()) or 'none'}"
