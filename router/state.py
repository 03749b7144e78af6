"""What the hot path of one process holds: the table of routes, the loaded versions, and what is remembered and counted.

The table is made by the keeper (`router.keeper`) and replaced as a whole; a request reads it once. Nothing here asks
the registry or the object store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytewheel.authorities import trust_authorities
from flytewheel.errors import SettingsError
from flytewheel.settings import PREFIX, Settings
from router.allocation import Allocation
from router.backends.view import BackendView
from router.feedback import FeedbackRoom, open_feedback
from router.log import Log, open_log
from router.metrics import Metrics
from router.receipts import ReceiptBook
from router.table import MODEL_PREFIX, Route, Table

if TYPE_CHECKING:
    from router.backends.pool import BackendPool  # the keeper's, which a worker need not load

__all__ = ["MODEL_PREFIX", "Route", "RouterState", "check_settings", "close_state", "open_state"]


@dataclass(slots=True)
class RouterState:
    """What a request meets in this process; made inside the event loop."""

    database_url: str
    admin_key: bytes
    assignment_key: bytes
    receipts: ReceiptBook
    pool: BackendPool | BackendView
    log: Log
    metrics: Metrics
    feedback: FeedbackRoom = field(init=False)  # a worker's
    backend_wait_s: float = 30.0
    routes: Mapping[str, Route] = field(default_factory=dict)
    probes: Mapping[str, Route] = field(default_factory=dict)  # a drill's, beside the routes of users
    withheld: Mapping[str, str] = field(default_factory=dict)  # model name: why its champion does not answer
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)  # what a worker's endpoints end with
    allocation: Allocation = field(default_factory=Allocation)  # a worker's learns

    async def find_route(self, name: str) -> Route | None:
        """The route of a model name. Right after the start, waits until the table was read once."""
        if not self.loaded.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.loaded.wait(), self.backend_wait_s)
        return self.routes.get(name)

    def apply(self, table: Table) -> None:
        """Goes by this table from now on."""
        self.routes = table.routes
        self.withheld = table.withheld
        self.probes = table.probes
        self.allocation.follow(table.routes)
        if table.loaded:
            self.loaded.set()


def check_settings(settings: Settings) -> None:
    """Refuses settings that lack a service or a key.

    Raises:
        SettingsError: all that is missing, by name; or the file of authorities is none.
    """
    required = ("database_url", "s3_url", "s3_access_key", "s3_secret_key", "admin_key", "assignment_key")
    missing = [PREFIX + key.upper() for key in required if not getattr(settings, key)]
    if missing:
        raise SettingsError(f"the router needs {', '.join(missing)}; 'flytewheel up' sets them for the embedded stack")
    if settings.backend_ca is not None:
        trust_authorities(settings.backend_ca)


def open_parts(settings: Settings, metrics: Path | None) -> dict[str, Any]:
    """What every process of a router opens for itself, by the fields of `RouterState`; nothing is asked of anybody.

    `metrics` is the folder that the processes of one router count in.
    """
    assert settings.database_url is not None
    assert settings.admin_key is not None
    assert settings.assignment_key is not None
    return {
        "database_url": settings.database_url,
        "admin_key": settings.admin_key.get_secret_value().encode(),
        "assignment_key": settings.assignment_key.get_secret_value().encode(),
        "receipts": ReceiptBook(settings.assignment_key.get_secret_value().encode()),
        "log": open_log(settings),
        "metrics": Metrics(metrics, tiers=frozenset(settings.user_tiers)),
    }


async def open_state(settings: Settings, pool: BackendView, metrics: Path | None = None) -> RouterState:
    """What a worker with checked settings serves with."""
    state = RouterState(pool=pool, **open_parts(settings, metrics))
    state.feedback = open_feedback(state, lambda: state.routes)
    state.allocation = Allocation((settings.home, state))
    return state


async def close_state(state: RouterState) -> None:
    """Writes what is queued."""
    for close in state.closing:
        await close()
    await state.allocation.close()
    await state.feedback.close()
    await state.pool.close()
    await state.log.close()
