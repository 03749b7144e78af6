"""The commands that forget: first what would go, then a question, then it is gone, and nothing says of whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel import erase_commands
from flytewheel.cli import main
from registry.store import ObjectStore
from tests.erase.conftest import make_stage
from tests.erase.stage import MARIA, Stage, say_as_maria


@pytest.fixture
def stage(
    database_url: str, store: ObjectStore, services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    found = make_stage(services, database_url, store, tmp_path)
    monkeypatch.setattr(erase_commands, "open_services", lambda **given: found.services)
    monkeypatch.setenv("FLYTEWHEEL_DATABASE_URL", database_url)  # somebody's own server
    found.load(*say_as_maria())
    return found


def call(*arguments: str, answer: str = "") -> Any:
    return CliRunner().invoke(main, ["feedback", *arguments], input=answer)


def test_a_dry_run_counts_and_changes_nothing(stage: Stage) -> None:
    told = json.loads(call("erase", MARIA, "--dry-run", "--json").stdout)
    assert (told["interactions"], told["events"], told["database"]["quarantine"]) == (8, 7, 2)
    assert told["files"] == {"quarantine": 1}
    assert MARIA not in json.dumps(told)
    assert stage.ask("SELECT count(*) FROM interactions") == [(8,)]
    assert stage.ask("SELECT count(*) FROM erasures") == [(0,)]
    assert "8 interactions and 7 feedback events" in call("erase", MARIA, "--dry-run").output


def test_nothing_goes_without_a_yes(stage: Stage) -> None:
    refused = call("erase", MARIA, answer="n\n")
    assert (refused.exit_code, stage.ask("SELECT count(*) FROM interactions")) == (1, [(8,)])
    assert call("erase", MARIA).exit_code == 1, "nobody answers"
    assert call("erase", MARIA, answer="y\n").exit_code == 0
    assert stage.ask("SELECT count(*) FROM interactions") == [(0,)]


def test_an_erasure_is_told_and_listed_without_saying_of_whom(stage: Stage) -> None:
    done = call("erase", MARIA, "--yes", "--by", "ops", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["report"]["database"]["interactions"] == 8
    assert told["notes"][0].startswith("PostgreSQL is your own: what was deleted is still in its write-ahead log")
    again = call("erase", MARIA, "--yes")
    assert again.stdout == f"erased before: {told['erasure_id']}\nnothing of this user is stored\n"
    listed = call("erasures", "--json").stdout
    assert [(each["by"], each["erasure_id"]) for each in json.loads(listed)] == [("ops", told["erasure_id"])]
    assert MARIA not in listed
    assert "8" in call("erasures").output


def test_somebody_who_was_never_here_leaves_no_record(stage: Stage) -> None:
    assert call("erase", "nobody@example.org", "--yes").stdout == "nothing of this user is stored\n"
    assert call("erasures", "--json").stdout == "[]\n"
