"""The nightly self-check: quiet about the shipped statistics, loud about broken ones, and about what is stored."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from flytewheel import runs
from flytewheel.experiment.analysis import look as analysis
from flytewheel.experiment.guardrails import make_design
from flytewheel.recipe.upkeep import CalibrationSpec
from flytewheel.upkeep import calibration
from flytewheel.upkeep.pages import describe_report
from tests.upkeep.crowd import recipe

QUICK = {"upkeep": {"calibration": {"runs": 120, "users": 300, "days": 5}}}


def test_the_shipped_statistics_pass_and_say_how(database_url: str) -> None:
    found = calibration.check_calibration(database_url, recipe(**QUICK), seed=1)
    assert found.alarms == ()
    assert found.figures["largest_share"] <= 0.05
    assert found.figures["allowed"] == pytest.approx(0.05 + 3 * (0.05 * 0.95 / 120) ** 0.5, abs=1e-4)
    assert found.to_message("f1", datetime(2026, 11, 22, tzinfo=UTC)).severity == "info"
    assert "recipe demo" in describe_report(found)
    again = calibration.check_calibration(database_url, recipe(**QUICK), seed=1)
    assert again.figures == found.figures  # a retry draws the same


def test_a_variance_that_forgets_the_user_is_found(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a slip in the analysis would look like: standard errors half of what they are."""
    fill = analysis._fill

    def slip(design: Any, metric: Any, blank: Any, difference: float, variance: float) -> Any:
        return fill(design, metric, blank, difference, variance / 4)

    monkeypatch.setattr(analysis, "_fill", slip)
    found = calibration.check_calibration(database_url, recipe(**QUICK), seed=1)
    (alarm,) = found.alarms
    assert alarm.startswith("recipe demo calls identical arms apart in ")
    message = found.to_message("f1", datetime(2026, 11, 22, tzinfo=UTC))
    assert (message.severity, message.incident) == ("error", "demo calibration")


def test_experiments_that_run_under_another_configuration_are_checked_too(database_url: str) -> None:
    other = recipe().model_copy(update={"ab_testing": recipe().ab_testing.model_copy(update={"confidence_level": 0.9})})
    run = runs.open_run(database_url, other, {}, now=datetime(2026, 11, 20, tzinfo=UTC), execution="e")
    with psycopg.connect(database_url) as connection:
        for number, key in enumerate((run.run_id, "by hand")):
            connection.execute(
                "INSERT INTO experiments (experiment_id, name, state, control, treatment, share, body, launch_key)"
                " VALUES (%s, %s, 'running', 'v1', 'v2', 0.1, %s, %s)",
                (f"x{number}", f"demo{number}", json.dumps({}), key),
            )
    found = calibration.check_calibration(
        database_url, recipe(upkeep={"calibration": {"runs": 5, "users": 150, "days": 2}}), seed=1
    )
    assert list(found.figures["shares"]) == ["recipe demo", "experiment x0"]


def test_a_real_difference_is_called() -> None:
    """The self-check's experiments are ones in which something could be found."""
    design = make_design(recipe().ab_testing)
    spec = CalibrationSpec(runs=20, users=600, days=5)
    level = replace(design, confidence_level=0.6)
    apart, by_metric = calibration.count_false_positives(level, spec, seed=2)
    assert apart > 2
    assert sum(by_metric.values()) == apart
