"""The files of versions: each once, under the SHA-256 of its bytes, checked on the way in and on the way out.

    blobs/sha256/<digest>        a file
    blobs/sha256/<digest>.<n>    the same file once more: the names before were retired
    retired/<digest>[.<n>]       this name's blob was, or is about to be, deleted: nobody relies on it again

Why a blob that a registration relies on cannot be deleted under it, without a lock: who registers writes down first
that its registration holds the digest (`claims`), then looks whether the name is retired, then whether the blob is
there. Who deletes writes down first that the name is retired, then looks whether anyone holds the digest or any version
names the blob, then deletes. Of two that meet, one sees the other's note: the one who deletes lets the blob be, or the
one who registers takes the next name. No order of the steps, and no request that arrives late, breaks this; all it
needs is that reads are fresh (`registry.probe`).
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

from flytewheel.errors import FlytewheelError, RegistryError
from registry.manifest import StoredFile
from registry.store import CHUNK, ObjectStore

BLOBS = "blobs/sha256/"
RETIRED = "retired/"

# Looks at a file on its way in or out, by its content and its name inside the version; raises where it must not pass.
Inspect = Callable[[Path, str], None]
BlobState = Literal["ok", "missing", "corrupt"]


def blob_name(file: StoredFile) -> str:
    """The last part of a blob's key: its digest, and its edition from the second on."""
    return f"{file.sha256}.{file.edition}" if file.edition else file.sha256


def blob_key(file: StoredFile) -> str:
    """Where a version's file lies."""
    return BLOBS + blob_name(file)


def hash_file(path: Path, told: Callable[[int], None]) -> StoredFile:
    """Digest and size of a file on disk; `told` hears the bytes read."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            told(len(chunk))
    return StoredFile(sha256=digest.hexdigest(), size=size)


def hash_bytes(data: bytes) -> StoredFile:
    """Digest and size of a small file in memory."""
    return StoredFile(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def keep_file(store: ObjectStore, path: Path, file: StoredFile, told: Callable[[int], None]) -> StoredFile:
    """Uploads a file unless its blob is there. A claim must hold its digest already.

    Args:
        store: Where to.
        path: The file on disk.
        file: What it was when it was hashed.
        told: Hears the bytes that are kept.

    Returns:
        `file` in the edition that is kept.

    Raises:
        RegistryError: the file changed between hashing and sending; nothing was written then.
    """
    kept = _choose_edition(store, file)
    if store.size(blob_key(kept)) == kept.size:
        told(kept.size)
    elif store.put_file(blob_key(kept), path, sha256=kept.sha256, told=told) != kept.sha256:
        raise RegistryError(f"{path} changed while it was read; register again when nothing writes to it")
    return kept


def keep_bytes(store: ObjectStore, data: bytes) -> StoredFile:
    """Writes a small file unless its blob is there. A claim must hold its digest already."""
    kept = _choose_edition(store, hash_bytes(data))
    if store.size(blob_key(kept)) != kept.size:
        store.put_bytes(blob_key(kept), data)
    return kept


def bring_file(
    store: ObjectStore,
    what: str,
    file: StoredFile,
    path: Path,
    told: Callable[[int], None],
    inspect: Inspect | None = None,
) -> Path:
    """Brings a blob to `path`, which it gets only with the right digest; a right file that is there already is kept.

    What an earlier try left is read again and gone on from; it lies beside `path` under a name with the digest.

    Raises:
        RegistryError: the blob is missing or corrupt, or `inspect` refuses it; `path` is untouched then. `what` names
            it for a person.
    """
    if path.is_file() and path.stat().st_size == file.size and hash_file(path, told).sha256 == file.sha256:
        look_at(path, path.name, what, inspect)
        return path
    key = blob_key(file)
    if store.size(key) is None:
        raise RegistryError(f"{what} is missing from the store; restore {key} or register again")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open_part(path, file) as (part, stream):
        began = os.fstat(stream.fileno()).st_size
        got = _fill(store, key, file.size, stream, told)
        if got != file.sha256 and began:  # what was left may be what is wrong
            stream.truncate(0)
            stream.seek(0)
            got = _fill(store, key, file.size, stream, told)
        if got != file.sha256:
            part.unlink()
            raise RegistryError(f"{what} is corrupt in the store: expected {file.sha256}, got {got}; restore {key}")
        try:
            look_at(part, path.name, what, inspect)
        except RegistryError:
            part.unlink()
            raise
        part.replace(path)
    _clear_parts(path)
    return path


def check_blob(store: ObjectStore, file: StoredFile, told: Callable[[int], None]) -> BlobState:
    """Reads a blob through and compares its digest."""
    key = blob_key(file)
    if store.size(key) is None:
        return "missing"
    digest = hashlib.sha256()
    for chunk in store.stream(key):
        digest.update(chunk)
        told(len(chunk))
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


def _choose_edition(store: ObjectStore, file: StoredFile) -> StoredFile:
    """The first edition of a file whose name is not retired."""
    editions = (file.model_copy(update={"edition": edition}) for edition in itertools.count())
    return next(each for each in editions if not store.exists(RETIRED + blob_name(each)))


def _fill(store: ObjectStore, key: str, size: int, stream: BinaryIO, told: Callable[[int], None]) -> str:
    """Hashes what a part holds, appends what it lacks of `size` bytes, and returns the digest of it all."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        told(len(chunk))
    have = stream.tell()
    for chunk in store.stream(key, start=have) if have < size else ():
        digest.update(chunk)
        stream.write(chunk)
        told(len(chunk))
    stream.flush()
    os.fsync(stream.fileno())
    return digest.hexdigest()


@contextmanager
def _open_part(path: Path, file: StoredFile) -> Iterator[tuple[Path, BinaryIO]]:
    """The unfinished file of a download, locked; one of its own where another process is at it."""
    part = path.with_name(f".{path.name}.{file.sha256[:16]}.part")
    stream = part.open("a+b")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stream.seek(0)
        same = os.fstat(stream.fileno()).st_ino == (part.stat().st_ino if part.exists() else None)
    except BlockingIOError:
        same = False
    if same:
        with stream:
            yield part, stream
        return
    stream.close()
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("x+b") as own:
            fcntl.flock(own, fcntl.LOCK_EX)
            yield part, own
    finally:
        part.unlink(missing_ok=True)


def _clear_parts(path: Path) -> None:
    """Removes what other tries left of a file that is there now, unless a process is at it."""
    for part in path.parent.iterdir():
        if part.name.startswith(f".{path.name}.") and part.name.endswith(".part"):
            with suppress(OSError), part.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink(missing_ok=True)
