"""`flytewheel feedback expire`: first what would go, then a question, then it is gone."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel import feedback_commands
from flytewheel.cli import main
from tests.feedback.bench import Bench, reaction, said


@pytest.fixture
def bench(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    services = SimpleNamespace(database_url=database_url)
    monkeypatch.setattr(feedback_commands, "open_services", lambda **given: services)
    found = Bench(database_url, tmp_path)
    found.load([said("i1"), said("i2", minute=-60 * 24 * 900)], [reaction("e1", "i2")])
    return found


def call(*arguments: str, answer: str = "") -> Any:
    return CliRunner().invoke(main, ["feedback", "expire", *arguments], input=answer)


def test_it_counts_asks_and_deletes(bench: Bench) -> None:
    told = json.loads(call("--days", "400", "--dry-run", "--json").stdout)
    assert (told["interactions"], told["events"], told["held"], told["dry_run"]) == (1, 1, {}, True)
    assert "would go: 1 interactions with 1 events" in call("--days", "400", "--dry-run").stdout
    assert call("--days", "400", answer="n\n").exit_code == 1
    assert bench.ask("SELECT count(*) FROM interactions") == [(2,)]
    done = call("--days", "400", "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["interactions"] == 1
    assert bench.ask("SELECT interaction_id FROM interactions") == [("i1",)]
    assert bench.ask("SELECT days, interactions FROM expiries") == [(400, 1)]


def test_the_days_come_from_the_environment_or_the_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = call("--dry-run")
    assert missing.exit_code == 2
    assert "give --days N, or set FLYTEWHEEL_RETENTION_DAYS" in missing.output
    monkeypatch.setenv("FLYTEWHEEL_RETENTION_DAYS", "400")
    assert json.loads(call("--dry-run", "--json").stdout)["interactions"] == 1
    wrong = call("--days", "-3", "--dry-run")
    assert wrong.exit_code != 0
    assert "expected a number of days above 0, got -3.0" in str(wrong.exception) + wrong.output
