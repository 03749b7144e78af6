"""Registers, finds, downloads and verifies versions, and moves their aliases.

    keys/<name>/<sha256 of key>    which version a registration is after; heads/… a hint for it (`claims`)
    blobs/sha256/<digest>          the files, once each; retired/… names that were deleted (`blobs`)
    manifests/<digest>.json        what a version consists of (`manifest`)
    signatures/<digest>.json       who says so (`seal`)
    versions/<name>/<version>      points to its manifest: written last, If-None-Match = the commit (`pointers`)
    aliases/<name>/<alias>         champion, challenger … (`aliases`)
    log/<name>/…                   what happened, append-only (`journal`)
    gc/condemned                   what the next collection may delete (`collection`)

Readers look at `versions/` only, so a registration killed before its commit leaves nothing to be seen, and one that is
repeated under the same key ends in one version. What the kill may leave are blobs, manifests and a key's record that
nothing points to: unused space, no wrong answer. A log entry that a kill took is written by the next call that sees it
missing.
"""

from __future__ import annotations

import builtins
import difflib
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flytewheel.errors import RegistryError
from registry.aliases import CHAMPION, PREVIOUS, Aliases, Move
from registry.audit import Finding, audit_records, audit_versions
from registry.blobs import Inspect
from registry.claims import list_versions
from registry.downloads import FileCheck, bring_files, check_files
from registry.folder import write_proof
from registry.journal import read_events, write_failure
from registry.manifest import Manifest, check_alias, check_name, parse_version
from registry.pointers import read_pointer
from registry.registration import Describe, Registrations, Request
from registry.seal import Seal, read_sealed, sign_again
from registry.store import ObjectStore
from registry.told import Progress


