"""Numbers in answers. `1,000` and `1.000` are read as English does, unless the text says otherwise."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.suite.numbers import agrees, read_expected, read_numbers


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("The answer is 42.", ["42"]),
        ("1,000", ["1000"]),
        ("1.000", ["1"]),
        ("1.000 und 2,5", ["1000", "5/2"]),  # 2,5 can only be continental
        ("1,000 und 1.234,5", ["1", "2469/2"]),
        ("3.14 and 1,000", ["157/50", "1000"]),
        ("1,234,567.89", ["123456789/100"]),
        ("1.234.567,89", ["123456789/100"]),
        ("1 234 567,89", ["123456789/100"]),
        ("1\u202f234,5", ["2469/2"]),
        ("1'234.50", ["2469/2"]),
        ("12,34,567", ["1234567"]),
        ("1_000", ["1000"]),
        ("0,125", ["1/8"]),
        ("1234,567", ["1234567/1000"]),
        ("12,50 €", ["25/2"]),
        ("$1,200.50", ["2401/2"]),
        ("-5", ["-5"]),
        ("\u22125", ["-5"]),
        ("x = -3.5", ["-7/2"]),
        ("10-12", ["10", "12"]),
        ("+4", ["4"]),
        (".5", ["1/2"]),
        ("5.", ["5"]),
        ("1.5e3", ["1500"]),
        ("-1.5E+2", ["-150"]),
        ("1e-3", ["1/1000"]),
        ("1,5 × 10^3", ["1500"]),
        ("2·10⁻³", ["1/500"]),
        ("3/4", ["3/4"]),
        ("1 1/2", ["3/2"]),
        ("1½", ["3/2"]),
        ("-½", ["-1/2"]),
        ("١٬٢٣٤٫٥", ["2469/2"]),
        ("１２３", ["123"]),
        ("1,2,3", ["1", "2", "3"]),
        ("**42**", ["42"]),
        ("\\boxed{42}", ["42"]),
        ("12kg of 3 GB", ["12", "3"]),
        ("1. Look\n2. It is 7", ["7"]),
        ("12.", ["12"]),
        ("", []),
        ("none", []),
        ("v2 H2O host-17 1.2.3 10.0.0.1 2026-11-28 28/11/2026 10:30", []),
        ("nan inf Infinity 1e999 1e99999999999 1/0", []),
        ("9" * 400, []),
    ],
)
def test_numbers_by_hand(text: str, values: list[str]) -> None:
    assert [number.value for number in read_numbers(text)] == [Fraction(value) for value in values]


@pytest.mark.parametrize(
    ("answer", "expected", "tolerance", "outcome"),
    [
        ("First 3, then 4.", "4", 0.0, True),  # the last one counts
        ("First 4, then 3.", "4", 0.0, False),
        ("about 12.3", "12", 0.3, True),  # 0.3 is three tenths, not the float below
        ("about 12.31", "12", 0.3, False),
        ("1,000 users", "1000", 0.0, True),
        ("1.000 users", "1000", 0.0, False),
        ("25 %", "25", 0.0, True),
        ("25%", "0.25", 0.0, True),
        ("0.25%", "0.25", 0.0, False),
        ("0.25", "25 %", 0.0, True),
        ("25", "25 percent", 0.0, True),
        ("26 %", "25%", 0.5, False),
        ("half of it: 1/2", "0.5", 0.0, True),
        ("-3", "3", 0.0, False),
        ("nan", "3", 1e300, False),
    ],
)
def test_agreement(answer: str, expected: str, tolerance: float, outcome: bool) -> None:
    assert agrees(answer, expected, tolerance) is outcome


@pytest.mark.parametrize("text", ["", "nan", "inf", "1 or 2", "9" * 301])
def test_what_is_no_expectation(text: str) -> None:
    with pytest.raises(ValueError, match="expected one finite number"):
        read_expected(text)


@given(st.integers(-(10**12), 10**12), st.integers(0, 3), st.sampled_from([",.", ".,", " ,", "'.", "\u00a0."]))
def test_every_way_to_group_a_number_is_read(whole: int, digits: int, marks: str) -> None:
    """Where both marks stand, or digits tell the decimal one, there is one way to read it."""
    group, point = marks
    text = f"{whole:,}".replace(",", group)
    value = Fraction(whole)
    if digits in (1, 2):
        text += point + "7" * digits
        value += (1 if whole >= 0 else -1) * Fraction(int("7" * digits), 10**digits)
    elif group == "." and text.count(".") == 1:
        return  # 1.000 alone is one
    assert [number.value for number in read_numbers(f"So: {text} pieces")] == [value]


@given(st.text(alphabet="0123456789.,-+/%eE ^×½١\n'_:;ab", max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    assert all(isinstance(number.value, Fraction) for number in read_numbers(text))


@pytest.mark.parametrize(
    "text", ["1" * 300_000, "1," * 150_000, "1 " * 150_000, "1/" * 150_000, "10^" * 100_000, "½" * 300_000]
)
def test_huge_answers_take_a_moment(text: str) -> None:
    began = time.process_time()
    read_numbers(text)
    assert time.process_time() - began < 10
