"""The table of backends that requests are sent by: one in each worker process, filled with what the keeper says.

In a single process the keeper's own pool fills it directly. A version that is unloaded leaves the table at once, and
what still runs there is waited for outside it; so the same version can be loaded anew meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from router.backends.backend import ENDED, READY, Backend, Status
from router.backends.connections import Connections
from router.backends.rules import Rules

DEFAULT_RULES = Rules()


class BackendView:
    """Backends by model name and version; `tell(serial, word)` brings a word to the keeper."""

    def __init__(self, tell: Callable[[int, str], None], rules: Rules = DEFAULT_RULES) -> None:
        self.rules = rules
        self._tell = tell
        self._connections = Connections(rules)
        self.connect = self._connections.open
        self._table: dict[tuple[str, str], Backend] = {}
        self._known: dict[int, Backend] = {}

    def apply(self, status: Status) -> None:
        """Takes over what the keeper says of one version."""
        backend = self._known.get(status.serial)
        if backend is None:
            if status.state in {"failed", "stopped"}:
                return
            backend = self._known[status.serial] = Backend(status, self._tell, rules=self.rules, connect=self.connect)
        else:
            backend.apply(status)
        key = (status.name, status.version)
        holder = self._table.get(key)
        if status.state in ENDED:
            if holder is backend:
                del self._table[key]
        elif holder is None or (status.state == READY and holder.model.serial < status.serial):
            self._table[key] = backend  # one that is loaded to take another's place takes it once it serves
        if status.state in {"failed", "stopped"}:
            self._known.pop(status.serial, None)

    def get(self, name: str, version: str) -> Backend | None:
        """The backend of a version, loaded or about to be; asked once a request."""
        return self._table.get((name, version))

    def get_serial(self, serial: int) -> Backend | None:
        """The backend of one loading, as long as it is not stopped."""
        return self._known.get(serial)

    async def find(self, name: str, version: str, timeout_s: float) -> Backend | None:
        """The backend of a version; one that is being loaded is waited for. None when there is none in time."""
        backend = self._table.get((name, version))
        if backend is not None and backend.state == "starting":
            await backend.wait_begun(timeout_s)
            return self._table.get((name, version))
        return backend

    def all(self) -> list[Backend]:
        """Every backend that has a server or is about to, in no order."""
        return list(self._table.values())

    async def close(self) -> None:
        """Closes the connections."""
        await self._connections.close()
