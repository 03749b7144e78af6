"""What happened to a model's versions and aliases: one object an event, append-only.

    log/<name>/<time>-<what>-<version>.json
    log/<name>/<time>-failure-<digest>.json    a workflow that gave no version, and why

An entry's name depends only on what it tells, so that whoever sees that one is missing can write it, and two that do
write the same. A failure has no time that two could agree on: the first entry of an execution and station is the one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from registry.slips import read_slip, write_slip
from registry.store import ObjectStore

LOG = "log/"
_STAMP = "%Y%m%dT%H%M%S.%fZ"


def write_event(store: ObjectStore, name: str, at: datetime, what: str, entry: Mapping[str, Any]) -> None:
    """Writes one entry, once. `what` begins with the kind of event: `register`, or `alias-<alias>-<count>`."""
    stamp = at.astimezone(UTC).strftime(_STAMP)
    key = f"{LOG}{name}/{stamp}-{what}-{entry['version']}.json"
    store.put_if_absent(key, write_slip(key, {"at": at.astimezone(UTC), "what": what.split("-")[0], **entry}))


def write_failure(
    store: ObjectStore, name: str, at: datetime, *, execution: str, station: str, cause: str, run: str = ""
) -> bool:
    """Writes that a workflow failed, once for an execution and station; False where that stood there already."""
    end = f"-failure-{hashlib.sha256(f'{execution}/{station}'.encode()).hexdigest()[:16]}.json"
    if any(key.endswith(end) for key in store.list(f"{LOG}{name}/")):
        return False
    key = f"{LOG}{name}/{at.astimezone(UTC).strftime(_STAMP)}{end}"
    entry = {"at": at.astimezone(UTC), "execution": execution, "station": station, "cause": cause, "run": run}
    store.put_if_absent(key, write_slip(key, {"what": "failure", **entry}))
    return True


def read_events(store: ObjectStore, name: str) -> list[dict[str, Any]]:
    """All entries of a model, oldest first.

    Raises:
        RegistryError: one was changed.
    """
    return [read_slip(key, store.get_bytes(key)) for key in store.list(f"{LOG}{name}/")]
