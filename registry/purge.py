"""What a store keeps of objects that were deleted: older versions and unfinished uploads.

A bucket with versioning keeps every body that a key ever had, and an upload in parts that was broken off keeps its
parts; neither is in a listing. The embedded store has no versions; others may. Both calls are of the client's own
(minio is pinned for such reasons, see `registry.store`).
"""

from __future__ import annotations

from collections.abc import Collection

from minio.error import MinioException, S3Error

from registry.store import ObjectStore

_NOT_OFFERED = frozenset({"NotImplemented", "MethodNotAllowed", "AccessDenied", "InvalidRequest"})


def purge_versions(store: ObjectStore, prefixes: Collection[str]) -> int:
    """Removes every version but the current one below these prefixes, and markers of deletion; gives how many.

    Raises:
        StoreError: the store is away.
    """
    client, count = store._client, 0
    for prefix in sorted(prefixes):
        with store._spoken(f"list versions of {prefix}"):
            try:
                found = list(client.list_objects(store.bucket, prefix=prefix, recursive=True, include_version=True))
            except S3Error as error:
                if error.code in _NOT_OFFERED:
                    return count
                raise
            for each in found:
                versioned = each.version_id not in (None, "", "null")
                if versioned and (each.is_delete_marker or each.is_latest not in (True, "true")):
                    client.remove_object(store.bucket, each.object_name, version_id=each.version_id)
                    count += 1
    return count


def abort_uploads(store: ObjectStore, prefixes: Collection[str]) -> int:
    """Breaks unfinished uploads in parts below these prefixes off; gives how many.

    Raises:
        StoreError: the store is away.
    """
    client, count = store._client, 0
    for prefix in sorted(prefixes):
        with store._spoken(f"list uploads to {prefix}"):
            try:
                found = client._list_multipart_uploads(store.bucket, prefix=prefix).uploads
            except (S3Error, MinioException) as error:
                if isinstance(error, S3Error) and error.code not in _NOT_OFFERED:
                    raise
                return count
            for each in found:
                client._abort_multipart_upload(store.bucket, each.object_name, each.upload_id)
                count += 1
    return count
