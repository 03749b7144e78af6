"""The summary of a day or a week: what came in, what turned, what was released, what was amiss; text for a mail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from flytewheel.database import Connection, connect
from flytewheel.notify.message import Message
from flytewheel.recipe import Recipe
from flytewheel.upkeep.reports import list_reports

Span = Literal["daily", "weekly"]
HOURS: Mapping[str, int] = {"daily": 24, "weekly": 168}
_IN = """
SELECT said.*, heard.* FROM (
    SELECT count(*), count(DISTINCT user_id) FROM interactions
    WHERE source = ANY(%(sources)s) AND stored_at >= %(since)s AND stored_at < %(now)s) AS said, (
    SELECT count(*), count(*) FILTER (WHERE feedback_type = 'thumbs_up'),
        count(*) FILTER (WHERE feedback_type = 'thumbs_down')
    FROM feedback_events WHERE source = ANY(%(sources)s) AND stored_at >= %(since)s AND stored_at < %(now)s) AS heard
"""
_RUNS = """
SELECT r.run_id, r.status, coalesce(r.recipe ->> 'mode', 'full'), r.station, r.error,
    (SELECT report ->> 'decision' FROM run_stations s WHERE s.run_id = r.run_id AND s.station = 'gate'),
    (SELECT report ->> 'version' FROM run_stations s WHERE s.run_id = r.run_id AND s.station = 'register'),
    extract(epoch FROM r.ended_at - r.started_at)::float8 / 3600
FROM runs r WHERE r.name = %(name)s AND coalesce(r.ended_at, r.started_at) >= %(since)s
    AND coalesce(r.ended_at, r.started_at) < %(now)s ORDER BY r.started_at
"""
_STEPS = """
SELECT l.at, l.actor, l.action, e.control, e.treatment, e.share FROM rollout_log l JOIN rollouts r USING (rollout_id)
JOIN experiments e USING (experiment_id)
WHERE r.name = %(name)s AND l.at >= %(since)s AND l.at < %(now)s AND l.action <> 'hold' ORDER BY l.entry
"""
_RUNNING = """
SELECT e.experiment_id, e.control, e.treatment, e.share, r.state, r.stage FROM experiments e
LEFT JOIN rollouts r USING (experiment_id) WHERE e.name = %(name)s AND e.state = 'running' ORDER BY e.experiment_id
"""


@dataclass(frozen=True, slots=True)
class Bulletin:
    """What happened in [since, until). `facts` are figures, `sections` lines under a title each."""

    name: str
    span: Span
    since: datetime
    until: datetime
    facts: Mapping[str, str]
    sections: Mapping[str, tuple[str, ...]]

    def to_text(self) -> str:
        """The body of a mail."""
        parts = []
        for title, lines in self.sections.items():
            parts.append("\n".join([title, *(f"- {line}" for line in lines or ("nothing",))]))
        return "\n\n".join(parts)

    def to_message(self, *, link: str = "") -> Message:
        """As it is told: once for a span, whichever execution does."""
        return Message(
            key=f"{self.name}:{self.span}:{self.until.astimezone(UTC):%Y-%m-%d}",
            name=self.name,
            severity="info",
            title=f"{self.span} summary, {self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}",
            at=self.until,
            facts=self.facts,
            text=self.to_text(),
            link=link,
        )


def parse_span(text: str) -> Span:
    """The span of that name.

    Raises:
        ValueError: there is none.
    """
    if text not in HOURS:
        raise ValueError(f"span {text!r}: expected one of {', '.join(HOURS)}")
    return "daily" if text == "daily" else "weekly"


def write_bulletin(database_url: str, recipe: Recipe, span: Span, *, now: datetime) -> Bulletin:
    """Reads what the last day or week left behind.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    since = now - timedelta(hours=HOURS[span])
    place = {"sources": list(recipe.sources), "name": recipe.name, "since": since, "now": now}
    with connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        said, users, heard, ups, downs = connection.execute(_IN, place).fetchall()[0]
        turns = [_describe_turn(row) for row in connection.execute(_RUNS, place)]
        steps = [_describe_step(row) for row in connection.execute(_STEPS, place)]
        running = [_describe_experiment(row) for row in connection.execute(_RUNNING, place)]
        messages = _count_messages(connection, place)
    reports = list_reports(database_url, recipe.name, since=since)
    alarms = [f"{report.at:%a %H:%M}: {alarm}" for report in reports for alarm in report.alarms]
    votes = ups + downs
    facts = {
        "interactions": f"{said:,} of {users:,} users",
        "feedback events": f"{heard:,}",
        "thumbs up": f"{ups / votes:.1%} of {votes:,} votes" if votes else "no votes",
        "turns": str(len(turns)),
        "canaries running": str(len(running)),
        "alarms": str(len(alarms)),
        "messages": messages,
    }
    sections = {
        "Turns": tuple(turns),
        "Releases": tuple(steps),
        "Running experiments": tuple(running),
        "Alarms": tuple(alarms),
        "Looked after": tuple(f"{report.at:%a %H:%M} {report.describe()}" for report in reports),
    }
    return Bulletin(recipe.name, span, since, now, facts, sections)


def _describe_turn(row: tuple[Any, ...]) -> str:
    run_id, status, mode, station, error, decision, version, hours = row
    took = f" in {hours:.1f} h" if hours is not None else ""
    if status == "failed":
        return (
            f"{run_id} ({mode}) failed at {station or 'its beginning'}{took}: {' '.join((error or '').split())[:300]}"
        )
    if status == "running":
        return f"{run_id} ({mode}) runs, at {station or 'its beginning'}"
    return f"{run_id} ({mode}) ended{took}: {decision or 'no verdict'}{f', registered {version}' if version else ''}"


def _describe_step(row: tuple[Any, ...]) -> str:
    at, actor, action, control, treatment, share = row
    return f"{at:%a %H:%M} {action.replace('_', ' ')}: {treatment} against {control} ({share:.0%}), by {actor}"


def _describe_experiment(row: tuple[Any, ...]) -> str:
    experiment_id, control, treatment, share, state, stage = row
    where = f", {state} at stage {stage}" if state else ""
    return f"{experiment_id}: {treatment} against {control}, {share:.0%}{where}"


def _count_messages(connection: Connection, place: Mapping[str, Any]) -> str:
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE sent_at IS NOT NULL), count(*) FILTER (WHERE sent_at IS NULL) FROM notifications"
        " WHERE name = %(name)s AND first_at >= %(since)s AND first_at < %(now)s",
        place,
    ).fetchall()[0]
    return f"{row[0]} told" + (f", {row[1]} not" if row[1] else "")
