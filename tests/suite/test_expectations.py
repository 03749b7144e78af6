"""What is checked of a corrected or disliked answer."""

from __future__ import annotations

import pytest

from flytewheel.records import RegressionCase
from flytewheel.suite.checks import passes
from flytewheel.suite.expectations import Background, derive_expected, expect_correction, expect_otherwise
from flytewheel.suite.similarity import measure_similarity


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


def test_a_correction_without_a_short_line_is_compared_as_a_whole() -> None:
    wanted = "First look at the disk graph of the host, then prune its logs, and check whether writes succeed."
    answer = (
        "Perhaps wait a while, or ask in the general channel what others did when that came up before in some team."
    )
    found = expect_correction(wanted, answer)
    assert found is not None
    assert (found.check, found.expected) == ("similarity", wanted)
    assert measure_similarity(answer, wanted) + 0.1 <= found.threshold + 1e-9
    assert measure_similarity(wanted, wanted) >= found.threshold + 0.1 - 1e-9
    near = wanted.replace("First look", "First, look").replace("whether writes", "that writes")
    assert expect_correction(wanted, near) is None, "no threshold tells them apart"
    assert expect_correction(wanted + " Mail <EMAIL_1>.", answer) is None


@pytest.mark.parametrize(
    ("correction", "response"),
    [
        ("Add them.\nA: 6", "Add them.\nA: 60"),
        ("1. Look.\n2. Run `heal it`.\nEscalate: #a", "1. Look.\nEscalate: #a"),
        ("データベースを再起動してから、ログを確認し、担当者に連絡してください", "わかりません"),
        ("un texte tout à fait différent, avec bien plus de douze mots pour que la ligne soit trop longue", "no"),
    ],
)
def test_the_correction_passes_and_the_answer_fails(correction: str, response: str) -> None:
    found = expect_correction(correction, response)
    assert found is not None
    case = RegressionCase(
        "c", "u", "t", (), found.check, found.expected, threshold=found.threshold, ignore_case=found.ignore_case
    )
    assert passes(case, correction)
    assert not passes(case, response)


def test_what_is_forbidden_is_the_answers_own_line() -> None:
    champion = ["Look at the graph. Run `heal it`.", "Look at the graph.\nEscalate: #disk is the channel."]
    said = Background.of(champion)
    answer = "Look at the graph.\nRestart everything at once, data may be lost.\nEscalate: #disk is the channel."
    found = expect_otherwise(answer, "How do I heal it?", said)
    assert found is not None
    assert (found.check, found.ignore_case) == ("forbidden", True)
    assert found.expected == "Restart everything at once, data may be lost."
    assert expect_otherwise("look  at the GRAPH.", "?", said) is None, "the champion says it, too"
    assert expect_otherwise("How do I heal it?", "How do I heal it?", said) is None, "the question"
    assert expect_otherwise("No idea.", "?", said) is None, "too short to be told from others"
    assert expect_otherwise("Please write to <EMAIL_1> about it.", "?", said) is None
    assert expect_otherwise(answer, "?", Background.of([])) is None, "nothing to tell it from"


def test_of_a_long_paragraph_a_window_is_forbidden() -> None:
    long = (
        "look at the graph and then " * 4
        + "delete the production database without asking anybody in the whole company first"
    )
    found = expect_otherwise(
        long, "?", Background.of(["look at the graph and then wait", "look at the graph and then go"])
    )
    assert found is not None
    assert len(found.expected.split()) == 12
    assert "production" in found.expected
    assert found.expected in long
