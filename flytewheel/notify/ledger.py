"""Who was told what: a row for each key and channel, so that what tries again tells once.

A teller claims the row, tells, and notes it. One that dies in between leaves a claim that is free again after
`CLAIM_S`, and who tries again waits for that: people may then hear twice (PagerDuty and mailboxes know the key and
join the two), but never not at all.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from flytewheel.database import connect

CLAIM_S = 20.0  # as long as a teller may take
Claim = Literal["mine", "told", "busy"]
_CLAIM = """
INSERT INTO notifications (key, channel, name, title) VALUES (%s, %s, %s, %s)
ON CONFLICT (key, channel) DO UPDATE SET claimed_at = clock_timestamp(), tries = notifications.tries + 1
    WHERE notifications.sent_at IS NULL AND notifications.claimed_at < clock_timestamp() - %s
RETURNING true
"""


def claim(database_url: str, key: str, channel: str, *, name: str, title: str) -> Claim:
    """Whether it is this caller's to tell, was told before, or somebody else is at it.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url, timeout_s=5) as connection:
        row = connection.execute(_CLAIM, (key, channel, name, title, timedelta(seconds=CLAIM_S))).fetchone()
        if row is not None:
            return "mine"
        row = connection.execute(
            "SELECT sent_at IS NOT NULL FROM notifications WHERE key = %s AND channel = %s", (key, channel)
        ).fetchone()
    return "told" if row and row[0] else "busy"


def note_sent(database_url: str, key: str, channel: str) -> None:
    """Notes that a channel took it."""
    with connect(database_url, timeout_s=5) as connection:
        connection.execute(
            "UPDATE notifications SET sent_at = clock_timestamp(), error = NULL WHERE key = %s AND channel = %s",
            (key, channel),
        )


def note_failed(database_url: str, key: str, channel: str, error: str) -> None:
    """Gives the claim back, so that the next who tries may tell it."""
    with connect(database_url, timeout_s=5) as connection:
        connection.execute(
            "UPDATE notifications SET claimed_at = '-infinity', error = %s WHERE key = %s AND channel = %s",
            (error, key, channel),
        )


def list_told(database_url: str, *, since: datetime) -> list[tuple[str, str, str, datetime | None, str | None]]:
    """Model, channel, title, when it was taken and what went wrong, of what was claimed since; the oldest first."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT name, channel, title, sent_at, error FROM notifications WHERE first_at >= %s ORDER BY first_at",
            (since,),
        ).fetchall()
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]


def forget_old(database_url: str, *, before: datetime) -> int:
    """Deletes what was told before that; its keys are of executions that nobody tries again."""
    with connect(database_url) as connection:
        return connection.execute("DELETE FROM notifications WHERE first_at < %s", (before,)).rowcount