class Registry:
    """The versions of all models in one object store."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        seal: Seal | None = None,
        inspect: Inspect | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Opens the registry in `store`; nothing is sent yet.

        Args:
            store: Where everything is kept.
            clock: Dates the moves of aliases.
            seal: Signs what is registered, and must accept every version that is read; None: neither.
            inspect: Looks at every file that comes in or goes out, and refuses it by an error.
            pause: Waits for so many seconds after a lost race.
        """
        self._store = store
        self._seal = seal
        self._inspect = inspect
        self._registrations = Registrations(store, seal, inspect, pause)
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
        describe: Describe | None = None,
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
            progress: Told the MiB that are hashed, and then those that are kept.

        Raises:
            RegistryError: a file is missing or changed while it was read, a name is not allowed, or the seal refuses
                what was signed.
            StoreError: the store is away, or lets two conditional writes both win.
        """
        asked = Request(name, files, facts=facts, key=key, now=now, base_version=base_version, describe=describe)
        return self._registrations.register(asked, progress)

    def list(self, name: str | None = None) -> builtins.list[Manifest]:
        """All versions, of one model or of every one, oldest first."""
        names = self.names() if name is None else [name]
        for item in names:
            check_name(item)
        return [self.show(item, str(version)) for item in names for version in list_versions(self._store, item)]

    def names(self) -> builtins.list[str]:
        """Names of all models that have a version."""
        return sorted({key.split("/")[1] for key in self._store.list("versions/") if key.count("/") == 2})

    def find(self, name: str, version_or_alias: str) -> str:
        """The version that is meant; one that is named as a version need not be there.

        Raises:
            RegistryError: there is no such alias.
        """
        check_name(name)
        if parse_version(version_or_alias) is not None:
            return version_or_alias
        aliased = self.get_alias(name, version_or_alias)
        if aliased is None:
            raise RegistryError(f"{name}: no version or alias {version_or_alias!r}; {self.describe_known(name)}")
        return aliased

    def show(self, name: str, version_or_alias: str) -> Manifest:
        """The manifest of a version.

        Raises:
            RegistryError: there is no such model, version or alias, its manifest was changed, or the seal refuses it.
        """
        return self._read(name, version_or_alias)[0]

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
            progress: Told the MiB that are there.

        With all files of a sealed registry come manifest and signature (`folder`), so that they prove themselves.

        Raises:
            RegistryError: a path is not in the version, or a file is missing from the store or corrupt in it.
        """
        manifest, signature = self._read(name, version_or_alias)
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
        manifest, _ = self._read(name, version_or_alias, sealed=False)
        for check in check_files(self._store, manifest):
            if check.state != "ok":
                raise RegistryError(f"{name} {manifest.version}: {check.path} is {check.state}; restore it, then sign")
        sign_again(self._store, self._seal, manifest)
        return manifest

    def verify(self, name: str, version_or_alias: str) -> builtins.list[FileCheck]:
        """Reads every file of a version in the store and hashes it."""
        return check_files(self._store, self.show(name, version_or_alias))

    def audit(
        self, name: str | None = None, version_or_alias: str | None = None, progress: Progress | None = None
    ) -> builtins.list[Finding]:
        """Reads everything through: one version, all of a model, or all there are; without a version records as well.

        Raises:
            RegistryError: there is no such model, version or alias.
        """
        if name is not None and version_or_alias is not None:
            version = self.find(name, version_or_alias)
            return audit_versions(self._store, self.show, name, [version], progress)
        names = self.names()
        if name is not None and name not in names:
            check_name(name)
            raise RegistryError(self.describe_known(name))
        findings = []
        for each in names if name is None else [name]:
            versions = [str(version) for version in list_versions(self._store, each)]
            findings += audit_versions(self._store, self.show, each, versions, progress)
            findings += audit_records(self._store, each)
        return findings

    def get_alias(self, name: str, alias: str) -> str | None:
        """The version that an alias stands for; None where it was never set."""
        return self._aliases.get(name, alias)

    def aliases(self, name: str) -> dict[str, str]:
        """All aliases of a model with their versions."""
        return self._aliases.all(name)

    def set_alias(
        self, name: str, alias: str, version: str, expect: str | None = None, *, by: str = "", reason: str = ""
    ) -> bool:
        """Moves an alias to a version by compare-and-set; `previous` moves with the champion.

        Args:
            name: The model.
            alias: As in `champion`.
            version: An existing version.
            expect: The version that the alias must stand for now, "" if it must not exist yet; None: anything.
            by: Who moves it.
            reason: Why.

        Returns:
            Whether it moved; False where it stood there already.

        Raises:
            RegistryError: there is no such version, or the alias is not where it was expected.
        """
        return self._move(name, alias, version, expect, kind="set", by=by, reason=reason) is not None

    def promote(
        self, name: str, version: str, expect: str | None = None, *, by: str = "", reason: str = ""
    ) -> Move | None:
        """Makes a version the champion, and the one before it `previous`, in one write. Takes an alias as well.

        Returns:
            The move; None where the version is champion already.

        Raises:
            RegistryError: there is no such version, or the champion is not `expect` (where given).
        """
        return self._move(
            name, CHAMPION, self.show(name, version).version, expect, kind="promote", by=by, reason=reason
        )

    def roll_back(self, name: str, expect: str | None = None, *, by: str = "", reason: str = "") -> Move:
        """Lets the champion before this one be champion again.

        Raises:
            RegistryError: there was none, its version cannot be read, or the champion is not `expect` (where given).
        """
        check_name(name)
        self._store.probe()
        if (previous := self.get_alias(name, PREVIOUS)) is not None:
            self.show(name, previous)
        return self._aliases.roll_back(name, expect, by=by, reason=reason)

    def history(self, name: str, alias: str) -> builtins.list[Move]:
        """Every move of an alias, oldest first: when, from where, to where, by whom and why."""
        return self._aliases.history(name, alias)

    def last_move(self, name: str, alias: str) -> Move | None:
        """The last move of an alias, one read; None where there was none."""
        return self._aliases.last(name, alias)

    def _move(
        self, name: str, alias: str, version: str, expect: str | None, *, kind: str, by: str, reason: str
    ) -> Move | None:
        check_alias(alias)
        if parse_version(version) is None:
            known = self.describe_known(name)
            raise RegistryError(f"alias {alias!r} can only point to a version, not to {version!r}; {known}")
        self.show(name, version)
        self._store.probe()
        return self._aliases.move(name, alias, version, expect, kind=kind, by=by, reason=reason)

    def log(self, name: str) -> builtins.list[dict[str, Any]]:
        """What happened to a model's versions and aliases, and which workflows failed, oldest first."""
        check_name(name)
        return read_events(self._store, name)

    def note_failure(self, name: str, at: datetime, *, execution: str, station: str, cause: str, run: str = "") -> bool:
        """Writes into the log which station of which execution failed, and the cause in one line; once for both.

        Raises:
            RegistryError: `name` is none that a model can have.
            StoreError: the store is away.
        """
        check_name(name)
        return write_failure(self._store, name, at, execution=execution, station=station, cause=cause, run=run)

    def _read(self, name: str, version_or_alias: str, *, sealed: bool = True) -> tuple[Manifest, bytes | None]:
        """A version's manifest, and its signature where there is a seal to ask."""
        version = self.find(name, version_or_alias)
        pointer = read_pointer(self._store, name, version)
        if pointer is None:
            raise RegistryError(f"{name}: no version {version!r}; {self.describe_known(name)}")
        manifest, signature = read_sealed(self._store, self._seal if sealed else None, pointer["manifest"])
        if (manifest.name, manifest.version) != (name, version):
            raise RegistryError(
                f"{name} {version} points to the manifest of {manifest.name} {manifest.version}; restore the pointer"
            )
        return manifest, signature

    def describe_known(self, name: str) -> str:
        """What there is, for a person who named something that is not: the last versions, or the nearest models."""
        known = [str(version) for version in list_versions(self._store, name)]
        if known:
            return f"known are {', '.join(known[-5:])}"
        names = self.names()
        near = difflib.get_close_matches(name, names, n=3)
        return f"there is no model {name!r}; {'near is' if near else 'known are'} {', '.join(near or names) or 'none'}"
