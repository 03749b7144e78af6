"""What the stations `evaluate` and `gate` leave: the page, its copies, and tables in wandb."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flytewheel import runs
from flytewheel.errors import EvaluationError
from flytewheel.evaluation_page.subject import Subject
from flytewheel.evaluation_page.tables import list_tables
from flytewheel.judgement import describe, keep_judgement
from flytewheel.local.services import Services
from flytewheel.offline_runs import read_offline_runs
from flytewheel.recipe import BaseModelSpec, GateSpec, Recipe
from flytewheel.turn import open_store
from registry.store import ObjectStore
from tests.evaluation_page.made import VERDICT, answer, answers, evaluation, figure
from tests.run_reports import trained

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECIPE = Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}, "gate": {"regressions": {"max": 0}}})


@pytest.fixture
def here(database_url: str, store: ObjectStore, services: Any, tmp_path: Path) -> Services:
    return Services(
        home=tmp_path / "home", database_url=database_url, s3_url=services.s3_url,
        s3_access_key=services.s3_access_key, s3_secret_key=services.s3_secret_key, s3_region=None,
        s3_bucket=store.bucket, router_url="", admin_key="k", assignment_key="k",
    )  # fmt: skip


@pytest.fixture
def result(tmp_path: Path) -> Path:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(evaluation()), encoding="utf-8")
    lines = [json.dumps(line, ensure_ascii=False) for line in answers()]
    (folder / "answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def judge(here: Services, result: Path) -> runs.Run:
    """A run whose training is over, evaluated and decided."""
    run = runs.open_run(here.database_url, RECIPE, {}, now=NOW, execution="e")
    with runs.run_station(here.database_url, here.home, run.run_id, "train_sft") as station:
        station.report = trained([(1, 2.0), (2, 1.0)])
    with runs.run_station(here.database_url, here.home, run.run_id, "evaluate") as station:
        station.report = {**evaluation(), "judged_against": "v1.202647.1"}
        station.show(keep_judgement(here, station, result))
    with runs.run_station(here.database_url, here.home, run.run_id, "gate") as station:
        station.report = VERDICT
        station.show(keep_judgement(here, station, result, gate=RECIPE.gate))
    return run


def test_page_and_copies_lie_under_the_run_and_in_the_store(
    here: Services, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = judge(here, result)
    folder = here.home / "runs" / run.run_id
    evaluate, gate = ((folder / "decks" / f"{name}.html").read_text("utf-8") for name in ("evaluate", "gate"))
    assert "Not decided yet" in evaluate
    assert "Reject" not in evaluate
    for deck in (evaluate, gate):
        assert "default-src 'none'" in deck
        assert "oncall candidate against champion v1.202647.1" in deck
        assert "training loss" in deck
        assert f"flytewheel runs show {run.run_id}" in deck
    assert "✖</span> Reject" in gate
    page = (folder / "evaluation" / "report.html").read_text("utf-8")
    assert "<title>Reject: oncall candidate against champion v1.202647.1</title>" in page
    assert "at most 0" in page  # the rule
    assert not list((folder / "evaluation").glob(".*"))
    store = open_store(here)
    prefix = f"runs/{run.run_id}/evaluation/"
    assert sorted(store.list(prefix)) == [
        f"{prefix}{name}" for name in ("answers.jsonl", "evaluation.json", "report.html")
    ]
    assert store.get_bytes(f"{prefix}report.html").decode() == page
    assert store.get_bytes(f"{prefix}answers.jsonl") == (result / "answers.jsonl").read_bytes()


def test_a_store_that_is_away_costs_a_warning(
    here: Services, result: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    away = Services(
        **{**{key: getattr(here, key) for key in here.__dataclass_fields__}, "s3_url": "http://127.0.0.1:9"}
    )
    run = judge(away, result)
    assert (here.home / "runs" / run.run_id / "evaluation" / "report.html").is_file()
    assert f"warning: the report of {run.run_id} is not in the object store" in capsys.readouterr().out


def test_the_tables_are_in_the_offline_runs_of_their_stations(
    here: Services, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))
    run = judge(here, result)
    folder = here.home / "runs" / run.run_id / "wandb"
    found = read_tables(folder)
    assert set(found) == {"figures", "topics", "answers", "reasons"}
    assert found["figures"]["columns"][:4] == ["figure", "candidate", "candidate low", "candidate high"]
    by_name = {row[0]: row for row in found["figures"]["data"]}
    assert by_name["perplexity"][1:4] == [1.31, 1.25, 1.37]
    assert by_name["chrf"][1:4] == [None, None, None]
    assert by_name["degenerate_share"][-2:] == ["worse", "may worsen by 0.05"]
    assert found["reasons"]["data"][0] == ["against", "regressions 1; at most 0 was asked"]
    assert len(found["reasons"]["data"]) == len(VERDICT["reasons"])
    assert {row[0] for row in found["answers"]["data"]} == {"gained", "lost"}
    assert len(found["answers"]["data"]) == 20
    assert not any("user-" in str(cell) for row in found["answers"]["data"] for cell in row)
    assert len(found["topics"]["data"]) == 7
    assert not list((tmp_path / ".local").rglob("staging/*"))

    (record,) = read_offline_runs(folder)  # a table is no figure, no curve and no artifact of ours
    report = record.reports["evaluate"]
    assert report["metrics"]["perplexity"]["candidate"]["estimate"] == 1.31
    assert "figures" not in report
    assert (report["curve"], report["artifacts"]) == ([], {})
    assert record.reports["gate"]["status"] == "succeeded"


def read_tables(folder: Path) -> Mapping[str, Any]:
    """Every table that wandb keeps under `folder`, by its name."""
    files = list(folder.rglob("*.table.json"))
    return {path.name.rpartition("_")[0].rpartition("_")[0]: json.loads(path.read_text("utf-8")) for path in files}


def test_tables_hold_plain_values_and_none_that_is_empty() -> None:
    hostile = "a\x00b\ud800"
    found = Subject(
        evaluation={"metrics": {"bleu": figure(float("nan"), 1.0)}, "notes": [hostile]},
        answers=[answer("a", hostile, "x", "x")],
    )
    tables = list_tables(found)
    assert set(tables) == {"figures", "reasons", "answers"}
    assert tables["reasons"].rows == [("also", "a\ufffdb\ufffd")]
    json.dumps([table.rows for table in tables.values()], allow_nan=False).encode()
    assert all(len(row) == len(table.columns) for table in tables.values() for row in table.rows)
    assert list_tables(Subject(evaluation={})) == {}


def test_a_folder_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="expected the result of an evaluation"):
        describe(
            tmp_path, verdict=None, gate=GateSpec(), candidate="a", champion="b", base=BaseModelSpec(model="pocket")
        )
