from __future__ import annotations

import math
from pathlib import Path

import pytest

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.report import Evaluation, describe, read_evaluation, tellable, write_evaluation
from flytewheel.records import Interval, read_jsonl

UNKNOWN = Interval(None, None, None)
FOUND = Evaluation(
    metrics={
        "perplexity": Comparison(Interval(2.0, 1.5, 2.5), Interval(3.0, 2.5, 3.5), Interval(-1.0, -1.5, -0.5), 40, 9),
        "bleu": Comparison(UNKNOWN, UNKNOWN, UNKNOWN, 0, 0),
    },
    counts={"regressions": 1},
    details={"suite": {"newly_failing": ["case-1"]}},
    notes=("the judge abstains",),
    skipped={"pairs": 2},
    dataset="abc",
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    write_evaluation(out, FOUND, [{"kind": "test", "candidate": "ä"}])
    assert read_evaluation(out) == FOUND
    assert read_evaluation(out / "evaluation.json") == FOUND
    assert list(read_jsonl(out / "answers.jsonl")) == [{"kind": "test", "candidate": "ä"}]
    assert sorted(file.name for file in out.iterdir()) == ["answers.jsonl", "evaluation.json"]


def test_a_broken_write_leaves_no_result(tmp_path: Path) -> None:
    """An older result must not stand beside newer answers."""
    write_evaluation(tmp_path, FOUND, [])

    def break_off():
        yield {"kind": "test"}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_evaluation(tmp_path, FOUND, break_off())
    with pytest.raises(EvaluationError):
        read_evaluation(tmp_path)


@pytest.mark.parametrize("content", [None, "", "[]", '{"metrics": {"bleu": {}}}', '{"metrics": {}}'])
def test_what_is_no_evaluation_is_refused_in_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"expected the result of an evaluation .*; evaluate again") as caught:
        read_evaluation(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_table_says_what_cannot_be_told() -> None:
    lines = describe(FOUND).splitlines()
    assert lines[1].split() == [
        "perplexity",
        "↓",
        "2.000",
        "[1.500,",
        "2.500]",
        "3.000",
        "[2.500,",
        "3.500]",
        "-1.000",
        "[-1.500,",
        "-0.500]",
        "40",
        "9",
    ]
    assert lines[2].count("cannot tell") == 3


def test_only_finite_figures_are_tellable() -> None:
    assert [tellable(value) for value in (None, math.nan, math.inf, 0.0)] == [None, None, None, 0.0]
