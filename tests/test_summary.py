"""The table at the end, also of runs that did not come to it; that of a whole turn is in tests/workflows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flytewheel import runs
from flytewheel.local.services import Services
from flytewheel.recipe import Recipe
from flytewheel.summary import summarise

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TRAINED = {
    "method": "sft", "reason": "9 rows", "rows": 9, "steps": 4, "first_loss": 2.0, "last_loss": 1.0, "eval_loss": None,
    "device": "cpu", "resumed_from_step": 3, "base": "5f7ef6c9d1a5c6a8ea1a2c0a3b2f0c9b0a7d4e11",
}  # fmt: skip


@pytest.fixture
def here(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return Services(tmp_path, database_url, "", "", "", None, "", "", "", "")


@pytest.fixture
def run(here: Services) -> runs.Run:
    recipe = Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}})
    return runs.open_run(here.database_url, recipe, {}, now=NOW, execution="e")


def record(here: Services, run: runs.Run, station: str, report: dict[str, Any], *, fails: bool = False) -> None:
    try:
        with runs.run_station(here.database_url, here.home, run.run_id, station) as open_station:
            open_station.report = report
            if fails:
                raise ValueError("no rows")
    except ValueError:
        assert fails


def test_a_run_that_has_not_begun_has_a_table(here: Services, run: runs.Run) -> None:
    facts = summarise(here, run.run_id).facts()
    assert facts["recipe"] == "oncall on base pocket"
    assert "verdict" not in facts


def test_trained_stations_say_losses_and_where_they_went_on(here: Services, run: runs.Run) -> None:
    record(here, run, "train_sft", TRAINED)
    record(here, run, "align", {"method": "skipped", "reason": "3 of 500 pairs"})
    facts = summarise(here, run.run_id).facts()
    assert (
        facts["train_sft"]
        == "sft (9 rows): 9 rows, 4 steps, loss 2.000 → 1.000, cpu, base 5f7ef6c9d1a5, resumed at step 3"
    )
    assert facts["align"] == "skipped: 3 of 500 pairs"
    record(here, run, "align", {**TRAINED, "reference_answers": 1200, "reference_computed": 30})
    assert summarise(here, run.run_id).facts()["align"].endswith(", reference computed for 30 of 1,200 answers")
    assert facts["time"].startswith("train_sft 0 s, align 0 s")


def test_failed_and_running_stations_are_said(
    here: Services, run: runs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    record(here, run, "curate", {}, fails=True)
    runs.run_station(here.database_url, here.home, run.run_id, "train_sft").__enter__()
    table = summarise(here, run.run_id)
    assert table.facts()["curate"] == "failed: ValueError: no rows"
    assert table.facts()["train_sft"] == "running"
    table.print()
    assert f"Turn {run.run_id}" in capsys.readouterr().out


def test_a_held_canary_says_why_there_is_none(here: Services, run: runs.Run) -> None:
    record(here, run, "launch_canary", {"skipped": "automation.auto_experiment is off", "experiment_id": ""})
    assert summarise(here, run.run_id).facts()["experiment"] == "automation.auto_experiment is off"
