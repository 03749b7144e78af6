"""What happened to a model's versions and aliases: one object an event, append-only.

    log/<name>/<time>-<what>-<version>.json

An entry's name depends only on what it tells, so that whoever sees that one is missing can write it, and two that do
write the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from registry.slips import read_slip, write_slip
from registry.store import ObjectStore

LOG = "log/"


def write_event(store: ObjectStore, name: str, at: datetime, what: str, entry: Mapping[str, Any]) -> None:
    """Writes one entry, once. `what` begins with the kind of event: `register`, or `alias-<alias>-<count>`."""
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    key = f"{LOG}{name}/{stamp}-{what}-{entry['version']}.json"
    store.put_if_absent(key, write_slip(key, {"at": at.astimezone(UTC), "what": what.split("-")[0], **entry}))


def read_events(store: ObjectStore, name: str) -> list[dict[str, Any]]:
    """All entries of a model, oldest first.

    Raises:
        RegistryError: one was changed.
    """
    return [read_slip(key, store.get_bytes(key)) for key in store.list(f"{LOG}{name}/")]
