"""`flytewheel runs compare` on a real PostgreSQL and real offline wandb runs; the page is parsed and looked through."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from flytewheel import runs
from flytewheel.cli import main
from flytewheel.database import connect
from flytewheel.recipe import Recipe
from flytewheel.tracking import Tracker
from tests.run_reports import curated, evaluated, trained

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AWAY = "postgresql://u:secret@127.0.0.1:9/d"  # the port of `discard`, where nobody listens
FILES = ("compare.html", "compare.svg", "compare.png")
Call = Callable[..., Result]


class Page(HTMLParser):
    """The page's cells, texts of the legend, and everything that could load something from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.loads: list[tuple[str, str]] = []
        self.cells: list[list[str]] = []
        self.legend: list[str] = []
        self.feed(text)
        assert self.opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "path", "circle", "polyline", "rect"):
            self.opened.append(tag)
        for name, value in attrs:
            loaded = name in ("href", "src", "srcset", "data", "action", "xlink:href") or name.startswith("on")
            if loaded or (name != "xmlns" and "//" in (value or "")):
                self.loads.append((tag, f"{name}={value}"))
        if tag == "tr":
            self.cells.append([])
        elif tag in ("td", "th"):
            self.cells[-1].append("")
        elif tag == "li":
            self.legend.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle", "polyline", "rect"):
            assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        assert "url(" not in data
        assert "@import" not in data
        if {"td", "th"} & set(self.opened):
            self.cells[-1][-1] += data
        elif "li" in self.opened:
            self.legend[-1] += data

    def row(self, name: str, nth: int = 0) -> list[str]:
        return [cells[1:] for cells in self.cells if cells[0] == name][nth]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path / "home"


@pytest.fixture
def call(database_url: str, home: Path) -> Call:
    def call(*arguments: str | Path, url: str = database_url) -> Result:
        environ = {"FLYTEWHEEL_HOME": str(home), "FLYTEWHEEL_DATABASE_URL": url}
        return CliRunner(env=environ).invoke(main, ["runs", *map(str, arguments)])

    return call


def turn(
    database_url: str, home: Path, week: int, *, name: str = "oncall", finished: bool = True, seed: int = 7,
    **reports: dict[str, Any],
) -> str:  # fmt: skip
    recipe = Recipe.model_validate({"name": name, "base": {"model": "pocket"}, "seed": seed})
    run = runs.open_run(database_url, recipe, {}, now=NOW + timedelta(weeks=week), execution=f"e{week}")
    for station, report in reports.items():
        with runs.run_station(database_url, home, run.run_id, station) as open_station:
            open_station.report = report
    if finished:
        runs.finish_run(database_url, run.run_id)
    return run.run_id


@pytest.fixture
def weeks(database_url: str, home: Path) -> list[str]:
    """Three finished weeks of `oncall`: the second held, the third with a skipped alignment."""
    reports: list[dict[str, dict[str, Any]]] = [
        {
            "curate": curated("a"), "train_sft": trained([(step, 2 / step) for step in range(1, 120)]),
            "align": trained([(1, 1.0), (25, 0.6)], method="dpo", validation=0.7), "evaluate": evaluated(1.1),
            "gate": {"decision": "promote_to_canary"}, "register": {"version": "v1.202647.1"},
        },
        {
            "curate": curated("b", sft=350), "train_sft": trained([(step, 3 / step) for step in range(1, 60)]),
            "evaluate": evaluated(1.3), "gate": {"decision": "hold"},
        },
        {
            "curate": curated("c"), "train_sft": trained([(1, 2.0), (900, 0.1)], validation=None),
            "align": {"method": "skipped", "reason": "3 of 500 pairs", "steps": 0, "curve": []},
        },
    ]  # fmt: skip
    return [turn(database_url, home, week, seed=week, **each) for week, each in enumerate(reports)]


