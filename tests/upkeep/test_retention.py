"""Age limits over real tables, a real store and a real home: what is old and unneeded goes, nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel import runs
from flytewheel.training.uploads import MANIFEST, PREFIX, list_copies
from flytewheel.upkeep.pages import describe_report
from flytewheel.upkeep.retention import Place, carry_out_limits
from tests.upkeep.crowd import NOW, Crowd, fill, recipe


def end_run(database_url: str, store: Any, home: Path, age_days: float, *, running: bool = False) -> str:
    run = runs.open_run(database_url, recipe(), {}, now=NOW - timedelta(days=age_days), execution=f"e{age_days}")
    at = NOW - timedelta(days=age_days)
    if not running:
        runs.finish_run(database_url, run.run_id)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE runs SET started_at = %s, ended_at = CASE WHEN status = 'running' THEN NULL ELSE %s END"
            " WHERE run_id = %s",
            (at, at, run.run_id),
        )
    store.put_bytes(f"runs/{run.run_id}/evaluation/page.html", b"what people said")
    store.put_bytes(
        f"{PREFIX}sft-{age_days}/{MANIFEST}", f'{{"run": "{run.run_id}", "recipe": {{}}, "station": "sft"}}'.encode()
    )
    decks = home / "runs" / run.run_id / "decks"
    decks.mkdir(parents=True)
    (decks / "evaluate.html").write_text("what people said")
    return run.run_id


def test_old_runs_go_but_for_those_that_versions_came_from(database_url: str, store: Any, tmp_path: Path) -> None:
    old, champion, newer = (end_run(database_url, store, tmp_path, age) for age in (200, 150, 10))
    place = Place(database_url, store, tmp_path, frozenset({champion}))
    limited = recipe(upkeep={"retention": {"runs_days": 90}})
    steps: list[tuple[str, int, int | None]] = []
    done = carry_out_limits(place, limited, days=None, now=NOW, by="test", progress=lambda *step: steps.append(step))
    assert done.figures["interactions"] == "kept for ever"
    assert {key: done.figures[key] for key in ("runs_cleared", "run_objects", "run_folders", "checkpoint_copies")} == {
        "runs_cleared": 1, "run_objects": 1, "run_folders": 1, "checkpoint_copies": 1,
    }  # fmt: skip
    assert done.figures["runs_kept_for_their_versions"] == 1
    assert steps == [("clear runs", 1, 1)]
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {champion, newer}
    assert {key.split("/")[1] for key in store.list("runs/")} == {champion, newer}
    assert {about["run"] for _, about in list_copies(store)} == {champion, newer}
    assert runs.read_run(database_url, old).status == "succeeded"  # lineage is told by its row

    again = carry_out_limits(place, limited, days=None, now=NOW, by="test")
    assert (again.figures["run_objects"], again.figures["run_folders"]) == (0, 0)
    assert "runs cleared" in describe_report(done)


def test_the_newest_run_and_one_that_runs_stay_however_old(database_url: str, store: Any, tmp_path: Path) -> None:
    running = end_run(database_url, store, tmp_path, 300, running=True)
    with psycopg.connect(database_url) as connection:  # else the next one would resume it
        connection.execute("UPDATE runs SET recipe_digest = 'other' WHERE run_id = %s", (running,))
    newest = end_run(database_url, store, tmp_path, 200)
    place = Place(database_url, store, tmp_path, frozenset())
    carry_out_limits(place, recipe(upkeep={"retention": {"runs_days": 1}}), days=None, now=NOW, by="test")
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {running, newest}


@pytest.mark.parametrize("asked", [True, False])
def test_garbage_of_the_registry_goes_where_it_is_asked_for(
    database_url: str, store: Any, tmp_path: Path, asked: bool
) -> None:
    passes: list[int] = []

    def collect() -> int:
        passes.append(3)
        return 3

    place = Place(database_url, store, tmp_path, frozenset(), collect)
    limits = recipe(upkeep={"retention": {"collect_garbage": asked}})
    figures = carry_out_limits(place, limits, days=None, now=NOW, by="test").figures
    assert (figures.get("registry_objects"), passes) == ((3, [3]) if asked else (None, []))


def test_interactions_go_by_the_recipes_limit_before_the_machines(
    database_url: str, store: Any, tmp_path: Path
) -> None:
    fill(database_url, Crowd(users=20, a_day=5), seed=1)
    place = Place(database_url, store, tmp_path, frozenset())
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO notifications (key, channel, name, title, first_at) VALUES ('k', 'slack', 'demo', 't', %s)",
            (NOW - timedelta(days=400),),
        )
    by_machine = carry_out_limits(place, recipe(), days=20, now=NOW, by="test")
    assert by_machine.figures["interactions"] == 9 * 5
    assert by_machine.figures["notes_of_messages"] == 1
    by_recipe = carry_out_limits(
        place, recipe(upkeep={"retention": {"interactions_days": 10}}), days=20, now=NOW, by="test"
    )
    assert by_recipe.figures["interactions"] == 10 * 5
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT count(*), min(stored_at) FROM interactions").fetchall()[0]
        noted = connection.execute("SELECT days, by FROM expiries ORDER BY entry").fetchall()
    assert left[0] == 10 * 5
    assert left[1] > datetime(2026, 11, 11, tzinfo=UTC)
    assert noted == [(20.0, "test"), (10.0, "test")]
