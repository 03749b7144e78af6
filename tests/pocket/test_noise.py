"""Planted personal data is well-formed: a filter that checks more than the pattern must still find it."""

from __future__ import annotations

import random
import re

import phonenumbers

from flytewheel.pocket.noise import draw_personal


def _draw(kind: str, count: int = 60) -> list[str]:
    chance = random.Random(4)
    drawn = [draw_personal(turn, chance) for turn in range(6 * count)]
    return [text for name, text in drawn if name == kind]


def _luhn(digits: str) -> bool:
    """Doubling every second digit from the right, digit sums, divisible by ten: 4111 1111 1111 1111 gives 30."""
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(sum(divmod(2 * value, 10)) for value in values[1::2])) % 10 == 0


def test_cards_pass_luhn():
    assert _luhn("4111111111111111")
    for text in _draw("card"):
        digits = re.sub(r"\D", "", text)
        assert len(digits) == 16
        assert _luhn(digits)


def test_ibans_pass_mod_97():
    for text in _draw("iban"):
        number = re.search(r"DE[\d ]{20,}", text).group().replace(" ", "")
        assert len(number) == 22
        assert int(f"{number[4:]}1314{number[2:4]}") % 97 == 1


def test_phones_are_valid_numbers():
    for text in _draw("phone"):
        matches = list(phonenumbers.PhoneNumberMatcher(text, "US"))
        assert len(matches) == 1, text


def test_addresses_are_reserved_for_documentation():
    assert all(re.search(r"@(\w+\.)?example\.(com|org|net)", text) for text in _draw("email"))
    assert all(re.search(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+", text) for text in _draw("ip"))
    assert all(re.search(r"(ghp_|sk-|glpat-)\w{20,}", text) for text in _draw("token"))
