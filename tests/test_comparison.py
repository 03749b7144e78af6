"""Figures side by side from records made by hand, and the pages that show them; out of PostgreSQL and wandb in
tests/test_run_commands.py.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from flytewheel.comparison import Comparison, choose, compare, describe_stations
from flytewheel.comparison_page import draw_page, draw_picture, print_comparison
from flytewheel.errors import ComparisonError
from flytewheel.gauges import read_curve
from flytewheel.runs import RunRecord
from tests.run_reports import curated, evaluated, trained

INDEX = [
    ("c3", "oncall", "running"), ("c2", "oncall", "succeeded"), ("x1", "other", "succeeded"),
    ("c1", "oncall", "succeeded"), ("c0", "oncall", "failed"),
]  # fmt: skip


def record(run_id: str, recipe: dict[str, Any] | None = None, **reports: dict[str, Any]) -> RunRecord:
    ended = {name: {"status": "succeeded", **report, "seconds": 2.0} for name, report in reports.items()}
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    return RunRecord(run_id, "oncall", "succeeded", "gate", at, {"name": "oncall", **(recipe or {})}, ended)


def find(comparison: Comparison, section: str, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    (row,) = [row for row in comparison.rows if (row.section, row.name) == (section, name)]
    return row.texts(), row.changes()


def test_the_newest_finished_runs_of_the_newest_name_oldest_first() -> None:
    assert choose(INDEX, (), 4, where="here") == ["c1", "c2"]
    assert choose([("c4", "oncall", "succeeded"), *INDEX], (), 2, where="here") == ["c2", "c4"]
    assert choose(INDEX, ("c0", "x1"), 2, where="here") == ["c0", "x1"]


def test_unknown_runs_are_named_with_the_known_ones() -> None:
    with pytest.raises(ComparisonError, match=r"no run 'd', 'e' in here; known, newest first: c3, c2, x1, c1, c0$"):
        choose(INDEX, ("d", "c1", "e"), 2, where="here")
    many = [(f"r{number}", "oncall", "failed") for number in range(20)]
    with pytest.raises(ComparisonError, match=r"r7 and 12 more$"):
        choose(many, ("d", "r1"), 2, where="here")
    with pytest.raises(ComparisonError, match=r"known, newest first: none$"):
        choose([], ("d", "r1"), 2, where="here")


def test_one_finished_run_is_not_a_comparison() -> None:
    with pytest.raises(ComparisonError, match="expected 2 finished runs of 'oncall' or more in here, found 1"):
        choose(INDEX[:2], (), 4, where="here")
    with pytest.raises(ComparisonError, match="expected 2 finished runs or more in here, found 0"):
        choose([], (), 4, where="here")


def test_facts_stand_side_by_side_and_differences_against_the_first() -> None:
    """Loss 2 → 1 against 2 → 0.75: -0.25; 2 s a station; perplexity 1.05 - 1.15 = -0.1."""
    first = record(
        "a", {"seed": 7, "training": {"learning_rate": 2e-3, "epochs": 3}},
        curate=curated("a"), train_sft=trained([(1, 2.0), (9, 1.0)]), evaluate=evaluated(1.15),
        gate={"decision": "hold"},
    )  # fmt: skip
    second = record(
        "b", {"seed": 7, "training": {"learning_rate": 1e-3, "epochs": 3, "new": [1]}},
        curate=curated("b", sft=310), train_sft=trained([(1, 2.0), (12, 0.75)], validation=None),
        evaluate=evaluated(1.05), gate={"decision": "promote_to_canary"}, register={"version": "v1.202647.1"},
    )  # fmt: skip
    found = compare([first, second])
    assert [row.name for row in found.rows if row.section == "recipe"] == ["training.learning_rate", "training.new"]
    assert find(found, "recipe", "training.learning_rate") == (("0.002", "0.001"), ("", "-0.001"))
    assert find(found, "recipe", "training.new") == (("–", "[1]"), ("", ""))
    assert find(found, "data set", "digest") == (("a" * 64, "b" * 64), ("", "≠"))
    assert find(found, "data set", "sft rows") == (("340", "350"), ("", "+10"))
    assert find(found, "train_sft", "last loss") == (("1", "0.75"), ("", "-0.25"))
    assert find(found, "train_sft", "first loss") == (("2", "2"), ("", ""))
    assert find(found, "train_sft", "validation loss") == (("0.5", "–"), ("", ""))
    assert find(found, "train_sft", "steps") == (("9", "12"), ("", "+3"))
    assert find(found, "train_sft", "tokens") == (("900", "1,200"), ("", "+300"))
    assert find(found, "evaluate", "perplexity") == (("1.150 [1.100, 1.200]", "1.050 [1.000, 1.100]"), ("", "-0.1"))
    assert find(found, "evaluate", "perplexity − champion")[0][0] == "-0.050 [-0.100, -0.000]"
    assert find(found, "outcome", "verdict") == (("hold", "promote_to_canary"), ("", "≠"))
    assert find(found, "outcome", "version") == (("–", "v1.202647.1"), ("", ""))
    assert find(found, "outcome", "seconds, all stations") == (("8", "10"), ("", "+2"))
    assert "align" not in {row.section for row in found.rows}
    assert found.notes == (
        "The data sets differ: each run was evaluated on its own held-out rows, against its own champion.",
    )


def test_a_station_that_is_missing_skipped_or_failed_is_no_number() -> None:
    runs = [
        record("a", align=trained([(1, 2.0), (2, 1.0)], method="dpo")),
        record("b", align={"method": "skipped", "reason": "3 of 500 pairs", "rows": 0, "steps": 0, "curve": []}),
        record("c"),
        record("d", align={"status": "failed", "error": "ValueError: NaN"}),
    ]
    found = compare(runs)
    assert find(found, "align", "method")[0] == ("dpo", "skipped: 3 of 500 pairs", "–", "failed: ValueError: NaN")
    assert find(found, "align", "rows")[0] == ("300", "–", "–", "–")
    assert [describe_stations(run) for run in runs] == [
        "align (dpo, 2 steps)", "align (skipped)", "nothing trained", "align (failed)",
    ]  # fmt: skip
    assert found.notes == ()


def test_curves_are_in_order_of_steps_and_the_later_of_two_counts() -> None:
    points = [{"step": 2, "loss": 5.0}, {"step": 1, "loss": 3.0}, {"step": 2, "loss": 4.0}, {"step": 3, "loss": None}]
    assert read_curve({"curve": points}, "loss") == ((1.0, 3.0), (2.0, 4.0))
    assert read_curve({"curve": [{"loss": 1.0}, {"step": math.nan, "loss": 1.0}]}, "loss") == ()
    found = compare([record("a", train_sft=trained([(1, 2.0)])), record("b")])
    assert [(panel.station, panel.metric) for panel in found.panels] == [
        ("train_sft", metric) for metric in ("loss", "eval_loss", "learning_rate", "grad_norm")
    ]
    assert found.panels[0].lines == (((1.0, 2.0),), ())


def test_what_is_not_finite_is_said_and_is_null_to_a_program() -> None:
    runs = [record("a", train_sft=trained([(1, 2.0), (2, math.nan)])), record("b", train_sft=trained([(1, math.inf)]))]
    found = compare(runs)
    assert find(found, "train_sft", "last loss") == (("NaN", "+inf"), ("", "≠"))
    assert find(compare([runs[0], runs[0]]), "train_sft", "last loss")[1] == ("", "")
    told = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(told)["curves"][0]["points"] == {"a": [[1, 2], [2, None]], "b": [[1, None]]}


def test_any_station_that_left_a_curve_is_shown() -> None:
    one = {
        "align": trained([(1, 1.0)]), "distil": trained([(1, 3.0)], method="kl"),
        "train_reward": trained([(1, 2.0)], method="reward"),
    }  # fmt: skip
    found = compare([record("a", **one), record("b")])
    assert list(dict.fromkeys(panel.station for panel in found.panels)) == ["train_reward", "align", "distil"]
    assert find(found, "train_reward", "method")[0] == ("reward", "–")
    assert find(found, "distil", "method")[0] == ("kl", "–")
    assert describe_stations(found.runs[0]) == "train_reward (reward, 1 step), align (sft, 1 step), distil (kl, 1 step)"


def test_texts_cannot_write_html_nor_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    wicked = "<script>alert(1)</script>[bold]\x1b[31m[/nothing]"
    report = {**trained([(1, 2.0)]), "device": wicked, "method": wicked}
    found = compare([record(wicked, {"prompt": wicked}, train_sft=report), record("b", {"prompt": "", wicked: 1})])
    assert "<script" not in draw_page(found) + draw_picture(found)
    print_comparison(found)
    told = capsys.readouterr().out
    assert "<script>alert(1)</script>[bold]" in told
    assert "\x1b" not in told


def test_runs_without_curves_have_a_page_too() -> None:
    found = compare([record("a"), record("b")])
    assert "None of these runs has a training curve." in draw_page(found)
    assert "a: nothing trained" in draw_picture(found)
