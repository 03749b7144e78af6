"""Regression cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flytewheel.curation.regression import derive_cases, derive_expected, read_cases
from flytewheel.errors import DatasetError
from flytewheel.records import RegressionCase, build_prompt, write_jsonl
from tests.curation.windows import make_scored


def make_case(name: str = "c1", check: str = "contains", expected: str = "x") -> RegressionCase:
    return RegressionCase(name, "suite", "disk", build_prompt(f"how {name}"), check, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("correction", "response", "expected"),
    [
        ("Add them.\nA: 41\n", "Add them.\nA: 40", "A: 41"),
        ("Add them.\nA: 6", "Add them.\nA: 60", "A: 6"),  # a number that only begins alike
        ("Add them.\nA: 41", "So A: 41", None),
        ("1. Look.\n2. Run `heal it`.\nEscalate: #a", "1. Look.\nEscalate: #a", "2. Run `heal it`."),
        (" ".join(["long"] * 13), "other", None),
        ("Mail <EMAIL_1>", "other", None),
        ("", "other", None),
    ],
)
def test_expectation_by_hand(correction: str, response: str, expected: str | None) -> None:
    assert derive_expected(correction, response) == expected


def test_derived_cases_fail_on_the_answer_and_pass_on_the_correction() -> None:
    rows = [
        make_scored(0, response="so\nA: 60", correction="so\nA: 6"),
        make_scored(1, response="ask #general", correction="Escalate: #disk"),
        make_scored(2, response="fine"),
    ]
    cases, step = derive_cases("test", rows, [], limit=10)
    assert [case.check for case in cases] == ["regex", "contains"]
    assert re.search(cases[0].expected, "so\nA: 6") and not re.search(cases[0].expected, "so\nA: 60")  # noqa: PT018
    assert not re.search(cases[0].expected, "A: 6.5")
    assert cases[1].expected == "Escalate: #disk"
    assert step.rows_out == 2


def test_hand_written_ones_come_first_and_the_limit_holds() -> None:
    rows = [make_scored(n, response="ask", correction="Escalate: #disk") for n in range(5)]
    written = [make_case("a"), make_case("b")]
    cases, step = derive_cases("test", rows, written, limit=3)
    assert cases[:2] == written
    assert len(cases) == 3
    assert step.dropped == {"above max_regression_cases": 4}
    assert derive_cases("test", rows, written, limit=1)[0] == written[:1]


def test_reading(tmp_path: Path) -> None:
    cases = [make_case(), make_case("c2", "regex", "^1")]
    write_jsonl(tmp_path / "cases.jsonl", cases)
    assert read_cases(tmp_path / "cases.jsonl") == cases


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"id": "a"}', r":1: not a regression case \(user"),
        ("{", ":1: not a regression case"),
        (
            '{"id":"a","user":"s","topic":"t","prompt":[{"role":"user","content":"q"}],"check":"regex","expected":"("}',
            "regular expression",
        ),
        ('{"id":"a","user":"s","topic":"t","prompt":[],"check":"contains","expected":"x"}', "user's turn"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "cases.jsonl").write_text(text)
    with pytest.raises(DatasetError, match=match) as caught:
        read_cases(tmp_path / "cases.jsonl")
    assert "\n" not in str(caught.value)


def test_missing_file_and_double_ids(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_cases(tmp_path / "none.jsonl")
    write_jsonl(tmp_path / "cases.jsonl", [make_case(), make_case()])
    with pytest.raises(DatasetError, match="used twice"):
        read_cases(tmp_path / "cases.jsonl")
