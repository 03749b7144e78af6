"""General suites on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.forgetting.cases import read_suite, read_texts
from flytewheel.suite.checks import passes

GOOD = {"id": "a", "prompt": "What is 1 + 1?", "check": "contains", "expected": "2"}


def test_the_bundled_suite_is_large_and_of_many_kinds() -> None:
    cases = read_suite()
    assert len(cases) >= 60
    assert len({case.topic for case in cases}) >= 8
    assert len({case.topic for case in cases[:20]}) >= 8  # fewer cases are a smaller sample of the same
    assert {case.check for case in cases} == {"contains", "regex", "forbidden"}
    assert len(read_texts()) >= 12


@pytest.mark.parametrize(
    ("start", "right", "wrong"),
    [
        ("What is 7 + 5?", "7 + 5 = 12.", "7 + 5 = 120"),
        ("What is 9 times 6?", "It is 54", "It is 5.4, or 54.5"),
        ("How many legs does a spider", "Eight legs.", "It has 18 legs"),
        ("Answer with one word, yes or no: Is fire", "Yes.", "No, yes"),
        ("Count from 1", "1, 2, 3, 4, 5", "1 2 3"),
        ("List three fruits", "- apple\n- pear\n- plum", "apple, pear, plum"),
        ("Write a Python function", "```python\ndef add(a, b):\n    return a + b", "def plus(a, b)"),
        ("Was ist die Hauptstadt", "Berlin ist die Hauptstadt.", "Bonn"),
        ("Write one sentence about the sea", "The sea is blue.", "The fish swim."),
    ],
)
def test_checks_take_right_answers_and_refuse_wrong_ones(start: str, right: str, wrong: str) -> None:
    (case,) = [case for case in read_suite() if case.prompt[-1].content.startswith(start)]
    assert passes(case, right)
    assert not passes(case, wrong)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        json.dumps({**GOOD, "prompt": []}),
        json.dumps({**GOOD, "prompt": ""}),
        json.dumps({**GOOD, "prompt": [{"role": "user"}]}),
        json.dumps({**GOOD, "expected": 2}),
        json.dumps({**GOOD, "expected": ""}),
        json.dumps({**GOOD, "colour": "red"}),
        json.dumps({key: GOOD[key] for key in ("id", "prompt", "check")}),
        json.dumps(GOOD),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "suite.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{line}\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="line 2: ") as caught:
        read_suite(file)
    assert "\n" not in str(caught.value)


def test_a_faulty_check_or_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "suite.jsonl"
    file.write_text(json.dumps({**GOOD, "check": "regex", "expected": "("}), encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"'a': .* is not a regular expression"):
        read_suite(file)
    with pytest.raises(EvaluationError, match=r"none: cannot be read"):
        read_suite(tmp_path / "none")
