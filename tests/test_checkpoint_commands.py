from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel.cli import main
from flytewheel.training.checkpoints import Manifest, open_checkpoints
from flytewheel.training.workplace import Workplace

MANIFEST = Manifest(station="sft", data="a" * 64, recipe={"training": {"lora_rank": 16}}, seed=7)
NAME = MANIFEST.folder_name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTEWHEEL_HOME", str(tmp_path))
    return tmp_path


def _stop(home: Path, step: int, **options: Any) -> None:
    with open_checkpoints(Workplace(home / "checkpoints", name="oncall", run="run-1", **options), MANIFEST) as found:
        (found.folder / f"checkpoint-{step}").mkdir()
        (found.folder / f"checkpoint-{step}" / "optimizer.pt").write_bytes(b"state")
        found.mark(step, keep=2)


def test_what_there_is_whose_it_is_and_how_far_it_came(home: Path) -> None:
    _stop(home, 5)
    _stop(home, 3, fresh="execution-1")
    text = CliRunner().invoke(main, ["checkpoints", "list"])
    assert text.exit_code == 0
    lines = [line.split() for line in text.output.splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        [NAME, "oncall", "unfinished", "3"],
        [f"aside/{NAME}.1", "oncall", "set", "aside"],
    ]
    found = json.loads(CliRunner().invoke(main, ["checkpoints", "list", "--json"]).output)
    assert [(fact["name"], fact["state"], fact["steps"], fact["run"], fact["data"]) for fact in found] == [
        (NAME, "unfinished", [3], "run-1", "a" * 12),
        (f"aside/{NAME}.1", "set aside", [5], "run-1", "a" * 12),
    ]
    assert all(fact["size_bytes"] > 0 for fact in found)


def test_one_is_removed_and_an_unknown_one_refused(home: Path) -> None:
    _stop(home, 5)
    removed = CliRunner().invoke(main, ["checkpoints", "remove", NAME])
    assert removed.output == f"removed {NAME} from {home / 'checkpoints'}\n"
    assert json.loads(CliRunner().invoke(main, ["checkpoints", "list", "--json"]).output) == []
    for unknown in (NAME, "locks", "..", "aside"):
        refused = CliRunner().invoke(main, ["checkpoints", "remove", unknown])
        assert refused.exit_code == 1
        assert refused.output.startswith(f"error: no checkpoints '{unknown}' in ")


def test_one_at_work_is_left_alone(home: Path) -> None:
    _stop(home, 5)
    with open_checkpoints(Workplace(home / "checkpoints"), MANIFEST):
        refused = CliRunner().invoke(main, ["checkpoints", "remove", NAME])
    assert refused.exit_code == 1
    assert "another process is training here" in refused.output
    assert (home / "checkpoints" / NAME / "checkpoint-5").is_dir()


def test_the_store_is_looked_at_when_asked(
    home: Path, database_url: str, services: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {
        "DATABASE_URL": database_url, "S3_URL": services.s3_url, "S3_ACCESS_KEY": services.s3_access_key,
        "S3_SECRET_KEY": services.s3_secret_key, "S3_BUCKET": store.bucket,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"FLYTEWHEEL_{key}", value)
    _stop(home, 5, store=store)
    (fact,) = json.loads(CliRunner().invoke(main, ["checkpoints", "list", "--store", "--json"]).output)
    assert (fact["name"], fact["model"], fact["state"], fact["steps"]) == (NAME, "oncall", "in the store", [5])
    removed = CliRunner().invoke(main, ["checkpoints", "remove", "--store", NAME])
    assert removed.exit_code == 0, removed.output
    assert store.list("checkpoints/") == []
    assert (home / "checkpoints" / NAME).is_dir()
