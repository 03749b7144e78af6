"""The object store behind the registry: S3 through the `minio` client, with the conditional writes commits need.

A commit is one PUT that only one of many writers can win: `If-None-Match: *` creates, `If-Match: <etag>` replaces what
was read. The client's public `put_object` cannot send either header, so `_put_conditional` is the one place that calls
its private `_put_object`; minio is pinned in pyproject.toml for that reason. Stores exist that accept the headers and
let two writers win (SeaweedFS, RustFS and versitygw have raced on them; s3rver and `rclone serve s3` ignore them):
`registry.probe` finds out and refuses.

A store that is down is said within about five seconds: connecting may take `CONNECT_TIMEOUT_S`, twice. Only GET and
HEAD are sent again after a broken connection; a conditional PUT that was sent twice could lose against itself.
"""

from __future__ import annotations

import hashlib
import io
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError

from flytewheel.errors import StoreError
from registry.probe import check_promises
from registry.wire import HashedReader, OtherBytes, name_cause, one_line, open_pool, released

READ_TIMEOUT_S = 60.0  # of silence on the wire, not of a whole transfer
FIRST_READ_TIMEOUT_S = 4.0  # before the store has ever answered
CHUNK = 1 << 20
PART_SIZE = 16 << 20

_GONE = frozenset({"NoSuchKey", "NoSuchObject", "NotFound", "NoSuchUpload"})
_LOST = frozenset({"PreconditionFailed", "NoSuchKey"})
_KEYS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_BUSY_TRIES = 5  # AWS answers ConditionalRequestConflict to a racing writer that should ask again

_probed: set[tuple[str, str]] = set()
_probe_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's bytes and the ETag that `put_if_match` wants back."""

    data: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a listing says of an object; `modified` is the store's clock."""

    key: str
    size: int
    modified: datetime | None
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in parts that nobody has completed; `begun` is the store's clock."""

    key: str
    upload_id: str
    begun: datetime | None


