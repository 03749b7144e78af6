"""Mutes: for a while a case does not count, and somebody said why.

A mute always ends, after `MAX_DAYS` at the latest: a case that nobody wants any more is retired instead. What was muted
when, by whom and why is kept. Muting a case that is muted takes the place of the earlier mute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from flytewheel.database import Connection, connect
from flytewheel.errors import SuiteError

MAX_DAYS = 90
_SPAN = re.compile(r"(\d{1,5})\s*([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_COLUMNS = "case_id, reason, muted_by, muted_at, until, lifted_at, lifted_by"


@dataclass(frozen=True, slots=True)
class Mute:
    """One mute of one case."""

    case_id: str
    reason: str
    muted_by: str
    muted_at: datetime
    until: datetime
    lifted_at: datetime | None = None
    lifted_by: str | None = None

    def is_active(self, now: datetime) -> bool:
        return self.lifted_at is None and self.until > now

    def is_expired(self, now: datetime) -> bool:
        """Whether it ran out by itself."""
        return self.lifted_at is None and self.until <= now


def parse_until(text: str, now: datetime) -> datetime:
    """When a mute ends: `7d`, `12h`, `2w` from now, a date (through that day, UTC) or a time with its zone.

    Raises:
        SuiteError: it is none of these, is over, or lies more than `MAX_DAYS` ahead.
    """
    expected = f"expected a date such as {now + timedelta(days=7):%Y-%m-%d}, or 7d, 12h, 2w"
    span = _SPAN.fullmatch(text.strip())
    try:
        if span is not None:
            until = now + int(span[1]) * _UNITS[span[2]]
        elif len(text.strip()) <= 10:
            until = datetime.combine(date.fromisoformat(text.strip()) + timedelta(days=1), time(), UTC)
        else:
            until = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise SuiteError(f"--until {text!r}: {expected}") from None
    if until.tzinfo is None:
        raise SuiteError(f"--until {text!r}: a time needs its zone, as in {text.strip()}+00:00")
    if until <= now:
        raise SuiteError(f"--until {text!r} is over; {expected}")
    if until > now + timedelta(days=MAX_DAYS + 1 if span is None else MAX_DAYS):
        raise SuiteError(
            f"--until {text!r}: a mute lasts {MAX_DAYS} days at most; retire a case that nobody wants (suite retire)"
        )
    return until


def mute_case(
    database_url: str, name: str, case_id: str, *, reason: str, by: str, until: datetime, now: datetime
) -> Mute:
    """Mutes a case of model `name` that is stored, or was asked in an evaluation (a recipe's own).

    Raises:
        SuiteError: no such case, no reason, or an end that is over or too far.
        DatabaseError: PostgreSQL is away.
    """
    if not reason.strip():
        raise SuiteError(f"muting {case_id!r} needs a reason: say it with --reason")
    if not now < until <= now + timedelta(days=MAX_DAYS + 1):
        raise SuiteError(f"muting {case_id!r}: expected an end within {MAX_DAYS} days, got {until:%Y-%m-%d %H:%M}")
    mute = Mute(case_id, reason.strip(), by, now, until)
    with connect(database_url) as connection:
        known = connection.execute(
            "SELECT FROM suite_cases WHERE name = %(name)s AND case_id = %(id)s AND retired_at IS NULL"
            " UNION ALL SELECT FROM suite_outcomes WHERE name = %(name)s AND case_id = %(id)s",
            {"name": name, "id": case_id},
        ).fetchone()
        if known is None:
            raise SuiteError(f"no case {case_id!r} in the suite of {name}; see `flytewheel suite list {name}`")
        _lift(connection, name, case_id, by, now)
        connection.execute(
            "INSERT INTO suite_mutes (name, case_id, reason, muted_by, muted_at, until)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (name, case_id, mute.reason, by, now, until),
        )
    return mute


def unmute_case(database_url: str, name: str, case_id: str, *, by: str, now: datetime) -> None:
    """Lets a muted case count again.

    Raises:
        SuiteError: it is not muted.
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        lifted = _lift(connection, name, case_id, by, now)
    if not lifted:
        raise SuiteError(f"case {case_id!r} of {name} is not muted; see `flytewheel suite list {name}`")


def list_mutes(database_url: str, name: str) -> list[Mute]:
    """Every mute of the model's cases there ever was, the newest first."""
    with connect(database_url) as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM suite_mutes WHERE name = %s ORDER BY entry DESC".encode(), (name,)
        ).fetchall()
    return [Mute(*row) for row in rows]


def read_mutes(database_url: str, name: str, now: datetime) -> dict[str, str]:
    """The reasons, with their ends, of the cases that are muted now, by id."""
    return {
        mute.case_id: f"{mute.reason} (until {mute.until:%Y-%m-%d %H:%M} UTC, {mute.muted_by})"
        for mute in reversed(list_mutes(database_url, name))
        if mute.is_active(now)
    }


def _lift(connection: Connection, name: str, case_id: str, by: str, now: datetime) -> int:
    return connection.execute(
        "UPDATE suite_mutes SET lifted_at = %(now)s, lifted_by = %(by)s"
        " WHERE name = %(name)s AND case_id = %(id)s AND lifted_at IS NULL AND until > %(now)s",
        {"now": now, "by": by, "name": name, "id": case_id},
    ).rowcount
