"""Runs: one turn of the loop each, kept in PostgreSQL so that a turn that was killed goes on where it stopped.

A run is *resumed* when it is the newest of its model name and recipe and has not come to its end. It keeps its window
from the moment its data set is frozen; before that the window is closed anew, so that a run which failed for want of
rows can be mended by importing more. One that can never go on, because rows of its frozen window were erased, is given
up for a new one.
"""

from __future__ import annotations

import math
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from flytewheel import figures
from flytewheel.database import connect
from flytewheel.errors import DatabaseError
from flytewheel.progress import Progress
from flytewheel.recipe import Recipe
from flytewheel.records import digest, to_jsonable
from flytewheel.tracking import Tracker

STATIONS = (
    "curate", "train_sft", "train_reward", "align", "evaluate", "gate", "export_gguf", "register", "launch_canary",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """One turn of the training loop. `window` is the JSON of the curation window that it learns from."""

    run_id: str
    name: str
    recipe: Recipe
    window: Mapping[str, Any]
    status: str
    station: str | None
    error: str | None
    started_at: datetime
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is left of a run, also of one made by an earlier version: its recipe is JSON, as it was then.

    `reports` holds the report of every station that began, with `status` and, where it ended, `seconds`.
    """

    run_id: str
    name: str
    status: str
    station: str | None
    started_at: datetime
    recipe: Mapping[str, Any]
    reports: Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Station:
    """What a station's body has at hand while it runs. `report` is stored when the block ends."""

    run: Run
    name: str
    folder: Path
    tracker: Tracker
    progress: Progress
    report: dict[str, Any] = field(default_factory=dict)

    def show(self, html: str) -> str:
        """Keeps the station's deck where a person finds it, under the run's folder; returns it for Flyte's own."""
        deck = self.folder / "decks" / f"{self.name}.html"
        deck.parent.mkdir(parents=True, exist_ok=True)
        deck.write_text(figures.document(self.name, html), encoding="utf-8")
        return html


def open_run(
    database_url: str,
    recipe: Recipe,
    window: Mapping[str, Any],
    *,
    now: datetime,
    execution: str,
    given_up: str | None = None,
) -> Run:
    """Opens a run, or resumes the newest one of this recipe when it is unfinished.

    Args:
        database_url: PostgreSQL.
        recipe: the whole recipe; its digest names the run's kind.
        window: JSON of the window that was just closed; an older one wins when its data set is already frozen.
        now: current time, for the run's name.
        execution: id of the execution that asks.
        given_up: id of a run that cannot go on: it is not resumed.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    recipe_digest = digest(recipe)
    with connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"run:{recipe.name}",))
        row = connection.execute(
            """SELECT r.run_id, r."window", coalesce(s.report ? 'digest', false), r.status FROM runs r
               LEFT JOIN run_stations s ON s.run_id = r.run_id AND s.station = 'curate'
               WHERE r.name = %s AND r.recipe_digest = %s ORDER BY r.started_at DESC LIMIT 1""",
            (recipe.name, recipe_digest),
        ).fetchone()
        resumed = row is not None and row[3] != "succeeded" and row[0] != given_up
        if row is None or not resumed:
            run_id = f"{recipe.name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            connection.execute(
                'INSERT INTO runs (run_id, name, recipe_digest, recipe, "window", execution, status) '
                "VALUES (%s, %s, %s, %s, %s, %s, 'running')",
                (run_id, recipe.name, recipe_digest, Jsonb(to_jsonable(recipe)), Jsonb(dict(window)), execution),
            )
        else:
            run_id, kept, frozen, _ = row
            connection.execute(
                "UPDATE runs SET status = 'running', error = NULL, ended_at = NULL, execution = %s, \"window\" = %s "
                "WHERE run_id = %s",
                (execution, Jsonb(kept if frozen else dict(window)), run_id),
            )
    run = read_run(database_url, run_id)
    return Run(**{**{key: getattr(run, key) for key in Run.__slots__}, "resumed": resumed})


def find_unfinished(database_url: str, recipe: Recipe) -> tuple[Run, bool] | None:
    """The run that `open_run` would resume, and whether its data set is frozen."""
    with connect(database_url) as connection:
        row = connection.execute(
            """SELECT r.run_id, coalesce(s.report ? 'digest', false) FROM runs r
               LEFT JOIN run_stations s ON s.run_id = r.run_id AND s.station = 'curate'
               WHERE r.name = %s AND r.recipe_digest = %s ORDER BY r.started_at DESC LIMIT 1""",
            (recipe.name, digest(recipe)),
        ).fetchone()
    if row is None:
        return None
    run = read_run(database_url, row[0])
    return None if run.status == "succeeded" else (run, bool(row[1]))


def read_run(database_url: str, run_id: str) -> Run:
    """Reads one run.

    Raises:
        DatabaseError: there is none of this id.
    """
    with connect(database_url) as connection:
        row = connection.execute(
            'SELECT run_id, name, recipe, "window", status, station, error, started_at FROM runs WHERE run_id = %s',
            (run_id,),
        ).fetchone()
    if row is None:
        raise DatabaseError(f"no run {run_id!r} in this database: see `flytewheel runs list`")
    return Run(row[0], row[1], Recipe.model_validate(row[2]), *row[3:])


def read_window(database_url: str, run_id: str) -> dict[str, Any] | None:
    """JSON of the window that a run learnt from; `None` where the run is not known here."""
    with connect(database_url) as connection:
        row = connection.execute('SELECT "window" FROM runs WHERE run_id = %s', (run_id,)).fetchone()
    return None if row is None else dict(row[0])


def note_opening(database_url: str, run_id: str, report: Mapping[str, Any]) -> None:
    """Keeps how a run was opened, as the report of `open_turn`."""
    for status in ("running", "succeeded"):
        _mark(database_url, run_id, "open_turn", status, report)


def list_runs(database_url: str, *, limit: int = 20) -> list[Run]:
    """The newest runs first."""
    with connect(database_url) as connection:
        rows = connection.execute("SELECT run_id FROM runs ORDER BY started_at DESC LIMIT %s", (limit,)).fetchall()
    return [read_run(database_url, row[0]) for row in rows]


def index_runs(database_url: str) -> list[tuple[str, str, str]]:
    """Id, name and status of every run, the newest first."""
    with connect(database_url) as connection:
        rows = connection.execute("SELECT run_id, name, status FROM runs ORDER BY started_at DESC, run_id").fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


def read_records(database_url: str, run_ids: Sequence[str]) -> list[RunRecord]:
    """What is left of these runs, in their order; ids that are unknown are left out."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT run_id, name, status, station, started_at, recipe FROM runs WHERE run_id = ANY(%s)",
            (list(run_ids),),
        ).fetchall()
    found = {}
    for run_id, name, status, station, started_at, recipe in rows:
        reports = read_reports(database_url, run_id)
        found[run_id] = RunRecord(run_id, name, status, station, started_at, recipe, reports)
    return [found[run_id] for run_id in run_ids if run_id in found]