class ObjectStore:
    """One bucket of an S3 store. Safe to share between threads; a forked child needs its own."""

    def __init__(self, url: str, access_key: str, secret_key: str, bucket: str, region: str | None = None) -> None:
        """Prepares a client for `bucket` at `url` (`http(s)://host[:port]`); nothing is sent yet.

        Raises:
            StoreError: the URL has no scheme or host, or carries a path.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
            raise StoreError(f"object store URL {url!r}: expected http(s)://host[:port]; set FLYTEWHEEL_S3_URL")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self.bucket = bucket
        options: dict[str, Any] = {
            "access_key": access_key,
            "secret_key": secret_key,
            "secure": parts.scheme == "https",
            "region": region or "us-east-1",  # given, so that the client does not ask for it before each first request
        }
        self._client = Minio(parts.netloc, http_client=open_pool(READ_TIMEOUT_S), **options)
        self._first = Minio(parts.netloc, http_client=open_pool(FIRST_READ_TIMEOUT_S), **options)

    def __repr__(self) -> str:
        return f"ObjectStore({self.url}/{self.bucket})"

    def has_bucket(self) -> bool:
        """Whether the bucket is there; raises as `ensure_bucket` does."""
        with self._spoken("open"):
            return bool(self._first.bucket_exists(self.bucket))

    def ensure_bucket(self) -> None:
        """Creates the bucket unless it is there.

        Raises:
            StoreError: the store is away, refuses the keys, or the bucket's name is not allowed.
        """
        if self.has_bucket():
            return
        with self._spoken("open"):
            try:
                self._first.make_bucket(self.bucket)
            except S3Error as error:
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Writes `data` under `key`, over anything that was there."""
        with self._spoken(f"write {key}"):
            self._client.put_object(self.bucket, key, io.BytesIO(data), len(data), content_type=content_type)

    def put_file(
        self, key: str, path: Path, *, sha256: str | None = None, told: Callable[[int], None] | None = None
    ) -> str:
        """Streams the file at `path` to `key`, over anything that was there, in parts of 16 MiB.

        Args:
            key: Where to.
            path: The file.
            sha256: What its digest must be: of a file that has changed, nothing is written.
            told: Hears the bytes read.

        Returns:
            SHA-256 in hex of the bytes read, so that a caller can tell a file that changed since it was hashed.
        """
        size = path.stat().st_size
        with path.open("rb") as stream, self._spoken(f"write {key}"):
            hashed: Any = HashedReader(stream, size=size, sha256=sha256, told=told)
            with suppress(OtherBytes):  # the last part was not sent then: nothing is under `key`
                self._client.put_object(self.bucket, key, hashed, size, part_size=PART_SIZE)
            return str(hashed.hexdigest())

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        """Creates `key` with `data`; returns its ETag, or None where it existed already."""
        return self._put_conditional(key, data, {"If-None-Match": "*"})

    def put_if_match(self, key: str, data: bytes, etag: str) -> str | None:
        """Replaces `key` if it still has `etag`; returns the new ETag, or None where it changed or went meanwhile."""
        return self._put_conditional(key, data, {"If-Match": f'"{etag}"'})

    def read(self, key: str) -> StoredObject | None:
        """Reads an object with its ETag; None where there is none."""
        with self._spoken(f"read {key}"):
            try:
                response = self._client.get_object(self.bucket, key)
            except S3Error as error:
                if error.code in _GONE:
                    return None
                raise
            with released(response):
                return StoredObject(response.read(), response.headers.get("etag", "").strip('"'))

    def get_bytes(self, key: str) -> bytes:
        """Reads an object.

        Raises:
            StoreError: there is none under `key`, or the store is away.
        """
        found = self.read(key)
        if found is None:
            raise StoreError(f"{self.url}/{self.bucket}: no object {key!r}")
        return found.data

    def get_file(self, key: str, path: Path) -> str:
        """Streams an object into `path`, by way of a temporary name beside it.

        Returns:
            SHA-256 in hex of what came.

        Raises:
            StoreError: there is none under `key`, or the store is away; `path` is untouched then.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        digest = hashlib.sha256()
        try:
            with part.open("wb") as out:
                for chunk in self.stream(key):
                    digest.update(chunk)
                    out.write(chunk)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest()

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """Yields an object, or what follows its first `start` bytes, in chunks of 1 MiB.

        Raises:
            StoreError: there is none under `key`, or the store is away.
        """
        with self._spoken(f"read {key}"):
            response = self._client.get_object(self.bucket, key, offset=start)
            with released(response):
                yield from response.stream(CHUNK)

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None where there is none."""
        with self._spoken(f"look for {key}"):
            try:
                return int(self._client.stat_object(self.bucket, key).size or 0)
            except S3Error as error:
                if error.code in _GONE:
                    return None
                raise

    def exists(self, key: str) -> bool:
        """Whether there is an object under `key`."""
        return self.size(key) is not None

    def list(self, prefix: str = "") -> list[str]:
        """All keys that start with `prefix`, sorted."""
        return [found.key for found in self.describe(prefix)]

    def describe(self, prefix: str = "") -> Sequence[StoredKey]:
        """All keys that start with `prefix`, sorted, with size in bytes and time of the last change."""
        with self._spoken(f"list {prefix or 'keys'}"):
            found = self._client.list_objects(self.bucket, prefix=prefix, recursive=True)
            keys = [
                StoredKey(it.object_name, int(it.size or 0), it.last_modified, (it.etag or "").strip('"'))
                for it in found
                if it.object_name
            ]
        return sorted(keys, key=lambda each: each.key)

    def delete(self, key: str) -> None:
        """Removes an object; one that is not there is no error."""
        with self._spoken(f"delete {key}"):
            self._client.remove_object(self.bucket, key)

    def list_uploads(self, prefix: str) -> Sequence[Upload]:
        """Uploads in parts that were begun and not completed, at most 1,000 of them."""
        with self._spoken(f"list the uploads of {prefix}"):
            found = self._client._list_multipart_uploads(self.bucket, prefix=prefix).uploads
            return [
                Upload(it.object_name, it.upload_id, it.initiated_time)
                for it in found
                if it.object_name and it.upload_id
            ]

    def abort_upload(self, upload: Upload) -> None:
        """Gives up an upload and the space of its parts; one that has ended meanwhile is no error."""
        with self._spoken(f"give up the upload of {upload.key}"):
            try:
                self._client._abort_multipart_upload(self.bucket, upload.key, upload.upload_id)
            except S3Error as error:
                if error.code not in _GONE:
                    raise

    def probe(self) -> None:
        """Refuses a store that breaks a promise which the registry stands on (`registry.probe`). Once per process.

        Raises:
            StoreError: which promise, and how it was broken.
        """
        with _probe_lock:
            if (self.url, self.bucket) not in _probed:
                check_promises(self)
                _probed.add((self.url, self.bucket))

    def _put_conditional(self, key: str, data: bytes, headers: Mapping[str, str]) -> str | None:
        with self._spoken(f"write {key}"):
            for attempt in range(_BUSY_TRIES):
                try:
                    return str(self._client._put_object(self.bucket, key, data, headers=dict(headers)).etag)
                except S3Error as error:
                    if error.code in _LOST:
                        return None
                    if error.code != "ConditionalRequestConflict" or attempt == _BUSY_TRIES - 1:
                        raise
        return None  # not reached: the last try returns or raises

    @contextmanager
    def _spoken(self, action: str) -> Iterator[None]:
        """Turns what the client raises into one line."""
        try:
            yield
        except S3Error as error:
            if error.code in _KEYS:
                raise StoreError(
                    f"object store {self.url} refuses the keys ({error.code}); "
                    "check FLYTEWHEEL_S3_ACCESS_KEY and FLYTEWHEEL_S3_SECRET_KEY"
                ) from error
            if error.code == "NoSuchBucket":
                raise StoreError(f"object store {self.url} has no bucket {self.bucket!r}; create it first") from error
            raise StoreError(
                f"object store {self.url}/{self.bucket}: cannot {action}: {error.code} ({one_line(error.message)})"
            ) from error
        except (HTTPError, OSError) as error:
            raise StoreError(
                f"object store {self.url} is not reachable ({name_cause(error)}); "
                "start it, or unset FLYTEWHEEL_S3_URL for the embedded one"
            ) from error
        except InvalidResponseError as error:
            raise StoreError(f"{self.url} does not answer as an S3 store: {one_line(error)}") from error
        except (ServerError, MinioException, ValueError) as error:
            raise StoreError(f"object store {self.url}/{self.bucket}: cannot {action}: {one_line(error)}") from error
