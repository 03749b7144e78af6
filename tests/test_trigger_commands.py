"""`flytewheel triggers …` and `flytewheel run --reason`: what a person reads, as text, as JSON and as a page."""

from __future__ import annotations

import json
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel import trigger_commands
from flytewheel.cli import main
from flytewheel.drift.looks import look
from flytewheel.drift.page import HEAD, describe_look, tabulate
from flytewheel.drift.requests import list_requests
from flytewheel.drift.triggers import check_triggers
from flytewheel.records import to_jsonable
from tests.drift.test_requests import Cluster
from tests.drift.test_triggers import NOW, RECIPE, add_interactions, add_run


class Stack:
    """Services as far as these commands use them."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url


@pytest.fixture
def url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(trigger_commands, "open_services", lambda **_: Stack(database_url))
    monkeypatch.setattr("flytewheel.cli._services", lambda **_: Stack(database_url))
    return database_url


def call(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(main, list(arguments))
    return ended.exit_code, ended.output


def write_recipe(folder: Path) -> Path:
    path = folder / "demo.json"
    path.write_text(RECIPE.model_dump_json(), encoding="utf-8")
    return path


def drift_away(url: str) -> None:
    add_interactions(url, 40, topic=lambda number: "<b>disk</b>")
    add_run(url, hours_ago=1)
    add_interactions(url, 29, start=100, length=60, topic=lambda number: "mail")


def test_a_look_is_shown_as_text_json_and_page(url: str, tmp_path: Path) -> None:
    drift_away(url)
    look(url, RECIPE, now=NOW, launch=Cluster().launch)
    code, text = call("triggers", "show", "demo", "--html", str(tmp_path / "look.html"))
    assert code == 0, text
    assert text.startswith("a full turn because of drift: prompt lengths differ by D = 1.000")
    assert "  due: drift: topics differ by PSI = " in text
    assert "  quiet: age: last run 1 h ago, due after 168 h" in text
    assert "cannot tell" in text
    page = (tmp_path / "look.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;disk&lt;/b&gt;" in page
    assert "<b>disk" not in page
    picture = page[page.index("<svg") : page.index("</svg>") + 6]
    assert "prompt_length" in xml.etree.ElementTree.fromstring(picture).findtext("{http://www.w3.org/2000/svg}desc", "")
    code, text = call("triggers", "show", "demo", "--json")
    told = json.loads(text)["looks"][0]
    assert (code, told["causes"], told["report"]["figures"][1]["fired"]) == (0, ["drift"], True)


def test_nobody_has_looked_yet(url: str) -> None:
    code, text = call("triggers", "show", "demo")
    assert code == 1
    assert text.startswith("error: nobody has looked at the triggers of 'demo' yet: flytewheel triggers look RECIPE")
    assert text.count("\n") == 1


def test_a_look_without_launch_keeps_nothing(url: str, tmp_path: Path) -> None:
    add_interactions(url, 40)
    code, text = call("triggers", "look", str(write_recipe(tmp_path)))
    assert (code, text.splitlines()[0]) == (0, "due: 40 new interactions")
    assert "  due: first run: 40 interactions and no run yet" in text
    assert call("triggers", "show", "demo")[0] == 1


def test_a_look_with_launch_runs_the_turn_here(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []

    def run_weekly(path: Path, services: Any, *, instead: Any, debug: bool) -> int:
        ran.append(instead)
        return 3

    monkeypatch.setattr("flytewheel.local.pyflyte.run_weekly", run_weekly)
    add_interactions(url, 40)
    code, text = call("triggers", "look", str(write_recipe(tmp_path)), "--launch")
    assert code == 3  # that of the turn
    assert ran == [RECIPE]
    assert text.startswith("a full turn because of volume: 40 new interactions, due from 30; first run")
    code, text = call("triggers", "look", str(write_recipe(tmp_path)), "--launch", "--json")
    assert (code, len(ran)) == (0, 1)  # once
    assert "waits for" in json.loads(text)["said"]


def test_a_turn_is_asked_for_with_a_reason(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = call("triggers", "ask", "demo", "--reason", "the runbooks changed", "--incremental", "--json")
    assert code == 0, text
    assert json.loads(text)["request"]["mode"] == "incremental"
    monkeypatch.setattr("flytewheel.local.pyflyte.run_weekly", lambda *_, **__: 0)
    assert call("run", str(write_recipe(tmp_path)), "--reason", "  spring  ")[0] == 0
    asked = {request.reason: (request.mode, request.force, request.state) for request in list_requests(url)}
    assert asked == {
        "the runbooks changed": ("incremental", True, "requested"),
        "spring": ("full", True, "requested"),
    }


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501], ids=["empty", "blank", "long"])
def test_a_reason_says_something(url: str, reason: str) -> None:
    code, text = call("triggers", "ask", "demo", "--reason", reason)
    assert (code, text.count("\n")) == (1, 1)
    assert "expected 1 to 500 characters that say why" in text
    assert list_requests(url) == []


def test_an_old_look_has_a_page_too(url: str) -> None:
    page = describe_look({"due": False, "reasons": [], "new_interactions": 3, "drift": None})
    assert "<h1>triggers</h1>" in page
    assert tabulate({}) == []
    add_interactions(url, 5)
    report = to_jsonable(check_triggers(url, RECIPE, now=NOW))
    assert all(len(row) == len(HEAD) for row in tabulate(report))
