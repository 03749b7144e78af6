from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flytewheel import runs
from flytewheel.offline_runs import read_offline_runs
from flytewheel.recipe import Recipe
from flytewheel.tracking import Tracker, choose_mode


def _read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What wandb's own reader finds in an offline run: its summary and its first description."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json"]
    summary = subprocess.run([*command, "--summary", str(folder)], capture_output=True, text=True, check=True)
    records = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True)
    runs = [record for record in map(json.loads, records.stdout.splitlines()) if record["type"] == "run"]
    return json.loads(summary.stdout), runs[0]["run"]


def test_offline_without_an_account(tmp_path: Path) -> None:
    empty = {"HOME": str(tmp_path)}
    assert choose_mode(empty) == "offline"
    assert choose_mode({**empty, "WANDB_API_KEY": "k"}) == "online"
    assert choose_mode({**empty, "WANDB_API_KEY": "k", "WANDB_MODE": "offline"}) == "offline"
    assert choose_mode({**empty, "WANDB_MODE": "disabled"}) == "disabled"
    assert choose_mode({**empty, "WANDB_MODE": "dryrun"}) == "offline"


def test_a_netrc_entry_is_an_account(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    assert choose_mode({"HOME": str(tmp_path)}) == "online"
    assert choose_mode({"HOME": str(tmp_path), "WANDB_BASE_URL": "https://wandb.example.org"}) == "offline"


def test_an_unknown_mode_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_mode({"WANDB_MODE": "ofline"}) == "offline"
    assert "WANDB_MODE='ofline'" in caplog.text


def test_a_station_is_a_run_in_the_loops_group(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "openai", raising=False)  # of another test's client; wandb remarks on it
    options: dict[str, Any] = {
        "group": "turn-1", "config": {"name": "demo", "training": {"epochs": 3.0}}, "project": "p", "entity": None,
        "directory": tmp_path, "mode": "offline",
    }  # fmt: skip
    with Tracker.open("train_sft", **options) as tracker:
        tracker.log({"loss": 2.5}, step=1)
        tracker.log({"loss": 1.25}, step=2)
        tracker.summary({"final": 1.25})
    with pytest.raises(ZeroDivisionError), Tracker.open("align", **options) as tracker:
        tracker.log({"loss": 1 / 0}, step=1)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""

    runs = [_read_run(folder) for folder in tmp_path.glob("wandb/offline-run-*")]
    assert {(run["job_type"], run["run_group"]) for _, run in runs} == {("train_sft", "turn-1"), ("align", "turn-1")}
    found = {run["job_type"]: summary for summary, run in runs}
    assert found["train_sft"]["config"] == found["align"]["config"] == {"name": "demo", "training": {"epochs": 3}}
    assert (found["train_sft"]["exit_code"], found["align"]["exit_code"]) == (0, 1)
    assert (found["train_sft"]["summary"]["loss"], found["train_sft"]["summary"]["final"]) == (1.25, 1.25)
    assert found["train_sft"]["step"] == 2


def test_disabled_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with Tracker.open("sft", group="g", config={}, project="p", entity=None, directory=tmp_path) as tracker:
        tracker.log({"loss": 1.0}, step=1)
        tracker.summary({"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_every_station_has_the_loops_group_and_the_same_configuration(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    recipe = Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}, "tracking": {"wandb_project": "p"}})
    window = {"series": 1, "number": 4}
    run = runs.open_run(database_url, recipe, window, now=datetime(2026, 11, 21, tzinfo=UTC), execution="e")
    for name in runs.STATIONS:
        with runs.run_station(database_url, tmp_path, run.run_id, name) as station:
            station.report = {"figure": 1.5, "nested": {"part": 2}}
            station.tracker.artifact("card", {"card.json": "{}"}, {"made_by": name})

    opened = [_read_run(folder) for folder in tmp_path.glob("runs/*/wandb/offline-run-*")]
    assert {described["job_type"] for _, described in opened} == set(runs.STATIONS)
    assert len(opened) == len(runs.STATIONS)
    assert {(described["run_group"], described["project"]) for _, described in opened} == {(run.run_id, "p")}
    configs = [found["config"] for found, _ in opened]
    assert all(config == configs[0] for config in configs)
    assert set(configs[0]) == {"recipe", "run_id", "window"}
    assert configs[0]["recipe"]["training"]["lora_rank"] == recipe.training.lora_rank
    assert all(found["summary"]["figure"] == 1.5 for found, _ in opened)
    (record,) = read_offline_runs(tmp_path)
    assert {name: report["artifacts"] for name, report in record.reports.items()} == {
        name: {"card": {"made_by": name}} for name in runs.STATIONS
    }


def test_an_artifact_is_small_files_in_the_runs_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    options: dict[str, Any] = {"group": "turn-1", "config": {}, "project": "p", "entity": None, "model": "oncall"}
    with Tracker.open("curate", directory=tmp_path / "runs", mode="offline", **options) as tracker:
        tracker.artifact("dataset-card", {"card.json": '{"a": 1}', "README.md": "# é"}, {"digest": "d1"})
    (folder,) = tmp_path.glob("runs/wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (made,) = [record["artifact"] for record in map(json.loads, lines) if record["type"] == "artifact"]
    assert (made["name"], made["type"]) == ("oncall-curate-dataset-card", "dataset-card")
    assert json.loads(made["metadata"]) == {"digest": "d1"}
    held = {entry["path"]: Path(entry["local_path"]) for entry in made["manifest"]["contents"]}
    assert {name: path.read_text("utf-8") for name, path in held.items()} == {
        "card.json": '{"a": 1}', "README.md": "# é",
    }  # fmt: skip
    assert all(path.is_relative_to(folder) for path in held.values())
    assert not list((tmp_path / "home").rglob("staging/*"))


def test_a_disabled_tracker_keeps_no_artifact(tmp_path: Path) -> None:
    options: dict[str, Any] = {"group": "g", "config": {}, "project": "p", "entity": None, "directory": tmp_path}
    with Tracker.open("curate", mode="disabled", **options) as tracker:
        tracker.artifact("dataset-card", {"card.json": "{}"}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_whole_in_the_runs_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    (tmp_path / "home").mkdir()
    options: dict[str, Any] = {"group": "turn-1", "config": {}, "project": "p", "entity": None, "model": "oncall"}
    with Tracker.open("gate", directory=tmp_path / "runs", mode="offline", **options) as tracker:
        tracker.table("reasons", ("kind", "figure"), [("for <b>", 0.5), ("é 磁盘", None), (None, "text")])
        tracker.summary({"decision": "hold"})
    (folder,) = tmp_path.glob("runs/wandb/offline-run-*")
    (file,) = folder.rglob("media/table/reasons_*.table.json")
    table = json.loads(file.read_text("utf-8"))
    assert table["columns"] == ["kind", "figure"]
    assert table["data"] == [["for <b>", 0.5], ["é 磁盘", None], [None, "text"]]
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (made,) = [record["artifact"] for record in map(json.loads, lines) if record["type"] == "artifact"]
    (held,) = made["manifest"]["contents"]
    assert Path(held["local_path"]).is_relative_to(folder)  # so that a copied run can be uploaded
    assert json.loads(Path(held["local_path"]).read_text("utf-8"))["data"] == table["data"]
    assert not list((tmp_path / "home").rglob("staging/*"))
    assert "WANDB_DATA_DIR" not in os.environ
    (record,) = read_offline_runs(tmp_path)
    assert {key: record.reports["gate"][key] for key in ("decision", "curve", "artifacts")} == {
        "decision": "hold", "curve": [], "artifacts": {},
    }  # fmt: skip


def test_a_disabled_tracker_keeps_no_table(tmp_path: Path) -> None:
    options: dict[str, Any] = {"group": "g", "config": {}, "project": "p", "entity": None, "directory": tmp_path}
    with Tracker.open("gate", mode="disabled", **options) as tracker:
        tracker.table("reasons", ("kind",), [("for",)])
    assert list(tmp_path.iterdir()) == []
