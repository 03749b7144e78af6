"""Runs on a real PostgreSQL: one for each turn, gone on with after a kill, with the window it was frozen on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flytewheel import runs
from flytewheel.database import connect
from flytewheel.errors import DatabaseError
from flytewheel.recipe import Recipe

NOW = datetime(2026, 11, 21, 12, 30, 5, tzinfo=UTC)
FIRST, SECOND = {"high_xid": "10", "interactions": 3}, {"high_xid": "20", "interactions": 5}


@pytest.fixture(autouse=True)
def _no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")  # tests/workflows looks at what is tracked


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}, **fields})


def open_run(
    database_url: str, window: dict[str, Any] = FIRST, of: Recipe | None = None, *, by: str = "execution", **more: Any
) -> runs.Run:
    return runs.open_run(database_url, of or recipe(), window, now=NOW, execution=by, **more)


def curate(database_url: str, home: Path, run_id: str, *, digest: str = "d1") -> None:
    with runs.run_station(database_url, home, run_id, "curate") as station:
        station.report = {"digest": digest}


def test_a_run_is_named_by_model_and_time_and_keeps_its_recipe(database_url: str) -> None:
    run = open_run(database_url)
    assert run.run_id.startswith("oncall-20261121-123005-")
    assert (run.status, run.resumed, run.station, run.error) == ("running", False, None, None)
    assert run.recipe == recipe()
    assert runs.read_run(database_url, run.run_id).window == FIRST


def test_an_unfinished_run_of_the_same_recipe_is_resumed_with_the_newer_window(database_url: str) -> None:
    run = open_run(database_url)
    again = open_run(database_url, SECOND)
    assert (again.run_id, again.resumed) == (run.run_id, True)
    assert again.window == SECOND


def test_a_frozen_data_set_keeps_its_window(database_url: str, tmp_path: Path) -> None:
    run = open_run(database_url)
    curate(database_url, tmp_path, run.run_id)
    assert open_run(database_url, SECOND).window == FIRST


def test_a_resumed_run_that_is_killed_while_it_curates_again_keeps_its_window(
    database_url: str, tmp_path: Path
) -> None:
    run = open_run(database_url)
    curate(database_url, tmp_path, run.run_id)
    station = runs.run_station(database_url, tmp_path, run.run_id, "curate")
    station.__enter__()  # and no exit, as after a kill
    assert runs.read_reports(database_url, run.run_id)["curate"]["status"] == "running"
    assert open_run(database_url, SECOND).window == FIRST
    with (
        pytest.raises(OSError, match="store is away"),
        runs.run_station(database_url, tmp_path, run.run_id, "curate"),
    ):
        raise OSError("store is away")
    assert open_run(database_url, SECOND).window == FIRST


def test_a_run_that_failed_to_curate_takes_the_newer_window(database_url: str, tmp_path: Path) -> None:
    run = open_run(database_url)
    with (
        pytest.raises(ValueError, match="no rows"),
        runs.run_station(database_url, tmp_path, run.run_id, "curate"),
    ):
        raise ValueError("no rows")
    assert open_run(database_url, SECOND).window == SECOND


def test_another_recipe_or_a_finished_run_opens_a_new_one(database_url: str) -> None:
    first = open_run(database_url)
    other = open_run(database_url, of=recipe(seed=8))
    assert other.run_id != first.run_id
    runs.finish_run(database_url, first.run_id)
    third = open_run(database_url)
    assert third.run_id not in {first.run_id, other.run_id}
    assert not third.resumed
    assert {run.run_id: run.status for run in runs.list_runs(database_url)} == {
        first.run_id: "succeeded",
        other.run_id: "running",
        third.run_id: "running",
    }
    assert len(runs.list_runs(database_url, limit=1)) == 1


def test_two_at_once_open_one_run(database_url: str) -> None:
    barrier = threading.Barrier(4)

    def at_once(_: int) -> runs.Run:
        barrier.wait(timeout=30)
        return open_run(database_url)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(at_once, range(4)))
    assert len({run.run_id for run in found}) == 1
    assert [run.resumed for run in found].count(False) == 1


def test_a_failure_is_noted_on_the_open_run_and_mended_by_resuming(database_url: str) -> None:
    assert runs.fail_open_run(database_url, "execution", station="open_turn", error="early") is None
    run = open_run(database_url)
    failed = runs.fail_open_run(database_url, "execution", station="align", error="no pairs")
    assert failed is not None
    assert (failed.run_id, failed.status, failed.station, failed.error) == (run.run_id, "failed", "align", "no pairs")
    again = open_run(database_url)
    assert (again.run_id, again.status, again.error) == (run.run_id, "running", None)


def test_a_failure_before_a_run_was_opened_leaves_a_killed_one_alone(database_url: str) -> None:
    killed = open_run(database_url, by="first")
    assert runs.fail_open_run(database_url, "second", station="open_turn", error="no such file") is None
    found = runs.read_run(database_url, killed.run_id)
    assert (found.status, found.error) == ("running", None)
    open_run(database_url, by="second")
    failed = runs.fail_open_run(database_url, "second", station="align", error="no pairs")
    assert failed is not None
    assert failed.run_id == killed.run_id


def test_a_run_that_was_given_up_is_never_resumed(database_url: str, tmp_path: Path) -> None:
    dead = open_run(database_url)
    curate(database_url, tmp_path, dead.run_id)
    runs.finish_run(database_url, dead.run_id, error="rows were erased")
    new = open_run(database_url, SECOND, given_up=dead.run_id)
    assert (new.run_id != dead.run_id, new.resumed, new.window) == (True, False, SECOND)
    assert open_run(database_url, given_up=dead.run_id).run_id == new.run_id  # another execution was first
    assert open_run(database_url).run_id == new.run_id
    runs.finish_run(database_url, new.run_id)
    assert not open_run(database_url).resumed
    assert runs.read_run(database_url, dead.run_id).status == "failed"


def test_a_station_is_reported_timed_and_given_its_folder(database_url: str, tmp_path: Path) -> None:
    run = open_run(database_url)
    with runs.run_station(database_url, tmp_path, run.run_id, "gate") as station:
        assert runs.read_reports(database_url, run.run_id)["gate"]["status"] == "running"
        assert runs.read_run(database_url, run.run_id).station == "gate"
        assert station.folder == tmp_path / "runs" / run.run_id
        assert station.show("<p>fine</p>") == "<p>fine</p>"
        station.report = {"decision": "hold"}
    report = runs.read_reports(database_url, run.run_id)["gate"]
    assert (report["status"], report["decision"]) == ("succeeded", "hold")
    assert report["seconds"] >= 0
    assert "<p>fine</p>" in (station.folder / "decks" / "gate.html").read_text()


@pytest.mark.parametrize("report", [{"method": "skipped", "reason": "few"}, {"skipped": "off"}])
def test_a_station_that_had_nothing_to_do_is_skipped(database_url: str, tmp_path: Path, report: dict[str, Any]) -> None:
    run = open_run(database_url)
    with runs.run_station(database_url, tmp_path, run.run_id, "align") as station:
        station.report = report
    assert runs.read_reports(database_url, run.run_id)["align"]["status"] == "skipped"


def test_a_failed_station_keeps_its_reason_until_it_begins_again(database_url: str, tmp_path: Path) -> None:
    run = open_run(database_url)
    with (
        pytest.raises(ValueError, match="NaN"),
        runs.run_station(database_url, tmp_path, run.run_id, "train_sft"),
    ):
        raise ValueError("NaN")
    report = runs.read_reports(database_url, run.run_id)["train_sft"]
    assert (report["status"], report["error"]) == ("failed", "ValueError: NaN")
    with runs.run_station(database_url, tmp_path, run.run_id, "train_sft"):
        assert "error" not in runs.read_reports(database_url, run.run_id)["train_sft"]


def test_the_data_set_to_replay_is_that_of_the_last_run_that_ended(database_url: str, tmp_path: Path) -> None:
    assert runs.previous_dataset(database_url, "oncall") is None
    for seed in (1, 2, 3):
        run = open_run(database_url, of=recipe(seed=seed))
        curate(database_url, tmp_path, run.run_id, digest=f"d{seed}")
        if seed < 3:
            runs.finish_run(database_url, run.run_id)
    assert runs.previous_dataset(database_url, "oncall") == "d2"
    assert runs.previous_dataset(database_url, "another") is None


def test_an_unknown_run_is_one_line(database_url: str) -> None:
    with pytest.raises(DatabaseError, match="no run 'x' in this database: see `flytewheel runs list`"):
        runs.read_run(database_url, "x")
    with connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
