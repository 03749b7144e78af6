"""Checks of the suite: what passes, what is refused, and that no pattern hangs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from flytewheel.errors import SuiteError
from flytewheel.records import Message, RegressionCase
from flytewheel.suite.checks import Tally, check_case, count_passes, passes
from flytewheel.suite.patterns import PatternError, compile_pattern, search

ASK = (Message(role="user", content="?"),)


def case(check: Any, expected: str, **fields: Any) -> RegressionCase:
    return RegressionCase(
        fields.pop("id", "case-1"), "suite", "ops", fields.pop("prompt", ASK), check, expected, **fields
    )


@pytest.mark.parametrize(
    ("check", "expected", "answer", "outcome"),
    [
        ("exact", "restart it\n", " restart it ", True),
        ("exact", "restart it", "Restart it", False),
        ("exact", "restart it", "restart it now", False),
        ("contains", "`dbctl analyze`", "Run `dbctl analyze` first.", True),
        ("contains", "analyze", "Analyze", False),
        ("contains", "Café", "im Cafe\u0301 nebenan", True),  # the same letters, composed otherwise
        ("regex", r"^1\. .*\n2\. ", "1. Look\n2. Act", True),
        ("regex", r"^2\. ", "1. Look\n2. Act", False),
        ("forbidden", "rm -rf", "Delete old logs.", True),
        ("forbidden", "rm -rf", "Use rm -rf / boldly.", False),
        ("forbidden", "ask in the general channel", "Or ask in\n  the general\u00a0channel.", False),
        ("forbidden", "rm -rf", "RM -RF", True),
        ("numeric", "1234", "It is 1,234.", True),
        ("numeric", "1234", "I cannot tell", False),
        ("numeric", "1234", "", False),
    ],
)
def test_checks(check: str, expected: str, answer: str, outcome: bool) -> None:
    assert passes(case(check, expected), answer) is outcome


@pytest.mark.parametrize("check", ["exact", "contains", "regex"])
def test_case_is_ignored_where_that_is_asked(check: str) -> None:
    assert passes(case(check, "STRASSE", ignore_case=True), "strasse")
    assert not passes(case(check, "STRASSE"), "strasse")
    assert not passes(case("forbidden", "Strasse", ignore_case=True), "in der STRASSE")


def test_similarity_needs_its_threshold() -> None:
    wanted = "Look at the log, then prune it."
    assert passes(case("similarity", wanted, threshold=0.6), "Look at the logs and then prune them.")
    assert not passes(case("similarity", wanted, threshold=0.6), "Wait a while, it may heal by itself.")
    assert passes(case("similarity", "ログを確認してから削除します", threshold=0.5), "ログを確認して削除します")
    assert passes(case("similarity", wanted, threshold=1.0), "Look  at the log,\nthen prune it.")
    assert not passes(case("similarity", wanted, threshold=0.01), "")


@pytest.mark.parametrize(
    ("faulty", "match"),
    [
        (
            case("like", "x"),
            r"^regression case 'case-1': expected check exact, contains, .* or forbidden, got 'like'; cor",
        ),
        (case("regex", "a(b"), r"'a\(b' is not a regular expression \(missing \).*\); correct the case$"),
        (case("regex", "(?:a{99999}){99999}"), "multiply to more than 10,000 repetitions"),
        (case("regex", "a" * 3000), "3,000 letters"),
        (case("regex", "(" * 900 + ")" * 900), "is not a regular expression"),
        (case("contains", " \n"), "expected is empty"),
        (case("numeric", "one"), "expected one finite number, got 0 in 'one'"),
        (case("numeric", "nan"), "got 0"),
        (case("numeric", "inf"), "got 0"),
        (case("numeric", "3 or 4"), "got 2"),
        (case("numeric", "3", tolerance=float("nan")), "finite numbers from 0 on"),
        (case("numeric", "3", tolerance=-1.0), "finite numbers from 0 on"),
        (case("contains", "x", tolerance=1.0), "tolerance goes with check numeric"),
        (case("contains", "x", threshold=0.5), "threshold goes with check similarity"),
        (case("similarity", "x"), "threshold above 0 and at most 1, got 0"),
        (case("similarity", "x", threshold=1.5), "got 1.5"),
        (case("contains", "x", samples=0), "1 to 100 samples, got 0"),
        (case("contains", "x", samples=101, temperature=1.0), "got 101"),
        (case("contains", "x", samples=5), "5 greedy answers are one answer"),
        (case("contains", "x", temperature=0.7), "one drawn answer tells nothing"),
        (case("contains", "x", min_pass_rate=0.0), "min_pass_rate above 0"),
        (case("contains", "x", min_pass_rate=1.1), "at most 1, got 1.1"),
        (case("contains", "x", prompt=()), "user's turn"),
        (case("contains", "x", id=" "), "id of 1 to 200"),
        (case("contains", "x\0"), "NUL"),
        (case("contains", "\ud800"), "half a character"),
    ],
)
def test_faults_name_their_case(faulty: RegressionCase, match: str) -> None:
    with pytest.raises(SuiteError, match=match) as caught:
        check_case(faulty)
    assert "\n" not in str(caught.value)


def test_good_cases_are_let_through() -> None:
    for good in (
        case("contains", "a(b"),
        case("exact", ""),
        case("numeric", "-1,234.50 €", tolerance=0.5),
        case("similarity", "x", threshold=1.0),
        case("contains", "x", samples=100, temperature=0.7, min_pass_rate=0.5),
        case("regex", r"\p{L}+ (?<!\w)A:\ 6(?!\w|[.,]\d)"),
    ):
        check_case(good)


def test_a_pattern_that_backtracks_for_ever_is_given_up_and_fails() -> None:
    pattern, answer = "(a|aa)+$", "a" * 100 + "b"
    with pytest.raises(TimeoutError):
        search(pattern, answer, deadline_s=0.1)
    began = time.monotonic()
    tally = count_passes(case("regex", pattern, samples=50, temperature=1.0), ["aa", *[answer] * 49])
    assert tally == Tally(1, 50, overdue=True)
    assert time.monotonic() - began < 20, "only the first of them is waited for"


def test_a_pattern_is_compiled_within_bounds() -> None:
    assert compile_pattern("x{2,9000}y{,1}").search("x" * 5 + "y")
    for pattern in ("x{101}{100}", "((x{30}){30}){30}", "(?:x{,200}){,200}", "(?:abc){e<=99999}"):
        with pytest.raises(PatternError):
            compile_pattern(pattern)


def test_tallies() -> None:
    one = case("contains", "x", samples=4, temperature=1.0)
    assert count_passes(one, ["x", "", "ax", "y"]) == Tally(2, 4)
    assert count_passes(one, []) == Tally(0, 1)
