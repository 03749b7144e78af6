"""Names that move from version to version, by compare-and-set and with every move written down.

aliases/<name>/<alias>    champion, challenger …    (compare-and-set by ETag)
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from flytewheel.errors import RegistryError
from flytewheel.records import canonical_json
from registry.journal import write_event
from registry.manifest import check_alias, check_name
from registry.store import ObjectStore, StoredObject

_TRIES = 100  # each lost race means that another writer finished; so many in a row mean that something is wrong


class Aliases:
    """The aliases of all models in one store; `clock` dates their moves."""

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def get(self, name: str, alias: str) -> str | None:
        """The version that an alias stands for; None where it was never set."""
        check_name(name)
        check_alias(alias)
        found = self._store.read(f"aliases/{name}/{alias}")
        return str(json.loads(found.data)["version"]) if found else None

    def all(self, name: str) -> dict[str, str]:
        """All aliases of a model with their versions."""
        check_name(name)
        names = [key.rsplit("/", 1)[1] for key in self._store.list(f"aliases/{name}/")]
        return {alias: version for alias in names if (version := self.get(name, alias)) is not None}

    def move(self, name: str, alias: str, version: str, expect: str | None) -> bool:
        """Moves an alias to a version that exists; see `Registry.set_alias`."""
        for _ in range(_TRIES):
            found = self._store.read(f"aliases/{name}/{alias}")
            record: dict[str, Any] = json.loads(found.data) if found else {"version": "", "moves": 0}
            if found:
                self._log(name, alias, record)  # in case the one who moved it was killed before writing it down
            if record["version"] == version and expect in {None, version}:
                return False
            if expect is not None and record["version"] != expect:
                raise RegistryError(
                    f"{name}: alias {alias!r} stands for {record['version'] or 'nothing'}, not {expect or 'nothing'} "
                    "as expected: someone moved it, look before you try again"
                )
            moved = {
                "version": version,
                "previous": record["version"],
                "moves": record["moves"] + 1,  # also makes every record's ETag its own, so none can come back
                "at": self._clock().astimezone(UTC).isoformat(),
                "by": uuid.uuid4().hex,
            }
            if self._replace(f"aliases/{name}/{alias}", found, moved):
                self._log(name, alias, moved)
                return True
        raise RegistryError(f"{name}: alias {alias!r} moved {_TRIES} times under our hands; try again")

    def _replace(self, key: str, found: StoredObject | None, value: Mapping[str, Any]) -> bool:
        """Compare-and-set of a small JSON object; `found` is what was read."""
        data = canonical_json(value)
        if found is None:
            return self._store.put_if_absent(key, data) is not None
        return self._store.put_if_match(key, data, found.etag) is not None

    def _log(self, name: str, alias: str, record: Mapping[str, Any]) -> None:
        at = datetime.fromisoformat(record["at"])
        write_event(self._store, name, at, f"alias-{alias}-{record['moves']}", {"alias": alias, **record})