def read_reports(database_url: str, run_id: str) -> dict[str, dict[str, Any]]:
    """The report of every station of a run that began, by station; `status` and `seconds` are added to each."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT station, status, report, extract(epoch FROM ended_at - started_at)::float8 FROM run_stations "
            "WHERE run_id = %s",
            (run_id,),
        ).fetchall()
    return {row[0]: {**row[2], "status": row[1], "seconds": row[3]} for row in rows}


def previous_dataset(database_url: str, name: str) -> str | None:
    """Digest of the data set of the last full turn of this model that came to an end, for replay.

    A small turn's rows are in the next full turn's window themselves.
    """
    with connect(database_url) as connection:
        row = connection.execute(
            "SELECT s.report ->> 'digest' FROM runs r JOIN run_stations s USING (run_id) "
            "WHERE r.name = %s AND r.status = 'succeeded' AND s.station = 'curate' "
            "AND coalesce(r.recipe ->> 'mode', 'full') = 'full' ORDER BY r.ended_at DESC LIMIT 1",
            (name,),
        ).fetchone()
    return None if row is None else row[0]


def list_settled(database_url: str, name: str) -> frozenset[str]:
    """The runs of a name that came to their end, and those that began before the last of them."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT run_id FROM runs WHERE name = %s AND (status = 'succeeded' OR started_at < "
            "(SELECT max(started_at) FROM runs WHERE name = %s AND status = 'succeeded'))",
            (name, name),
        ).fetchall()
    return frozenset(row[0] for row in rows)


