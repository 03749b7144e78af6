"""Two real trainings side by side: PostgreSQL's reports and wandb's offline files tell the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel import runs
from flytewheel.cli import main
from flytewheel.offline_runs import read_offline_runs
from flytewheel.recipe import Recipe
from flytewheel.records import to_jsonable
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, training_spec

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_reports_and_offline_files_tell_the_same(
    base_model: Path, teaching_data: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    home, base = tmp_path / "home", base_spec(base_model)
    ids = []
    for rate in (2e-3, 1e-3):
        training = training_spec(learning_rate=rate, max_steps=6)
        recipe = Recipe.model_validate({"name": "oncall", "base": base, "training": training})
        run = runs.open_run(database_url, recipe, {}, now=NOW, execution=f"e{rate}")
        ids.append(run.run_id)
        with runs.run_station(database_url, home, run.run_id, "train_sft") as station:
            report = train_sft(
                teaching_data, tmp_path / f"out{rate}", base=base, training=training, seed=1,
                at=Workplace(home / "checkpoints", tracker=station.tracker),
            )  # fmt: skip
            station.report = to_jsonable(report)
        runs.finish_run(database_url, run.run_id)

    def compare(*options: str | Path) -> dict[str, Any]:
        environ = {"FLYTEWHEEL_HOME": str(home), "FLYTEWHEEL_DATABASE_URL": database_url}
        result = CliRunner(env=environ).invoke(main, ["runs", "compare", "--json", *map(str, options)])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    for record in read_offline_runs(home / "runs"):
        facts = record.reports["train_sft"]["artifacts"]["checkpoints"]
        assert facts["adapter_digest"] == runs.read_reports(database_url, record.run_id)["train_sft"]["adapter_digest"]
        assert facts["checkpoints"] == ["checkpoint-5", "checkpoint-6"]
    (kept, _) = home.glob("runs/*/wandb/offline-run-*/artifacts/checkpoints/checkpoint-6.json")
    assert "adapter_model.safetensors" in json.loads(kept.read_text())["files"]

    reported, tracked = compare(), compare("--wandb", home / "runs")
    assert reported["runs"] == tracked["runs"] == ids
    rows = {(row["section"], row["name"]): row["values"] for row in reported["rows"]}
    assert rows["recipe", "training.learning_rate"] == dict(zip(ids, (2e-3, 1e-3), strict=True))
    assert [name for section, name in rows if section == "recipe"] == ["training.learning_rate"]
    assert rows["train_sft", "steps"] == dict.fromkeys(ids, 6)
    assert rows["train_sft", "tokens"][ids[0]] > 0
    told = {(row["section"], row["name"]): row["values"] for row in tracked["rows"]}
    timed = {("run", "started"), ("train_sft", "seconds"), ("outcome", "seconds, all stations")}
    assert {name: value for name, value in told.items() if name not in timed} == {
        name: value for name, value in rows.items() if name not in timed
    }
    assert [(curve["station"], curve["metric"]) for curve in reported["curves"]] == [
        ("train_sft", metric)
        for metric in (
            "loss", "eval_loss", "learning_rate", "grad_norm", "useful_tokens_per_s", "useful_share", "memory_gib",
        )
    ]  # fmt: skip
    assert tracked["curves"] == reported["curves"]
