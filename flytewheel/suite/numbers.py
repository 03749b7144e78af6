"""Reads the numbers of an answer, and says whether its last one is the expected one.

The last, because answers reason first and conclude then (the rule that GSM8K is scored by). Decided here:

- `1,234.5`, `1.234,5`, `1 234,5`, `1'234.5`, `12,34,567` are one number: groups of three (or India's two and three).
- One comma before three digits groups (`1,000` is a thousand), one point is decimal (`1.000` is one), as in English; a
  number elsewhere in the same text that can only be continental (`2,5`, `1.234,5`) turns both around. `0,125` is
  decimal in any text. A comma before other than three digits is decimal.
- Signs (`-`, `−`, `+`) count where no letter or digit stands before them: `10-12` are 10 and 12.
- `1.5e3`, `1,5 × 10^3` and `10⁶` with exponents up to 300; `3/4`, `1 1/2`, `½`; digits of all scripts.
- Units are not looked at, words such as "million" are not read. A percentage is its face value; where only one of the
  two is a percentage its hundredth counts as well, and counts alone where the expected is below 1: 25 % is 25 and 0.25.
- No numbers: digits within a word (`v2`, `H2O`, `host-17`), versions and addresses (`1.2.3`), dates, clock times, the
  numbers of a list's lines, NaN and infinity, more than 300 digits.

Compared exactly, as fractions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 300
MAX_LETTERS = 200_000  # what follows is what counts: of longer answers the end is read

_SPACES = "\u00a0\u2007\u2009\u202f"  # the spaces that group digits, beside the plain one
_MARKS = str.maketrans(
    {"−": "-", "﹣": "-", "－": "-", "＋": "+", "٫": ".", "٬": ",", "’": "'", "％": "%", "٪": "%", "⁄": "/"}
    | dict.fromkeys(_SPACES, "\u00a0")
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_FRACTIONS = {sign: Fraction(unicodedata.numeric(sign)).limit_denominator(10) for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}

# Some digits, with what may stand between them.
_DIGITS = r"\d+(?:(?:[.,'_]|[ \u00a0](?=\d{3}(?!\d)))\d+)*"
_TOKEN = re.compile(
    rf"(?P<sign>(?<![\w)\]])[-+])?(?:(?P<body>{_DIGITS})|(?P<point>(?<!\d)\.\d+))"
    r"(?:(?P<e>[eE][-+]?\d+)(?![\w])"
    r"|\ ?[×x*·]\ ?10(?:\^|\*\*)\{?(?P<power>[-+]?\d+)\}?"
    r"|\ ?[×x*·]\ ?10(?P<raised>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+)"
    r"|(?:\^|\*\*)\{?(?P<own>[-+]?\d+)\}?"
    r"|(?P<up>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+)"
    r"|(?:\ (?P<top>\d+))?\ ?/\ ?(?P<under>\d+)(?![\w/])(?!\.\d)"
    r"|\ ?(?P<part>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]))?"
    r"(?P<percent>\s?(?:%|per\ ?cent\b|pct\b))?"
    r"|(?P<lonesign>(?<![\w)\]])[-+])?(?P<lone>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])(?P<lonepercent>\s?%)?",
    re.IGNORECASE,
)
_NO_NUMBER = re.compile(
    r"(?<![\d.])\d{4}-\d{1,2}-\d{1,2}(?!\d)(?:T[\d:.]+Z?)?"  # dates
    r"|(?<![\d/])\d{1,4}/\d{1,2}/\d{1,4}(?![\d/])"
    r"|(?<![\d.])\d{1,2}\.\d{1,2}\.(?:19|20)\d\d(?!\d)"
    r"|(?<![\d:])\d{1,2}:\d\d(?::\d\d)?(?![\d:])"  # clock times
)
_LISTED = re.compile(r"(?m)^[ \t]*\d{1,3}[.)][ \t]+(?=\S)")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written: its face value, and whether a percent sign followed."""

    value: Fraction
    percent: bool = False


def read_numbers(text: str) -> list[Number]:
    """Every number of `text`, in order; see the module's text for what is one."""
    plain = _translate(text[-MAX_LETTERS:])
    return _read(_LISTED.sub(_blank, plain)) or _read(plain)


def read_expected(text: str) -> Number:
    """The number that a case expects.

    Raises:
        ValueError: the text is not one number.
    """
    found = read_numbers(text)
    if len(found) != 1:
        raise ValueError(f"expected one finite number, got {len(found)} in {text[:60]!r}")
    return found[0]


def agrees(answer: str, expected: str, tolerance: float = 0.0) -> bool:
    """Whether the last number of `answer` lies within `tolerance` of the expected one, in its unit.

    Raises:
        ValueError: `expected` is not one number, or the tolerance not a finite one from 0 on.
    """
    wanted, said, room = read_expected(expected), read_numbers(answer), Fraction(repr(tolerance))  # 0.3 is 3/10
    if room < 0:
        raise ValueError(f"expected a tolerance of at least 0, got {tolerance}")
    if not said:
        return False
    last = said[-1]
    values = [last.value]
    if last.percent and not wanted.percent:
        values = [last.value / 100] if abs(wanted.value) < 1 else [last.value, last.value / 100]
    elif wanted.percent and not last.percent:
        values = [last.value, last.value * 100]
    return any(abs(value - wanted.value) <= room for value in values)


def _read(text: str) -> list[Number]:
    text = _NO_NUMBER.sub(_blank, text)
    tokens = [token for token in _TOKEN.finditer(text) if _stands_alone(text, token)]
    bodies = [token["body"] or token["point"] or "" for token in tokens]
    continental = _is_continental(bodies)
    found = []
    for token, body in zip(tokens, bodies, strict=True):
        percent = bool(token["percent"] or token["lonepercent"])
        found += [Number(value, percent) for value in _value(token, body, continental)]
    return found


