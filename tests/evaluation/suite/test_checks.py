from __future__ import annotations

from typing import Any

import pytest

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.suite.checks import assign_units, check_cases, passes
from flytewheel.records import Message, RegressionCase


def case(check: Any, expected: str, *, number: int = 1, user: str = "suite") -> RegressionCase:
    return RegressionCase(f"case-{number}", user, "ops", (Message(role="user", content="?"),), check, expected)


@pytest.mark.parametrize(
    ("check", "expected", "answer", "outcome"),
    [
        ("exact", "restart it\n", " restart it ", True),
        ("exact", "restart it", "Restart it", False),
        ("exact", "restart it", "restart it now", False),
        ("contains", "`dbctl analyze`", "Run `dbctl analyze` first.", True),
        ("contains", "analyze", "Analyze", False),
        ("regex", r"^1\. .*\n2\. ", "1. Look\n2. Act", True),
        ("regex", r"^2\. ", "1. Look\n2. Act", False),
        ("forbidden", "rm -rf", "Delete old logs.", True),
        ("forbidden", "rm -rf", "Use rm -rf / boldly.", False),
    ],
)
def test_checks(check: str, expected: str, answer: str, outcome: bool) -> None:
    assert passes(case(check, expected), answer) is outcome


def test_a_faulty_pattern_names_its_case() -> None:
    cases = [case("regex", "fine.*"), case("regex", "a(b", number=2)]
    with pytest.raises(
        EvaluationError, match=r"^regression case 'case-2': 'a\(b' is not a regular expression .*; correct"
    ):
        check_cases(cases)
    check_cases([case("contains", "a(b")])


def test_an_unknown_check_names_its_case() -> None:
    with pytest.raises(
        EvaluationError, match="'case-1': expected check exact, contains, regex or forbidden, got 'like'"
    ):
        check_cases([case("like", "x")])


def test_units_are_users_and_hand_written_cases_stand_alone() -> None:
    cases = [case("exact", "", number=1), case("exact", "", number=2), case("exact", "", number=3, user="ann")]
    assert assign_units(cases) == ["case:case-1", "case:case-2", "user:ann"]
    assert assign_units([case("exact", "", number=n, user="ann") for n in (1, 2)]) == ["case:case-1", "case:case-2"]
    assert assign_units([]) == []