def one_line(result: Result, code: int = 1) -> str:
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_weeks_stand_side_by_side_in_the_terminal_and_on_the_page(
    call: Call, weeks: list[str], home: Path, tmp_path: Path
) -> None:
    result = call("compare", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-3:] == [str(tmp_path / "out" / name) for name in FILES]
    assert not (home / "comparison").exists()
    assert "0.05085 (+0.034)" in result.stdout  # 3/59 against 2/119
    assert all(run_id in result.stdout for run_id in weeks)

    page = Page((tmp_path / "out" / "compare.html").read_text(encoding="utf-8"))
    assert page.loads == []
    assert page.cells[0] == ["", *weeks]
    assert page.row("seed") == ["0", "1 (+1)", "2 (+2)"]
    assert page.row("digest")[1] == f"{'b' * 64} (≠)"
    assert page.row("sft rows") == ["340", "390 (+50)", "340"]
    assert page.row("method", 1) == ["dpo", "–", "skipped: 3 of 500 pairs (≠)"]
    assert page.row("verdict") == ["promote_to_canary", "hold (≠)", "–"]
    assert page.row("perplexity")[1] == "1.300 [1.250, 1.350] (+0.2)"
    assert page.row("version") == ["v1.202647.1", "–", "–"]
    assert page.legend == [
        f"{weeks[0]}: train_sft (sft, 119 steps), align (dpo, 25 steps)",
        f"{weeks[1]}: train_sft (sft, 59 steps)",
        f"{weeks[2]}: train_sft (sft, 900 steps), align (skipped)",
    ]
    picture = ElementTree.parse(tmp_path / "out" / "compare.svg").getroot()
    words = {each.text for each in picture.findall(".//{*}text")}
    assert words >= {*page.legend, "train_sft: training loss", "align: gradient norm", "train_sft: learning rate"}
    lines = picture.findall("{*}g")[0].findall("{*}polyline")
    assert [line.get("class") for line in lines] == ["fw-l fw-l0", "fw-l fw-l1", "fw-l fw-l2"]
    png = (tmp_path / "out" / "compare.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    size = [2 * int(float(picture.get(side) or 0)) for side in ("width", "height")]
    assert list(struct.unpack(">II", png[16:24])) == size


def test_runs_that_are_named_are_taken_in_that_order(call: Call, weeks: list[str], home: Path) -> None:
    found = json.loads(call("compare", weeks[2], weeks[0], weeks[2], "--json").stdout)
    assert found["runs"] == [weeks[2], weeks[0]]
    assert found["files"] == [str(home / "comparison" / name) for name in FILES]
    rows = {(row["section"], row["name"]): row for row in found["rows"]}
    assert rows["train_sft", "steps"]["values"] == {weeks[2]: 900, weeks[0]: 119}
    assert rows["train_sft", "steps"]["changes"] == {weeks[0]: "-781"}
    assert rows["evaluate", "perplexity"]["values"][weeks[0]]["estimate"] == 1.1
    curves = {(curve["station"], curve["metric"]): curve["points"] for curve in found["curves"]}
    assert curves["train_sft", "loss"][weeks[2]] == [[1, 2.0], [900, 0.1]]
    assert curves["align", "eval_loss"] == {weeks[2]: [], weeks[0]: [[25, 0.7]]}


def test_only_finished_runs_of_the_newest_name_are_taken_by_themselves(
    call: Call, weeks: list[str], database_url: str, home: Path
) -> None:
    assert json.loads(call("compare", "--last", "2", "--json").stdout)["runs"] == weeks[1:]
    other = [turn(database_url, home, week, name="other", seed=week) for week in (7, 8)]
    turn(database_url, home, 9, seed=9, finished=False)
    assert json.loads(call("compare", "--json").stdout)["runs"] == other
    mixed = json.loads(call("compare", weeks[0], other[0], "--json").stdout)
    assert "The runs are of models with different names." in mixed["notes"]


def test_what_cannot_be_compared_is_one_line(call: Call, database_url: str, home: Path) -> None:
    assert "expected 2 finished runs or more in this database, found 0" in one_line(call("compare"))
    first = turn(database_url, home, 1)
    assert "'oncall' or more in this database, found 1" in one_line(call("compare"))
    line = one_line(call("compare", first, "nobody"))
    assert f"no run 'nobody' in this database; known, newest first: {first}" in line
    for arguments in ((first,), (first, first), ("--last", "7"), ("--last", "2", first, "b")):
        assert call("compare", *arguments).exit_code == 2
    assert not (home / "comparison").exists()


def test_a_run_of_an_earlier_version_is_compared_as_it_was(call: Call, weeks: list[str], database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(
            'UPDATE runs SET recipe = recipe || \'{"gone": {"since": 2025}}\' WHERE run_id = %s', (weeks[0],)
        )
    found = json.loads(call("compare", weeks[0], weeks[1], "--json").stdout)
    assert {row["name"]: row["values"] for row in found["rows"]}["gone.since"] == {weeks[0]: 2025, weeks[1]: None}


def test_a_database_that_is_away_and_no_offline_runs_is_one_line(call: Call) -> None:
    assert "PostgreSQL at 127.0.0.1:9/d is not reachable" in one_line(call("compare", url=AWAY))


# ------------------------------------------------------------------------------------------- offline wandb runs


def track(folder: Path, group: str, station: str, points: list[dict[str, float]], **summary: Any) -> None:
    options: dict[str, Any] = {
        "group": group, "project": "p", "entity": None, "directory": folder / group, "mode": "offline",
        "config": {"recipe": {"name": "oncall", "training": {"epochs": 3.0, "rate": 1e-3}}, "run_id": group},
    }  # fmt: skip
    with Tracker.open(station, **options) as tracker:
        for point in points:
            tracker.log({key: value for key, value in point.items() if key != "step"}, step=int(point["step"]))
        tracker.summary(dict(runs._flatten(summary)))
        if summary.get("fails"):
            raise ZeroDivisionError


@pytest.fixture
def tracked(home: Path) -> Path:
    """Three turns under HOME/runs: `w1` whose SFT was tried again from step 3, `w2` with a value that is not a number,
    `w3` that failed.
    """
    folder = home / "runs"
    first, again = trained([(1, 4.0), (2, 3.0), (3, 9.0), (4, 9.0)]), trained([(3, 2.0), (6, 1.0)])
    track(folder, "w1", "curate", [], **curated("a"))
    with pytest.raises(ZeroDivisionError):
        track(folder, "w1", "train_sft", first["curve"][:4], fails=True)
    track(folder, "w1", "train_sft", again["curve"], **again)
    track(folder, "w1", "evaluate", [], **evaluated(1.1))
    track(folder, "w1", "gate", [], decision="hold")
    second = trained([(1, 4.0), (2, float("nan")), (3, 1.5)])
    track(folder, "w2", "train_sft", second["curve"], **second)
    with pytest.raises(ZeroDivisionError):
        track(folder, "w3", "curate", [], fails=True)
    return folder


def test_offline_runs_are_read_where_the_database_is_away(call: Call, tracked: Path, tmp_path: Path) -> None:
    away = call("compare", "--json", url=AWAY)
    assert away.exit_code == 0, away.output
    assert f"reading the offline wandb runs under {tracked} instead" in away.stderr
    found = json.loads(away.stdout)
    assert found["runs"] == ["w1", "w2"]
    rows = {(row["section"], row["name"]): row["values"] for row in found["rows"]}
    assert rows["train_sft", "method"] == {"w1": "sft", "w2": "sft"}
    assert rows["train_sft", "validation loss"] == {"w1": 0.5, "w2": 0.5}
    assert rows["data set", "sft rows"] == {"w1": 340, "w2": None}
    assert rows["evaluate", "perplexity"]["w1"] == pytest.approx(
        {"estimate": 1.1, "low": 1.05, "high": 1.15, "level": 0.95}
    )
    assert rows["outcome", "verdict"] == {"w1": "hold", "w2": None}
    assert "training.rate" not in {name for section, name in rows}
    (loss,) = [c["points"] for c in found["curves"] if (c["station"], c["metric"]) == ("train_sft", "loss")]
    assert loss == {"w1": [[1, 4.0], [2, 3.0], [3, 2.0], [6, 1.0]], "w2": [[1, 4.0], [2, None], [3, 1.5]]}

    # The same out of a folder that was copied from elsewhere, with a file that is no run and one that was cut.
    copied = tmp_path / "copied"
    tracked.rename(copied)
    (copied / "w1" / "run-broken.wandb").write_bytes(b"not a run")
    (begun,) = (copied / "w3").rglob("run-*.wandb")
    whole = begun.read_bytes()
    begun.write_bytes(whole[:-20] + b"damaged" + whole[-13:])
    again = call("compare", "w3", "w1", "--wandb", copied, "--out", tmp_path / "out", url=AWAY)
    assert again.exit_code == 0, again.output
    assert "run-broken.wandb: left out, wandb found no run in it" in again.stderr
    assert f"{begun}: wandb leet inspect: skipped corrupt data" in again.stderr
    page = Page((tmp_path / "out" / "compare.html").read_text(encoding="utf-8"))
    assert page.row("status") == ["running at curate", "succeeded (≠)"]
    assert page.legend == ["w3: nothing trained", "w1: train_sft (sft, 6 steps)"]
    assert re.search(
        "no run 'w9' in .*copied; known, newest first: w3, w2, w1",
        call("compare", "w9", "w1", "--wandb", copied).stderr,
    )


def test_a_folder_without_runs_is_one_line(call: Call, tmp_path: Path) -> None:
    assert "found no run-*.wandb under it" in one_line(call("compare", "--wandb", tmp_path))


def test_runs_are_listed_from_the_database_alone(call: Call, weeks: list[str]) -> None:
    """There is no object store and no router here: asking for either would start a stack."""
    lines = call("list", "--limit", "2").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["run", weeks[2], weeks[1]]
    assert [run["run_id"] for run in json.loads(call("list", "--json").stdout)] == weeks[::-1]


def test_offline_runs_are_listed_where_asked_for_or_all_there_is(call: Call, tracked: Path) -> None:
    for result in (call("list", "--wandb", tracked), call("list", url=AWAY)):
        assert result.exit_code == 0, result.output
        assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
            ["w3", "failed", "curate"], ["w2", "succeeded", "train_sft"], ["w1", "succeeded", "gate"],
        ]  # fmt: skip
    assert "wandb runs read 7/7" in result.stderr
    found = json.loads(call("list", "--wandb", tracked, "--limit", "1", "--json").stdout)
    assert [(run["run_id"], run["name"], run["reports"]) for run in found] == [("w3", "oncall", {})]
    assert "found no run-*.wandb under it" in one_line(call("list", "--wandb", tracked / "w9"))