def _translate(text: str) -> str:
    """Signs of other scripts as ASCII, one for one."""
    if text.isascii():
        return text
    text = text.translate(_MARKS)
    return "".join(str(unicodedata.decimal(each)) if not each.isascii() and each.isdecimal() else each for each in text)


def _blank(found: re.Match[str]) -> str:
    return ";" * (found.end() - found.start())


def _stands_alone(text: str, token: re.Match[str]) -> bool:
    """Whether the digits are no part of a word, a version or an address."""
    start, end = token.start(), token.end()
    before = text[start - 1] if start else ""
    if before and (before.isalpha() or before in "_" or (before.isdigit() and not token["lone"])):
        return False
    if before in ("-", ".", "/", ":", "@", "#") and start > 1 and (text[start - 2].isalpha() or text[start - 2] == "_"):
        return False
    after = text[end : end + 2]
    return not (len(after) == 2 and after[0] == "." and after[1].isdigit()) and not after.startswith("_")


def _is_continental(bodies: list[str]) -> bool:
    """Whether a number can only be read with a decimal comma, and none only with a decimal point."""
    shapes = {shape for body in bodies if (shape := _shape(body))}
    return shapes == {"comma"}


def _shape(body: str) -> str:
    marks = [each for each in body if each in ".,"]
    if not marks:
        return ""
    last, kinds = marks[-1], set(marks)
    digits = body.rpartition(last)[2]
    if len(kinds) == 2 and marks.count(last) == 1:
        return "comma" if last == "," else "point"
    if len(marks) > 1:  # grouped by it, so the other one is decimal
        return "point" if last == "," else "comma"
    if last == ",":
        return "comma" if len(digits) != 3 or body.startswith("0") else ""
    return "point" if len(digits) != 3 or body.startswith(("0", ".")) or len(body.partition(".")[0]) > 3 else ""


def _value(token: re.Match[str], body: str, continental: bool) -> Iterator[Fraction]:
    sign = -1 if "-" in (token["sign"] or "", token["lonesign"] or "") else 1
    if token["lone"]:
        yield sign * _FRACTIONS[token["lone"]]
        return
    plain = _plain(body, continental)
    if plain is None:
        pieces = body.split(",")
        if len(pieces) > 2 and "." not in body:  # 1,2,3: a list
            yield from (Fraction(piece) for piece in pieces if piece.isdigit() and len(piece) <= MAX_DIGITS)
        return
    value = Fraction(plain)
    if token["under"]:
        under = int(token["under"][:MAX_DIGITS])
        if not under or "." in plain or (token["top"] is not None and len(token["top"]) > MAX_DIGITS):
            return
        value = value / under if token["top"] is None else value + Fraction(int(token["top"]), under)
    elif token["part"]:
        value += _FRACTIONS[token["part"]]
    elif exponent := _exponent(token):
        base, power = exponent
        if abs(power) > MAX_DIGITS or (base is None and (abs(power) > 20 or (value == 0 and power < 0))):
            return
        value = value**power if base is None else value * Fraction(base) ** power
    yield sign * value


def _exponent(token: re.Match[str]) -> tuple[int | None, int] | None:
    """(10, power) of a scientific number, (None, power) of a power of the number itself."""
    for base, text in (
        (10, (token["e"] or "")[1:]),
        (10, token["power"]),
        (10, (token["raised"] or "").translate(_RAISED)),
        (None, token["own"]),
        (None, (token["up"] or "").translate(_RAISED)),
    ):
        if text and text.lstrip("+-").isdigit():
            return base, int(text) if len(text) < 6 else 10**6
    return None


def _plain(body: str, continental: bool) -> str | None:
    """The digits with a decimal point, or nothing where they are no number."""
    digits = sum(each.isdigit() for each in body)
    if not 0 < digits <= MAX_DIGITS:
        return None
    for group in (" ", "\u00a0", "'", "_"):
        if group in body:
            head, *rest = re.split(r"[.,]", body, maxsplit=1) if re.search(r"[.,]", body) else [body]
            groups = head.split(group)
            if (len(groups[0]) > 3 and group != "_") or any(
                not each.isdigit() or (len(each) != 3 and group != "_") for each in groups[1:]
            ):
                return None
            tail = rest[0] if rest else ""
            return f"{head.replace(group, '')}.{tail or 0}" if not tail or tail.isdigit() else None
    marks = [each for each in body if each in ".,"]
    if not marks:
        return body
    if body.startswith("."):
        return f"0{body}"
    last = marks[-1]
    if len(set(marks)) == 2:
        if marks.count(last) != 1:
            return None
        head, _, tail = body.rpartition(last)
        return f"{''.join(re.split('[.,]', head))}.{tail}" if _is_grouped(head, marks[0]) else None
    if len(marks) > 1:
        return body.replace(last, "") if _is_grouped(body, last) else None
    head, _, tail = body.partition(last)
    groups = len(tail) == 3 and 0 < len(head) <= 3 and not head.startswith("0")
    if groups and (last == ",") != continental:
        return head + tail
    return f"{head}.{tail}"


def _is_grouped(body: str, mark: str) -> bool:
    groups = body.split(mark)
    if any(not each.isdigit() for each in groups) or len(groups[-1]) != 3 or not 0 < len(groups[0]) <= 3:
        return False
    return all(len(each) == 3 for each in groups[1:]) or (
        mark == "," and len(groups[0]) <= 2 and all(len(each) == 2 for each in groups[1:-1])
    )