def finish_run(database_url: str, run_id: str, *, error: str | None = None, station: str | None = None) -> None:
    """Marks a run as succeeded, or as failed with its reason."""
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE runs SET status = %s, error = %s, station = coalesce(%s, station), ended_at = now() "
            "WHERE run_id = %s",
            ("failed" if error else "succeeded", error, station, run_id),
        )


def fail_open_run(database_url: str, execution: str, *, station: str | None, error: str) -> Run | None:
    """Marks the run that this execution opened or resumed as failed (without `station`: where it stood); `None` when
    the failure came before that.
    """
    with connect(database_url) as connection:
        row = connection.execute(
            "SELECT run_id FROM runs WHERE execution = %s AND status = 'running'", (execution,)
        ).fetchone()
    if row is None:
        return None
    finish_run(database_url, row[0], error=error, station=station)
    return read_run(database_url, row[0])


@contextmanager
def run_station(database_url: str, home: Path, run_id: str, name: str) -> Iterator[Station]:
    """Runs a station's body: marked as begun, tracked in wandb, reported and timed at its end, failed with its reason.

    Raises:
        DatabaseError: PostgreSQL is away, or the run is unknown.
    """
    run = read_run(database_url, run_id)
    _mark(database_url, run_id, name, "running", {})
    folder = home / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    tracking = run.recipe.tracking
    config = {"recipe": to_jsonable(run.recipe), "run_id": run_id, "window": dict(run.window)}
    print(f"▶ {name}", flush=True)
    try:
        with (
            Tracker.open(
                name,
                group=run_id,
                config=config,
                project=tracking.wandb_project,
                entity=tracking.wandb_entity,
                directory=folder,
                model=run.name,
            ) as tracker,
            Progress(stream=sys.stdout) as progress,
        ):
            station = Station(run, name, folder, tracker, progress)
            yield station
            tracker.summary(dict(_flatten(to_jsonable(station.report))))
    except Exception as error:
        _mark(database_url, run_id, name, "failed", {"error": f"{type(error).__name__}: {error}"})
        raise
    skipped = isinstance(station.report.get("skipped"), str) or station.report.get("method") == "skipped"
    status = "skipped" if skipped else "succeeded"
    _mark(database_url, run_id, name, status, station.report)
    print(f"  {name} {status} in {time.monotonic() - started:.1f} s", flush=True)


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | str]]:
    """The scalars of a report under dotted names, for a summary that compares side by side; lists are left out."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flatten(item, f"{prefix}{key}.")
        elif isinstance(item, int | float | str):
            yield f"{prefix}{key}", item


def _mark(database_url: str, run_id: str, station: str, status: str, report: Mapping[str, Any]) -> None:
    # A station that begins again keeps its last report: a run whose data set was frozen once stays with its window.
    with connect(database_url) as connection:
        connection.execute("UPDATE runs SET station = %s WHERE run_id = %s", (station, run_id))
        connection.execute(
            """INSERT INTO run_stations (run_id, station, status, report) VALUES (%s, %s, %s, %s)
               ON CONFLICT (run_id, station) DO UPDATE SET status = excluded.status,
                   report = CASE excluded.status WHEN 'running' THEN run_stations.report - 'error'
                       WHEN 'failed' THEN run_stations.report || excluded.report ELSE excluded.report END,
                   started_at = CASE WHEN excluded.status = 'running' THEN now() ELSE run_stations.started_at END,
                   ended_at = CASE WHEN excluded.status = 'running' THEN NULL ELSE clock_timestamp() END""",
            (run_id, station, status, Jsonb(_storable(to_jsonable(dict(report))))),
        )


def _storable(value: Any) -> Any:
    """JSON-like without NaN and infinities, which PostgreSQL refuses: `None` stands for what is not a number."""
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
