"""The files of versions: each once, under the SHA-256 of its bytes, checked on the way in and on the way out."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from flytewheel.errors import FlytewheelError, RegistryError
from flytewheel.records import file_digest
from registry.manifest import StoredFile
from registry.store import ObjectStore

# Looks at a file on its way in or out, by its content and its name inside the version; raises where it must not pass.
Inspect = Callable[[Path, str], None]
BlobState = Literal["ok", "missing", "corrupt"]


def keep_file(store: ObjectStore, file: Path) -> StoredFile:
    """Uploads a file under its digest unless a blob of that name and size is there.

    Raises:
        RegistryError: the file changed between hashing and sending; what was sent is taken back.
    """
    digest, size = file_digest(file), file.stat().st_size
    key = blob_key(digest)
    if store.size(key) != size:
        sent = store.put_file(key, file)
        if sent != digest:
            store.delete(key)
            raise RegistryError(f"{file} changed while it was read; register again when nothing writes to it")
    return StoredFile(sha256=digest, size=size)


def keep_bytes(store: ObjectStore, data: bytes) -> StoredFile:
    """Writes a small file under its digest unless a blob of that name and size is there."""
    sha256 = hashlib.sha256(data).hexdigest()
    if store.size(blob_key(sha256)) != len(data):
        store.put_bytes(blob_key(sha256), data)
    return StoredFile(sha256=sha256, size=len(data))


def bring_file(store: ObjectStore, what: str, file: StoredFile, path: Path, inspect: Inspect | None = None) -> Path:
    """Brings a blob to `path`, which it gets only with the right digest; a right file that is there already is kept.

    Raises:
        RegistryError: the blob is missing or corrupt, or `inspect` refuses it; `path` is untouched then. `what` names
            it for a person.
    """
    if path.is_file() and path.stat().st_size == file.size and file_digest(path) == file.sha256:
        look_at(path, path.name, what, inspect)
        return path
    key = blob_key(file.sha256)
    if store.size(key) is None:
        raise RegistryError(f"{what} is missing from the store; restore {key} or register again")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        got = store.get_file(key, part)
        if got != file.sha256:
            raise RegistryError(f"{what} is corrupt in the store: expected {file.sha256}, got {got}; restore {key}")
        look_at(part, path.name, what, inspect)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def check_blob(store: ObjectStore, file: StoredFile) -> BlobState:
    """Reads a blob through and compares its digest."""
    key = blob_key(file.sha256)
    if store.size(key) is None:
        return "missing"
    digest = hashlib.sha256()
    for chunk in store.stream(key):
        digest.update(chunk)
    return "ok" if digest.hexdigest() == file.sha256 else "corrupt"


def look_at(file: Path, name: str, what: str, inspect: Inspect | None) -> None:
    """Has a file inspected, if there is who does; `what` names it for a person.

    Raises:
        RegistryError: it is refused, and why.
    """
    if inspect is None:
        return
    try:
        inspect(file, name)
    except FlytewheelError as error:
        raise RegistryError(f"{what}: {error}") from None


def blob_key(sha256: str) -> str:
    """The key of the blob with this digest."""
    return f"blobs/sha256/{sha256}"
