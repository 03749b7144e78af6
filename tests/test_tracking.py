from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_a_station_is_a_run_in_the_loops_group(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
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
