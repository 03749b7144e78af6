"""Keeps what people said who were erased from coming back out of a spool.

A spool may be older than an erasure: a worker died, a machine was off. What is replayed is held against the same list
as an import (`flytewheel.forgotten`). A process without the key of that list cannot tell who is on it: it stores what
was said after the last erasure, and keeps the rest in the spool until it is given the key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from flytewheel.errors import FeedbackError
from flytewheel.forgotten import Forgotten, read_forgotten
from flytewheel.spool import split_columns
from router.log.database import Session
from router.log.events import EventRow

_REFRESH_S = 1.0
_NEVER = datetime.min.replace(tzinfo=UTC)


class Erased:
    """The list of one database, read anew when it grew."""

    def __init__(self, session: Session, key: Callable[[], str]) -> None:
        self._session, self._key = session, key
        self._forgotten = Forgotten.empty()
        self._blind: FeedbackError | None = None
        self._seen: tuple[int, datetime] = (0, _NEVER)
        self._refresh_at = float("-inf")

    def __bool__(self) -> bool:
        return bool(self._forgotten) or self._blind is not None

    def refresh(self, *, now: bool = False) -> None:
        """Reads the list where it is more than a second old.

        Raises:
            psycopg.Error: the database is away.
        """
        if not now and time.monotonic() < self._refresh_at:
            return
        found = self._session.ask("SELECT count(*), max(until) FROM erasures", ())
        self._refresh_at = time.monotonic() + _REFRESH_S
        seen = (int(found[0][0]), found[0][1] or _NEVER)
        if seen == self._seen:
            return
        connection = self._session.connected()
        try:
            with connection.transaction():
                self._forgotten, self._blind = read_forgotten(connection, self._key()), None
        except FeedbackError as error:
            self._blind = error
        self._seen = seen

    def refuses_line(self, line: bytes) -> bool:
        """Whether an interaction's line must not come back.

        Raises:
            FeedbackError: it cannot be told without the key.
        """
        name, _, user, when, _, _ = split_columns(line)
        about = [("interaction", name.decode())]
        return self._refuses(user.decode(), datetime.fromisoformat(when.decode()), about)

    def refuses_event(self, row: EventRow) -> bool:
        """Whether an event must not come back; errors as `refuses_line`."""
        about = [("feedback", row.event_id), ("interaction", row.interaction_id)]
        return self._refuses(row.user_id, row.timestamp, about)

    def _refuses(self, user: str, when: datetime, about: list[tuple[str, str]]) -> bool:
        if self._blind is None:
            return self._forgotten.refuses(user, when, about)
        if when <= self._seen[1]:
            raise self._blind
        return False
