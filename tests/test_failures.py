"""A failure is named by its station, noted where people look, and told once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flytewheel import runs
from flytewheel.errors import StoreError
from flytewheel.failures import Failure, find_cause, note_in_registry, note_on_run
from flytewheel.recipe import Recipe
from registry.versions import Registry

NOW = datetime(2026, 11, 22, 2, 31, tzinfo=UTC)
FLYTES = "Error encountered while executing 'tasks.train.train_sft':\n  no rows; collect more\n"


def recipe() -> Recipe:
    return Recipe.model_validate({"name": "demo", "base": {"model": "pocket"}})


def note(database_url: str, node: str, message: str) -> Failure:
    return note_on_run(database_url, "demo", "e", node, message, at=NOW)


def test_a_failure_is_told_by_the_task_that_flyte_names(database_url: str) -> None:
    assert note(database_url, "fn0", FLYTES).line == "✗ station train_sft failed: no rows; collect more"
    run = runs.open_run(database_url, recipe(), {}, now=NOW, execution="e")
    failure = note(database_url, "fn0", FLYTES)
    assert failure.line == f"✗ run {run.run_id}: station train_sft failed: no rows; collect more"
    found = runs.read_run(database_url, run.run_id)
    assert (found.status, found.station, found.error) == ("failed", "train_sft", "no rows; collect more")
    assert note(database_url, "", "").line == "✗ station open_turn failed: no message"


@pytest.mark.parametrize("node", ["fn0", "n3", "dn1", "n2-n0-n1"])
def test_a_failure_that_flyte_names_no_task_for_is_the_running_stations(
    node: str, database_url: str, tmp_path: Path
) -> None:
    run = runs.open_run(database_url, recipe(), {}, now=NOW, execution="e")
    with pytest.raises(OSError, match="No space"), runs.run_station(database_url, tmp_path, run.run_id, "align"):
        raise OSError(28, "No space left on device")
    failure = note(database_url, node, "[Errno 28] No space left on device")
    assert failure.line == f"✗ run {run.run_id}: station align failed: [Errno 28] No space left on device"
    assert runs.read_run(database_url, run.run_id).station == "align"


def test_a_failure_is_told_when_nobody_can_note_it() -> None:
    failure = note("postgresql://u:secret@127.0.0.1:9/d", "fn0", "'tasks.judge.gate':\n  it is away")
    assert failure.line == "✗ station gate failed: it is away (not noted on the run: PostgreSQL is away)"

    def away() -> Any:
        raise StoreError("the store at 127.0.0.1:9 is away")

    assert note_in_registry(away, failure) == "not in the registry's log: the store at 127.0.0.1:9 is away"


POD = "[1/3] currentAttempt done. Trace:\n\n  raise X\nMessage:\n\n    OutOfMemoryError: 64 GiB\n\nUser error."
HEADER = "Error encountered while executing 'tasks.a.b':"
DATABASE = f'{HEADER}\n  relation "x" does not exist\nLINE 2: FROM x\n            ^'


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (POD, "OutOfMemoryError: 64 GiB"),
        (DATABASE, 'relation "x" does not exist'),
        ("trace\nKeyError: 1\n   ^^^\n", "KeyError: 1"),
        ("\n \n^", "no message"),
        (HEADER, HEADER),
    ],
    ids=["pod", "database", "trace", "nothing", "header"],
)
def test_the_cause_is_one_line_with_words_in_it(message: str, cause: str) -> None:
    assert find_cause(message) == cause


def test_the_registrys_log_has_it_once_for_an_execution_and_station(store: Any) -> None:
    registry = Registry(store)
    failure = Failure("demo", "f9", "train_sft", "out of memory", NOW, "demo-1")
    assert note_in_registry(lambda: registry, failure) == "in the registry's log"
    later = Failure("demo", "f9", "train_sft", "out of memory", datetime(2026, 11, 23, tzinfo=UTC), "demo-1")
    assert note_in_registry(lambda: registry, later) == "in the registry's log already"
    other = Failure("demo", "f9", "align", "cut off", NOW)
    assert note_in_registry(lambda: registry, other) == "in the registry's log"
    entries = {entry["station"]: entry for entry in registry.log("demo")}
    assert set(entries) == {"train_sft", "align"}
    assert entries["train_sft"]["what"] == "failure"
    assert {key: entries["train_sft"][key] for key in ("execution", "cause", "run")} == {
        "execution": "f9", "cause": "out of memory", "run": "demo-1",
    }  # fmt: skip


def test_the_message_says_which_station_of_which_execution_and_why() -> None:
    message = Failure("demo", "f9", "train_sft", "out of\nmemory", NOW, "demo-1").to_message()
    assert message.title == "train_sft failed: out of memory"
    assert message.facts == {"station": "train_sft", "execution": "f9", "cause": "out of memory", "run": "demo-1"}
    assert (message.key, message.severity, message.incident) == ("f9:train_sft:failed", "error", "demo turn")
