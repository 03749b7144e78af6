"""Decides whether a candidate is shown a copy of the traffic before its canary, and tells what came of it.

A shadow answers nobody: what it says is compared with the champion's answer and thrown away. It is a row that routers
follow like an experiment's; its `until` ends it in the database's time, and the launch of the canary ends it, too.
Nothing of it is an interaction, and no verdict rests on it: it is for a person to see that the candidate starts, keeps
up, and does not answer quite differently. Figures only are kept, nobody's words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.experiments import Experiment, select_experiments

_COLUMNS = "shadow_id, name, champion, candidate, share, concurrency, launch_key, since, until"
_FIGURES = """
SELECT count(*), count(error),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY champion_ms) FILTER (WHERE error IS NULL),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY candidate_ms) FILTER (WHERE error IS NULL),
    percentile_cont(0.95) WITHIN GROUP (ORDER BY champion_ms) FILTER (WHERE error IS NULL),
    percentile_cont(0.95) WITHIN GROUP (ORDER BY candidate_ms) FILTER (WHERE error IS NULL),
    avg(champion_chars) FILTER (WHERE error IS NULL)::float8, avg(candidate_chars) FILTER (WHERE error IS NULL)::float8,
    avg(similarity), mode() WITHIN GROUP (ORDER BY error)
FROM shadow_answers WHERE shadow_id = %s
"""
_NAMES = (
    "answers",
    "errors",
    "champion_p50_ms",
    "candidate_p50_ms",
    "champion_p95_ms",
    "candidate_p95_ms",
    "champion_chars",
    "candidate_chars",
    "similarity",
    "most_frequent_error",
)


@dataclass(frozen=True, slots=True)
class Shadow:
    """A copy of `share` of a model's requests to `candidate`, at most `concurrency` at a time in each worker."""

    shadow_id: str
    name: str
    champion: str
    candidate: str
    share: float
    concurrency: int
    launch_key: str = ""
    since: datetime | None = None
    until: datetime | None = None


class ShadowAnswer(NamedTuple):
    """What came of one copy. `similarity` of the answers' words lies in [0, 1]; None where one is empty."""

    shadow_id: str
    champion_ms: float
    candidate_ms: float
    error: str | None
    champion_chars: int
    candidate_chars: int
    similarity: float | None


def open_shadow(
    database_url: str,
    *,
    name: str,
    champion: str,
    candidate: str,
    share: float,
    concurrency: int,
    hours: float,
    launch_key: str,
) -> tuple[Shadow, bool]:
    """Opens a shadow, or returns the one that this launch key opened before; another one of the model ends.

    Returns:
        The shadow, and whether it was opened now.

    Raises:
        ExperimentError: the share is outside (0, 1], or both versions are one.
        DatabaseError: PostgreSQL is away.
    """
    if not 0 < share <= 1 or concurrency < 1 or hours <= 0:
        raise ExperimentError(
            f"shadow of {name}: share {share!r}, {concurrency} at a time, {hours!r} hours: expected a share above 0 and"
            " at most 1, at least one at a time, and a time above 0"
        )
    if champion == candidate:
        raise ExperimentError(f"shadow of {name}: {candidate} is the champion; name another version")
    shadow_id = "shadow-" + hashlib.sha256(f"{name}\0{launch_key}".encode()).hexdigest()[:16]
    with connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"shadow {name}",))
        if found := _select(connection, "launch_key = %s", (launch_key,)):
            return found[0], False
        _end(connection, name, f"superseded by {candidate}")
        connection.execute(
            "INSERT INTO shadows (shadow_id, name, champion, candidate, share, concurrency, launch_key, until)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, now() + %s * interval '1 hour')",
            (shadow_id, name, champion, candidate, share, concurrency, launch_key, hours),
        )
        return _select(connection, "shadow_id = %s", (shadow_id,))[0], True


def end_shadow(database_url: str, name: str, *, reason: str) -> None:
    """Ends the shadow of a model, if it has one."""
    with connect(database_url) as connection:
        _end(connection, name, reason)


def list_open(connection: Connection, name: str | None = None) -> dict[str, Shadow]:
    """The shadows that are open and not over, by name of the model."""
    found = _select(connection, "ended_at IS NULL AND until > now() AND (%s::text IS NULL OR name = %s)", (name, name))
    return {one.name: one for one in found}


def find_shadowed(database_url: str, name: str) -> Experiment | None:
    """The draft of a model whose shadow's time is over, if there is one."""
    with connect(database_url) as connection:
        found = select_experiments(
            connection,
            "name = %s AND state = 'draft' AND launch_key IN (SELECT launch_key FROM shadows WHERE name = %s"
            " AND until <= now() AND (reason IS NULL OR reason NOT LIKE 'superseded%%'))",
            (name, name),
        )
    return found[0] if found else None


def store_answers(database_url: str, answers: Iterable[ShadowAnswer]) -> None:
    """Stores what came of copies; those of a shadow that is not known any more are left out."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO shadow_answers (shadow_id, champion_ms, candidate_ms, error, champion_chars, candidate_chars,"
            " similarity) SELECT %s, %s, %s, %s, %s, %s, %s WHERE EXISTS (SELECT FROM shadows WHERE shadow_id = %s)",
            [(*answer, answer.shadow_id) for answer in answers],
        )


def read_shadow(connection: Connection, name: str, candidate: str) -> dict[str, Any] | None:
    """The newest shadow of a candidate with its figures; None where it had none."""
    row = connection.execute(
        "SELECT shadow_id, champion, candidate, share, since, until, ended_at, reason FROM shadows"
        " WHERE name = %s AND candidate = %s ORDER BY since DESC LIMIT 1",
        (name, candidate),
    ).fetchone()
    if row is None:
        return None
    names = ("shadow_id", "champion", "candidate", "share", "since", "until", "ended_at", "reason")
    figures = connection.execute(_FIGURES, (row[0],)).fetchone()
    assert figures is not None
    return {**dict(zip(names, row, strict=True)), **dict(zip(_NAMES, figures, strict=True))}


def describe_shadow(found: Mapping[str, Any]) -> str:
    """A shadow with its figures as a line."""
    told = f"{found['candidate']} saw {found['answers']:,} copies, {found['errors']:,} without an answer"
    if found["errors"]:
        told += f" (most: {found['most_frequent_error']})"
    if found["candidate_p50_ms"] is None:
        return told
    told += (
        f"; p50 {found['champion_p50_ms']:.0f} → {found['candidate_p50_ms']:.0f} ms, p95"
        f" {found['champion_p95_ms']:.0f} → {found['candidate_p95_ms']:.0f} ms; {found['champion_chars']:.0f} →"
        f" {found['candidate_chars']:.0f} characters"
    )
    return told if found["similarity"] is None else f"{told}; words in common {found['similarity']:.0%}"


def compare_words(one: str, other: str) -> float | None:
    """Dice's coefficient of two answers' sets of words, in [0, 1]; None where one has none."""
    first, second = set(one.lower().split()), set(other.lower().split())
    if not first or not second:
        return None
    return 2 * len(first & second) / (len(first) + len(second))


def _end(connection: Connection, name: str, reason: str) -> None:
    connection.execute(
        "UPDATE shadows SET ended_at = now(), reason = %s WHERE name = %s AND ended_at IS NULL", (reason, name)
    )


def _select(connection: Connection, condition: str, values: Sequence[Any]) -> list[Shadow]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM shadows WHERE {condition} ORDER BY name".encode(), values)
    return [Shadow(*row) for row in rows]
