"""What a registered version consists of, and what it may be called.

A manifest is written once, under the digest of its own canonical JSON, and never changed; `versions/<name>/<version>`
points to it. The version's name `v1.{ISO year}{ISO week}.{iteration}` (v1.202647.1) says when its registration began;
iteration 0 is the base that nothing was trained into yet, which the first candidate is compared with.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from flytewheel.errors import RegistryError
from flytewheel.records import canonical_json, digest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VERSION = re.compile(r"v1\.(\d{4})(\d{2})\.(0|[1-9]\d*)")


class Version(NamedTuple):
    """A version's name in its parts; the tuple's order is the order of registration."""

    year: int
    week: int
    iteration: int

    def __str__(self) -> str:
        return f"v1.{self.year:04d}{self.week:02d}.{self.iteration}"

    @classmethod
    def of_week(cls, now: datetime, iteration: int) -> Version:
        """The version of ISO year and week of `now` in UTC: 1 January 2027 belongs to week 53 of 2026."""
        year, week, _ = now.astimezone(UTC).isocalendar()
        return cls(year, week, iteration)


class StoredFile(BaseModel):
    """One file of a version: SHA-256 in hex (also the name of its blob) and size in bytes.

    `edition` counts the names that were retired before its blob got one (`registry.blobs`); 0, as nearly always, is
    not written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    edition: int = Field(default=0, ge=0)

    @model_serializer(mode="wrap")
    def _leave_out_edition_0(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if name != "edition" or value}


class Manifest(BaseModel):
    """A version: its files, and the facts of its lineage.

    `facts` holds what the run knew: base_model, adapter, dataset_digest, recipe, git_commit, metrics, verdict, parity,
    run_id. `key` is the caller's own name for this registration; the same key never makes a second version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    created_at: AwareDatetime
    key: str
    files: dict[str, StoredFile]
    facts: dict[str, Any] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's canonical JSON, in hex; it names the manifest's object."""
        return digest(self)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files.values())

    def to_bytes(self) -> bytes:
        return canonical_json(self)

    @classmethod
    def from_bytes(cls, data: bytes, *, digest: str) -> Manifest:
        """Reads a manifest and holds it against the digest that pointed to it.

        Raises:
            RegistryError: it is not the manifest that was written.
        """
        got = hashlib.sha256(data).hexdigest()
        if got != digest:
            raise RegistryError(f"manifest {digest}: its content has digest {got}; it was changed, restore it")
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            raise RegistryError(
                f"manifest {digest}: not one that this flytewheel can read ({error.error_count()} faults)"
            ) from None
        if manifest.digest != digest:  # signatures are about what it says, so its bytes must be the only way to say it
            raise RegistryError(f"manifest {digest}: not as a registry writes it; restore it")
        return manifest


def parse_version(text: str) -> Version | None:
    """The parts of a version's name; None where `text` is none."""
    found = _VERSION.fullmatch(text)
    return Version(*(int(part) for part in found.groups())) if found else None


def check_name(name: str) -> None:
    """Refuses a model's name that could not be part of a key."""
    if not _NAME.fullmatch(name):
        raise RegistryError(f"model name {name!r}: expected letters, digits, '.', '_' and '-', at most 100")


def check_alias(alias: str) -> None:
    """Refuses an alias that could be taken for a version or could not be part of a key."""
    if not _ALIAS.fullmatch(alias):
        raise RegistryError(f"alias {alias!r}: expected lower-case letters, digits, '_' and '-', as in 'champion'")


def check_path(path: str) -> None:
    """Refuses a file name that would leave the folder that it is downloaded into."""
    parts = PurePosixPath(path).parts
    if (
        not parts
        or path.startswith("/")
        or ".." in parts
        or "\\" in path
        or "\0" in path
        or str(PurePosixPath(path)) != path
    ):
        raise RegistryError(f"file {path!r}: expected a plain relative path, as in 'adapter/adapter_config.json'")


def plain_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as plain JSON values, the same as they will be read back.

    Raises:
        RegistryError: a value has no JSON form, or is NaN or infinite.
    """
    try:
        plain: dict[str, Any] = json.loads(canonical_json(facts))
    except (TypeError, ValueError) as error:
        raise RegistryError(f"facts cannot be written as JSON ({error}); give plain, finite values") from None
    return plain
