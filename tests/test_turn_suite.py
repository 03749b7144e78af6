"""The suite through turns of the loop, on real services: frozen for a run, grown by curation and rollbacks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flytewheel import runs, turn
from flytewheel.database import connect
from flytewheel.dataset import Dataset
from flytewheel.experiment.experiments import stop_experiment
from flytewheel.feedback.store import FeedbackStore
from flytewheel.local.services import Services
from flytewheel.recipe import Recipe
from flytewheel.records import Message, RegressionCase, write_jsonl
from flytewheel.suite.snapshot import read_snapshot
from flytewheel.suite.store import add_cases, list_kept, read_outcomes, retire_case
from flytewheel.turn_suite import absorb_cases, note_evaluation
from registry.store import ObjectStore
from tests.curation.windows import curate, make_week
from tests.experiment.canary import open_canary
from tests.suite.test_rollbacks import GOOD, serve

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def here(
    database_url: str, store: ObjectStore, services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Services:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return Services(
        home=tmp_path / "home", database_url=database_url, s3_url=services.s3_url,
        s3_access_key=services.s3_access_key, s3_secret_key=services.s3_secret_key, s3_region=None,
        s3_bucket=store.bucket, router_url="", admin_key="", assignment_key="",
    )  # fmt: skip


def recipe(seed: int = 7) -> Recipe:
    return Recipe.model_validate(
        {"name": "demo", "seed": seed, "base": {"model": "pocket"}, "curation": {"min_interactions": 3}}
    )


def import_week(here: Services, folder: Path, **options: Any) -> None:
    interactions, events = make_week(users=60, questions=60, **options)
    prefix = options.get("prefix", "user")
    rows = [one.model_copy(update={"interaction_id": f"{prefix}-{one.interaction_id}"}) for one in interactions]
    said = [
        one.model_copy(
            update={"event_id": f"{prefix}-{one.event_id}", "interaction_id": f"{prefix}-{one.interaction_id}"}
        )
        for one in events
    ]
    write_jsonl(folder / f"{prefix}-i.jsonl", rows)
    write_jsonl(folder / f"{prefix}-f.jsonl", said)
    FeedbackStore(here.database_url).import_files(
        folder / f"{prefix}-i.jsonl", folder / f"{prefix}-f.jsonl", source="demo", quarantine_dir=folder / "q"
    )


def open_turn(here: Services, given: Recipe) -> turn.OpenedTurn:
    return turn.open_turn(here, given, here.home / "window", start=here.home / "start", now=NOW, execution="e")


def curate_turn(here: Services, opened: turn.OpenedTurn, name: str) -> list[str]:
    """What `tasks.curate` does of a turn that was opened, as far as the suite goes."""
    with runs.run_station(here.database_url, here.home, opened.run_id, "curate") as station:
        card = curate(opened.window, here.home / name)
        station.report = {"digest": card.digest}
        return absorb_cases(here.database_url, station.run, here.home / name)


def written(name: str) -> RegressionCase:
    return RegressionCase(name, "suite", "disk", (Message(role="user", content=f"how {name}?"),), "contains", "x")


def names(cases: Iterable[RegressionCase]) -> set[str]:
    return {case.id for case in cases}


def test_the_suite_grows_from_turn_to_turn_and_stands_still_for_a_run(here: Services, tmp_path: Path) -> None:
    url = here.database_url
    import_week(here, tmp_path)
    add_cases(url, "demo", [written("hand")])
    opened = open_turn(here, recipe())
    assert names(read_snapshot(opened.window).cases) == {"hand"}
    added = curate_turn(here, opened, "first")
    assert len(added) > 5
    assert names(one.case for one in list_kept(url, "demo")) == {"hand", *added}
    assert {one.run_id for one in list_kept(url, "demo")} == {"", opened.run_id}

    add_cases(url, "demo", [written("later")])
    retire_case(url, "demo", "hand", by="ada", reason="old")
    again = open_turn(here, recipe())
    assert again.run_id == opened.run_id
    assert names(read_snapshot(again.window).cases) == {"hand"}, "a run that goes on meets the suite that it began with"
    assert curate_turn(here, again, "again") == []
    assert Dataset(here.home / "again").card == Dataset(here.home / "first").card
    runs.finish_run(url, opened.run_id)

    import_week(here, tmp_path, seed=2, prefix="next")
    following = open_turn(here, recipe())
    assert following.run_id != opened.run_id
    snapshot = read_snapshot(following.window)
    assert names(snapshot.cases) == {"later", *added}
    assert snapshot.retired == {"hand"}
    more = curate_turn(here, following, "second")
    assert more
    assert set(more).isdisjoint(added)


def test_what_was_erased_is_in_no_later_snapshot(here: Services, tmp_path: Path) -> None:
    import_week(here, tmp_path)
    added = curate_turn(here, opened := open_turn(here, recipe()), "first")
    runs.finish_run(here.database_url, opened.run_id)
    gone = list_kept(here.database_url, "demo")[0].case
    with connect(here.database_url) as connection:
        connection.execute(
            "DELETE FROM interactions WHERE user_id = (SELECT user_id FROM interactions WHERE interaction_id = %s)",
            (gone.interactions[0],),
        )
    import_week(here, tmp_path, seed=2, prefix="next")
    left = names(read_snapshot(open_turn(here, recipe()).window).cases)
    assert gone.id not in left
    assert left < set(added)
    assert absorb_cases(here.database_url, runs.read_run(here.database_url, opened.run_id), here.home / "first") == []


def test_a_rollback_is_in_the_next_turns_suite(
    here: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = open_canary(here.database_url)
    serve(here.database_url, canary, 1, "ann", "thumbs_down")
    serve(here.database_url, canary, 2, "joe", arm="control", response=GOOD)
    stop_experiment(here.database_url, canary.experiment_id, reason="people complain", actor="ada")
    import_week(here, tmp_path)
    opened = open_turn(here, recipe())
    assert "suite: 1 cases from rollbacks" in capsys.readouterr().out
    [case] = read_snapshot(opened.window).cases
    assert (case.id, case.origin, case.check) == ("r001/case", "rollback", "forbidden")
    curate_turn(here, opened, "first")
    data = Dataset(here.home / "first")
    assert case in [*data.regression("test"), *data.regression("train"), *data.regression("validation")]
    open_turn(here, recipe())
    assert "rollbacks" not in capsys.readouterr().out


def test_an_evaluation_is_remembered(here: Services, tmp_path: Path) -> None:
    import_week(here, tmp_path)
    run = runs.read_run(here.database_url, open_turn(here, recipe()).run_id)
    told = {"id": "a", "outcome": "fails", "passed": 0, "samples": 1, "origin": "written", "check": "exact", "more": 1}
    note_evaluation(here.database_url, run, {"suite": {"cases": [told]}})
    assert read_outcomes(here.database_url, "demo")["a"].model == run.run_id
    note_evaluation(here.database_url, run, {})
