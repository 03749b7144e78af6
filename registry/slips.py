"""Small records of the registry, each with a checksum that also covers the key it lies under.

Pointers, aliases, claims and the journal are JSON objects of a few fields. A store that flips a bit in one of them
would move an alias to another version without a word; one that answers with the object of another key would do the
same. So each carries the SHA-256 of its key and its content, and is read only if its bytes are exactly those that would
be written for what they say. (Manifests need none: they are named by their digest. Blobs are hashed as they come.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from flytewheel.errors import RegistryError
from flytewheel.records import canonical_json

_SUM = "sum"


def write_slip(key: str, record: Mapping[str, Any]) -> bytes:
    """The bytes of a record that is to lie under `key`."""
    body = canonical_json(record)
    return canonical_json({**json.loads(body), _SUM: hashlib.sha256(key.encode() + b"\n" + body).hexdigest()})


def read_slip(key: str, data: bytes) -> dict[str, Any]:
    """The record under `key`.

    Raises:
        RegistryError: these are not the bytes that were written there.
    """
    try:
        record = json.loads(data)
        del record[_SUM]
        if write_slip(key, record) == data:
            return dict(record)
    except (ValueError, KeyError, TypeError, RecursionError):  # what altered bytes may read as
        pass
    raise RegistryError(f"{key} was changed: its checksum is not that of its content; restore it from a copy")
