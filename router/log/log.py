"""The log of one worker process: see the package's docstring for its use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.database import connect
from flytewheel.errors import DatabaseError, FeedbackError
from flytewheel.feedback.store import FeedbackStore
from flytewheel.records import FeedbackEvent, Interaction
from router.interactions import InteractionWriter
from router.log.events import EventRow
from router.log.outcomes import LogFullError, Outcome


@dataclass(frozen=True, slots=True)
class LogState:
    """Where a log stands. `failing` says why the database takes no rows, `shed` counts rows that were given up."""

    written: int
    waiting: int
    shed: int
    failing: str | None


class Log:
    """Interactions and events of one process, on their way to PostgreSQL; made inside the event loop."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._url = database_url
        self._writer = InteractionWriter(database_url)
        self.expect = self._writer.expect
        self.forget = self._writer.forget
        self.settled = self._writer.settled

    def put(self, record: Mapping[str, Any], source: str) -> bool:
        """Queues an interaction; false when it was shed."""
        return self._writer.put(Interaction.model_validate(record), source)

    async def store_events(self, rows: Sequence[EventRow]) -> list[Outcome]:
        """Stores events; see the package's docstring.

        Raises:
            LogFullError: they could neither be committed nor spooled.
        """
        return await asyncio.to_thread(lambda: [self._store(row) for row in rows])

    async def find_users(self, interaction_ids: Sequence[str]) -> dict[str, str]:
        """The users of those interactions that are stored.

        Raises:
            DatabaseError: PostgreSQL is away.
        """
        return await asyncio.to_thread(self._find_users, list(interaction_ids))

    @property
    def state(self) -> LogState:
        writer = self._writer
        return LogState(writer.written, writer.waiting, writer.dropped, writer.failing)

    async def close(self, *, timeout_s: float = 8.0) -> None:
        """Writes what is queued, for at most `timeout_s`, then ends."""
        await self._writer.close(timeout_s=timeout_s)

    def _store(self, row: EventRow) -> Outcome:
        try:
            return FeedbackStore(self._url).record_event(FeedbackEvent.model_validate_json(row.body))
        except DatabaseError as error:
            raise LogFullError(str(error)) from None
        except FeedbackError as error:
            return "unknown" if "unknown interaction" in str(error) else "conflict"

    def _find_users(self, names: list[str]) -> dict[str, str]:
        with connect(self._url) as connection:
            found = connection.execute(
                "SELECT interaction_id, user_id FROM interactions WHERE interaction_id = ANY(%s)", (names,)
            ).fetchall()
        return {str(name): str(user) for name, user in found}
