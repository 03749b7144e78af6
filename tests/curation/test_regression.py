"""Regression cases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.account import Account
from flytewheel.curation.judged import Judged
from flytewheel.curation.regression import derive_cases, read_cases
from flytewheel.errors import DatasetError
from flytewheel.records import Message, RegressionCase, build_prompt, write_jsonl
from tests.curation.tables import make_table
from tests.curation.windows import make_judged


def make_case(name: str = "c1", check: str = "contains", expected: str = "x") -> RegressionCase:
    return RegressionCase(name, "suite", "disk", build_prompt(f"how {name}"), check, expected)  # type: ignore[arg-type]


def derive(
    folder: Path, texts: list[tuple[str, str | None]], written: list[RegressionCase] | None = None, **given: Any
) -> tuple[list[RegressionCase], Account]:
    """Cases of a part whose interactions have these responses and corrections; each asks a question of its own."""
    table = make_table(folder / "table", [{"response": response, "correction": fix} for response, fix in texts])
    users: Sequence[str] = given.pop("users", [f"u{place}" for place in range(len(texts))])
    rows: list[Judged] = [
        make_judged(place, user=users[place], correction=None if fix is None else place)
        for place, (_, fix) in enumerate(texts)
    ]
    return derive_cases(
        "test", rows, written or [],
        table=table, **{"keys": [f"k{place}" for place in range(len(texts))], "limit": 10, "max_per_user": 9, **given},
    )  # fmt: skip


def test_derived_cases_fail_on_the_answer_and_pass_on_the_correction(tmp_path: Path) -> None:
    texts = [("so\nA: 60", "so\nA: 6"), ("ask #general", "Escalate: #disk"), ("fine", None)]
    cases, account = derive(tmp_path, texts)
    assert [(case.id, case.check, case.user) for case in cases] == [
        ("i00000/case", "regex", "u0"),
        ("i00001/case", "contains", "u1"),
    ]
    assert re.search(cases[0].expected, "so\nA: 6") and not re.search(cases[0].expected, "so\nA: 60")  # noqa: PT018
    assert not re.search(cases[0].expected, "A: 6.5")
    assert cases[1].expected == "Escalate: #disk"
    assert cases[1].prompt[-1].content == "How do I free the disk of host number 1?"
    assert account.rows_out == 2


def test_hand_written_ones_come_first_and_the_limit_holds(tmp_path: Path) -> None:
    texts: list[tuple[str, str | None]] = [("ask", "Escalate: #disk")] * 5
    written = [make_case("a"), make_case("b")]
    cases, account = derive(tmp_path / "three", texts, written, limit=3)
    assert cases[:2] == written
    assert len(cases) == 3
    assert account.dropped == {"above max_regression_cases": 4}
    assert derive(tmp_path / "one", texts, written, limit=1)[0] == written[:1]


def test_a_prompt_has_one_case_and_a_user_not_all_of_them(tmp_path: Path) -> None:
    texts: list[tuple[str, str | None]] = [("ask", f"Escalate: #{place}x") for place in range(6)]
    cases, account = derive(
        tmp_path, texts, keys=["k0", "k0", *"bcde"], users=["ann", "bob", "eve", "eve", "eve", "joe"], max_per_user=2
    )
    assert [case.user for case in cases] == ["ann", "eve", "eve", "joe"]
    assert account.dropped == {"prompt has a case": 1, "enough cases of the user": 1}


def test_a_case_shows_the_whole_prompt(tmp_path: Path) -> None:
    table = make_table(
        tmp_path,
        [{"response": "no", "correction": "Escalate: #disk", "context": "Runbook.",
          "history": (Message(role="user", content="earlier"), Message(role="assistant", content="said"))}],
    )  # fmt: skip
    rows = [make_judged(0, correction=1)]
    cases, _ = derive_cases("test", rows, [], table=table, keys=["k"], limit=1, max_per_user=1)
    assert [turn.role for turn in cases[0].prompt] == ["system", "user", "assistant", "user"]
    assert "Runbook." in cases[0].prompt[0].content


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
