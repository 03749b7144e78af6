"""What a scheduled look found: its figures, and an alarm for each thing that a person should see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from flytewheel.database import connect
from flytewheel.notify.message import Message, Severity
from flytewheel.records import to_jsonable

Kind = Literal["quality", "calibration", "retention"]
TITLES: Mapping[str, str] = {"quality": "data quality", "calibration": "statistics", "retention": "retention"}


@dataclass(frozen=True, slots=True)
class Report:
    """One look. `figures` are JSON-like, in the order that a person reads them."""

    kind: Kind
    name: str
    figures: Mapping[str, Any]
    alarms: tuple[str, ...] = ()
    at: datetime | None = field(default=None, compare=False)

    def describe(self) -> str:
        """In one line."""
        return f"{TITLES[self.kind]}: {'; '.join(self.alarms) or 'nothing amiss'}"

    def to_message(self, execution: str, at: datetime, *, link: str = "") -> Message:
        """What people are told of it. Statistics that are wrong decide wrongly from now on: that wakes somebody."""
        severity: Severity = "info" if not self.alarms else "error" if self.kind == "calibration" else "warning"
        return Message(
            key=f"{execution}:{self.kind}",
            name=self.name,
            severity=severity,
            title=self.describe(),
            at=at,
            facts={name: str(value) for name, value in self.figures.items() if not isinstance(value, Mapping | list)},
            incident=f"{self.name} {self.kind}" if self.kind == "calibration" else "",
            link=link,
        )


def keep_report(database_url: str, report: Report, execution: str) -> None:
    """Stores a report, once for an execution: who tries again replaces nothing.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO upkeep_reports (kind, name, execution, report, alarms) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (kind, name, execution) DO NOTHING",
            (report.kind, report.name, execution, Jsonb(to_jsonable(dict(report.figures))), list(report.alarms)),
        )


def list_reports(database_url: str, name: str, *, since: datetime) -> list[Report]:
    """The reports on a model since then, the oldest first.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT kind, name, report, alarms, at FROM upkeep_reports WHERE name = %s AND at >= %s ORDER BY at, entry",
            (name, since),
        ).fetchall()
    return [Report(row[0], row[1], row[2], tuple(row[3]), row[4]) for row in rows]
