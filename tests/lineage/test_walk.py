"""From an event up to every model that it touched, and from a version down to its events, over a real index.

Four data sets: A has the rows of i1 to i4 (i3 only validates, i4 only tests), B replays the row of i1, C has nothing of
theirs. Versions: 1 of A, 2 of B, 3 of C, 4 of C on from 1, 5 of C on from 4, 6 of A with a reward model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel import terminal
from flytewheel.cli import main
from flytewheel.database import connect
from flytewheel.dataset import DatasetCard, digest_content, part_file, write_card, write_rows
from flytewheel.errors import FeedbackError
from flytewheel.lineage.index import add_dataset, rebuild, refresh_index
from flytewheel.lineage.walk import describe_version, find_event, list_rows, list_versions, trace
from flytewheel.records import Message, Preference, RegressionCase, SftRow
from flytewheel.turn import publish_dataset
from registry.store import ObjectStore
from tests.erase.conftest import make_stage
from tests.erase.stage import Stage

HEIRS = {"4": "inherited", "5": "inherited"}
PROMPT = (Message(role="user", content="Why?"),)


def row(name: str, number: int, source: Any = "answer") -> SftRow:
    return SftRow(
        name, f"u{number}", "t", PROMPT, "So.", 1.0, 0.9, source, (f"i{number}",), (f"e{number}", f"f{number}")
    )


def freeze(stage: Stage, name: str, parts: dict[tuple[str, str], list[Any]]) -> str:
    folder = stage.folder / name
    for (kind, part), rows in parts.items():
        write_rows(part_file(folder, kind, part), kind, rows)
    content = digest_content(folder)
    card = DatasetCard(content, content, ("oncall",), 4, 4, (), {}, {}, {})
    write_card(folder, card)
    publish_dataset(stage.services, folder, card)
    return content


@pytest.fixture
def wheel(database_url: str, store: ObjectStore, services: Any, tmp_path: Path) -> Stage:
    stage = make_stage(services, database_url, store, tmp_path)
    pair = Preference("p", "u1", "t", PROMPT, "good", "bad", 1.0, "near_prompt", 0.9, ("i1", "i2"), ("e1", "e2"))
    case = RegressionCase("c", "u1", "t", PROMPT, "contains", "So", interactions=("i1",), events=("e1",))
    a = freeze(stage, "a", {
        ("sft", "train"): [row("s1", 1), row("s2", 2)], ("sft", "validation"): [row("s3", 3)],
        ("sft", "test"): [row("s4", 4)], ("preference", "train"): [pair], ("regression", "test"): [case],
        ("quarantined", ""): [{"event_id": "e9", "interaction_id": "i9", "user_id": "u9", "reason": "burst"}],
    })  # fmt: skip
    b = freeze(stage, "b", {("sft", "train"): [row("r1", 1, "replay"), row("s7", 7)]})
    c = freeze(stage, "c", {("sft", "train"): [row("s8", 8)]})
    first = stage.register("1", a)
    stage.register("2", b)
    stage.register("3", c)
    fourth = stage.register("4", c, started_from=first)
    stage.register("5", c, started_from=fourth)
    stage.register("6", a, recipe={"rlhf": {"enable": True, "method": "grpo"}})
    return stage


def touched(stage: Stage, event: str) -> dict[str, str]:
    """Version (its last part) to how, for an event's id."""
    index = refresh_index(stage.services.database_url, stage.store)
    with connect(stage.services.database_url) as connection:
        rows = list_rows(connection, find_event(connection, event))
        found = trace(list_versions(connection), index.stones, rows)
    return {touch.version.rpartition(".")[2]: " ".join(touch.how) for touch in found}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("e1", {"1": "trained judged", "2": "replayed", **HEIRS, "6": "trained reward judged"}),
        ("f1", {"1": "trained", "2": "replayed", **HEIRS, "6": "trained"}),
        ("e2", {"1": "trained", **HEIRS, "6": "trained reward"}),
        ("e3", {"1": "validated", **HEIRS, "6": "validated"}),
        ("e4", {"1": "judged", "6": "judged"}),  # no weight has seen it, so nothing goes on with it
        ("e8", {"3": "trained", "4": "trained", "5": "trained inherited"}),
        ("e9", {"1": "apart", "6": "apart"}),
    ],
)  # fmt: skip
def test_an_event_names_every_model_it_touched(wheel: Stage, event: str, expected: dict[str, str]) -> None:
    assert touched(wheel, event) == expected


def test_an_id_that_nothing_knows_is_said(wheel: Stage) -> None:
    with pytest.raises(FeedbackError, match="no event or interaction 'e404' in this database or its data sets"):
        touched(wheel, "e404")


def test_a_version_walks_down_to_its_events_and_its_parents(wheel: Stage) -> None:
    refresh_index(wheel.services.database_url, wheel.store)
    version = next(each.version for each in wheel.registry.list("oncall") if each.key == "5")
    with connect(wheel.services.database_url) as connection:
        found = describe_version(connection, {}, "oncall", version, events=True)
    chain = []
    at: Any = found
    while at is not None:
        chain.append((at.facts.run_id, at.dataset.event_ids if at.dataset else ()))
        at = at.parent
    assert chain == [("5", ("e8", "f8")), ("4", ("e8", "f8")), ("1", ("e1", "e2", "e3", "e4", "f1", "f2", "f3", "f4"))]


def test_each_data_set_is_read_once_and_the_index_can_be_made_again(
    wheel: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = refresh_index(wheel.services.database_url, wheel.store)
    assert (first.datasets, first.versions, first.added_datasets) == (3, 6, 3)
    read: list[str] = []

    def get_file(self: ObjectStore, key: str, path: Path) -> str:
        read.append(key)
        return ""

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "get_file", get_file)
        again = refresh_index(wheel.services.database_url, wheel.store)
    assert (read, again.added_datasets, again.added_versions, again.rows) == ([], 0, 0, first.rows)
    assert rebuild(wheel.services.database_url, wheel.store).rows == first.rows
    gone = next(iter({key.split("/")[1] for key in wheel.store.list("datasets/")}))
    for key in wheel.store.list(f"datasets/{gone}/"):
        wheel.store.delete(key)
    assert refresh_index(wheel.services.database_url, wheel.store).datasets == 2
    assert add_dataset(wheel.services.database_url, wheel.store, gone) == 0


def test_the_commands_tell_people_and_programs(wheel: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (terminal, __import__("flytewheel.lineage_commands", fromlist=["open_services"])):
        monkeypatch.setattr(place, "open_services", lambda **given: wheel.services)
    told = CliRunner().invoke(main, ["lineage", "event", "e1"])
    assert told.exit_code == 0, told.output
    assert "trained on it; was only judged by it" in told.output
    assert "goes on from a version that learnt from it" in told.output
    machine = json.loads(CliRunner().invoke(main, ["lineage", "event", "e1", "--json"]).stdout)
    assert [(each["version"][-1], each["learnt"]) for each in machine["versions"]] == [
        ("1", True), ("2", True), ("4", True), ("5", True), ("6", True),
    ]  # fmt: skip
    assert CliRunner().invoke(main, ["lineage", "user", "u4"]).output.count("was only judged by it") == 2
    wrong = CliRunner().invoke(main, ["lineage", "event", "nobody"])
    assert (wrong.exit_code, wrong.output.count("\n")) == (1, 1)
