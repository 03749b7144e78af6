"""Telephone numbers of any country.

Decides by what a person would go by: an international prefix with a number that `phonenumbers` holds possible; the
groups that numbers are written in (North America's 3-3-4, a leading 0 with groups behind it, an area code in
brackets); or a word for telephone in one of thirty languages beside seven digits or more. `phonenumbers`' own
matcher is a thousand times slower than these expressions and is not used; its tables of lengths and prefixes are, on
each different candidate once. Dates, counters, sums and columns of figures stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers

from flytewheel.pii.cues import (
    FOLLOWING,
    PHONE_CUE,
    PHONE_CUE_START,
    UNIT,
    UNSPACED_CUE,
    find_phone_cue,
    is_counter,
)
from flytewheel.pii.rules import Finder, Gate, Span, find_zones, unite

_EXTENSION = r"(?: ?(?:x|ext\.?|extension|#|Durchwahl|poste) ?[0-9]{1,6})?"
_GAP = r"(?:[ .\t/-]|\)[ .-]?|[ .-]?\(| - |\r?\n)?"

_PLUS = rf"(?:\+|%2B)\(?[1-9](?:{_GAP}[0-9]){{6,17}}"
_ZEROS = rf"00[ ]?[1-9][0-9]{{0,2}}(?:{_GAP}[0-9]){{7,14}}"
_NANP = r"(?:(?:\+|00)?1[ .-]?)?(?:\([0-9]{3}\)[ .-]?[0-9]{3}[ .-]?[0-9]{4}|[2-9][0-9]{2}[ .-][0-9]{3}[ .-][0-9]{4})"
_TRUNK = r"\(?0[1-9][0-9]{0,4}\)?(?:[ ./-]|\)[ -]?|-)?[0-9](?:[ ./-]?[0-9]){4,10}"
_BRACKETS = r"\([0-9]{2,5}\)[ /-]{0,2}[0-9]{2,5}[ -]?[0-9]{2,5}(?:[ -][0-9]{2,4})?"
_MOBILE = r"1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}"  # China
_RUSSIAN = r"8[ -]?\(?[3489][0-9]{2}\)?[ -]?[0-9]{3}[ -][0-9]{2}[ -]?[0-9]{2}"
_BRAZILIAN = r"[1-9][1-9] 9?[0-9]{4}-[0-9]{4}"
_HUNGARIAN = r"[0-9]{2}/[0-9]{3}[ -][0-9]{4}"
_WEAK = r"[0-9](?:[ ().\t/-]{0,3}[0-9]){5}"

_BEFORE = r"(?<![A-Za-z0-9_+*=^/])(?<![A-Za-z0-9][.,:_-])"
_BEFORE_KEYED = r"(?<![A-Za-z0-9_+*^.])(?<![(\[ ,=]-)(?<![A-Za-z0-9][.,_-])(?<![0-9]/)"
_AFTER = r"(?![A-Za-z0-9_])(?![.,:/-][0-9])(?! ?[=*+^])"


def _compile(core: str, before: str = _BEFORE_KEYED) -> re.Pattern[str]:
    return re.compile(f"{before}({core}){_EXTENSION}{_AFTER}", re.ASCII)


_PLUS_RULE = re.compile(rf"(?<![A-Za-z0-9_+)])(?<![0-9] )({_PLUS}){_EXTENSION}(?! ?[=*^])", re.ASCII)
_ZEROS_RULE = _compile(_ZEROS)
_NANP_RULE = re.compile(rf"{_BEFORE_KEYED}(?:{_NANP}){_EXTENSION}(?![A-Za-z0-9_])(?![.,-][0-9])(?! ?[=*+^])", re.ASCII)
_TRUNK_RULE = re.compile(
    rf"(?<![A-Za-z0-9_+*^.])(?<![A-Za-z0-9][.,_:-])(?<![0-9]/)(?:{_TRUNK}){_EXTENSION}{_AFTER}", re.ASCII
)
_SHAPES = re.compile("|".join(
    f"(?:{_BEFORE_KEYED}(?:{core}){_EXTENSION}{_AFTER})"
    for core in (_BRACKETS, _MOBILE, _RUSSIAN, _BRAZILIAN, _HUNGARIAN)
), re.ASCII)  # fmt: skip
_CUED_RULE = re.compile(
    rf"(?<![A-Za-z0-9_*^])(?<![0-9][.,])[+(]{{0,2}}[0-9](?:[ ./\t-]?[ ()/-]{{0,2}}[0-9]){{5,16}}"
    rf"{_EXTENSION}(?![A-Za-z0-9_])(?! ?[=*+^])",
    re.ASCII,
)

_DATE = re.compile(
    r"(?:[0-3]?[0-9])([./-])(?:[01]?[0-9])\1(?:19|20)?[0-9]{2}(?![0-9])|(?:19|"
    r"20)[0-9]{2}([./ -])[01]?[0-9]\2[0-3]?[0-9](?![0-9])|"
    r"(?:19|20)[0-9]{2}[01][0-9][0-3][0-9](?![0-9]{2})|(?:19|20)[0-9]{2}-(?:19|20)[0-9]{2}(?![0-9])"
)
_HEX_PAIRS = re.compile(r"[0-9A-Fa-f]{2} [0-9A-Fa-f]{2} $")
_TRUNK_REGIONS = [
    "GB", "DE", "FR", "IT", "NL", "BE", "CH", "AT", "SE", "FI", "IE", "RO", "BG", "HR", "RS", "BA", "SI", "SK",
    "UA", "AL", "TR", "IL", "EG", "ZA", "NG", "KE", "AU", "NZ", "JP", "KR", "TW", "TH", "VN", "ID", "IN", "MY",
    "PH", "PK", "BD", "LK", "AM", "GE", "AZ", "IR", "IQ", "JO", "AE", "SA", "DZ", "MA", "ET", "PS",
]  # fmt: skip


def _find_shaped(view: str) -> Iterator[Span]:
    for zone in find_zones(view):
        yield from _find_shaped_in(view, *zone)


def _find_cued(view: str) -> Iterator[Span]:
    for zone in find_zones(view):
        yield from _find_cued_in(view, *zone)


def _find_shaped_in(view: str, first: int, last: int) -> Iterator[Span]:
    if "+" in view[first:last] or "%2B" in view[first:last]:
        for found in _PLUS_RULE.finditer(view, first, last):
            end = _end_of_international(found.group(1))
            if end:
                end = found.end() if end == len(found.group(1)) else found.start() + end
                if not view[end : end + 1].isalnum():
                    yield found.start(), end
    for found in _ZEROS_RULE.finditer(view, first, last):
        if (
            _is_valid("+" + found.group(1).lstrip("0 "))
            and not _follows_digits(view, found.start())
            and not _stays(view, found.start(), found.end())
        ):
            yield found.span()
    for found in _NANP_RULE.finditer(view, first, last):
        if not _stays(view, found.start(), found.end()):
            yield found.span()
    for found in _TRUNK_RULE.finditer(view, first, last):
        if (
            _is_trunk(found.group())
            and not _follows_digits(view, found.start())
            and not _stays(view, found.start(), found.end())
        ):
            yield found.span()
    for found in _SHAPES.finditer(view, first, last):
        digits = _count_digits(found.group())
        if (
            digits >= 8
            and not _stays(view, found.start(), found.end())
            and not (found.group()[0] == "(" and digits < 9)
        ):
            yield found.span()


def _find_cued_in(view: str, first: int, last: int) -> Iterator[Span]:
    for found in _CUED_RULE.finditer(view, first, last):
        start, end = found.span()
        raw = found.group()
        digits = _count_digits(raw)
        if digits > 15 or _DATE.match(raw) or UNIT.match(view, end) or re.match(r"[.:][0-9]", view[end : end + 2]):
            continue
        cue = find_phone_cue(view, start, end)
        if (cue == "tight" and digits >= 6) or (
            cue == "loose" and digits >= 8 and not is_counter(view[max(0, start - 32) : start]) and _looks_dialled(raw)
        ):
            yield start, end


def _looks_dialled(raw: str) -> bool:
    groups = re.findall("[0-9]+", raw)
    if len(groups) == 1:
        return 8 <= len(groups[0]) <= 12 and not groups[0].startswith(("00", "17")) and len(set(groups[0])) > 2
    return (
        len(groups) <= 6 and all(1 <= len(group) <= 7 for group in groups) and ("." not in raw or raw.count(".") >= 2)
    )


def _stays(view: str, start: int, end: int) -> bool:
    before = view[max(0, start - 40) : start]
    raw = view[start:end]
    if is_counter(before) or UNIT.match(view, end) or _DATE.match(raw):
        return True
    # A column or a range of figures: more of them on both sides of the blanks.
    if re.search(r"[0-9][ \t,;|]{1,3}$", before) and re.match(r"[ \t,;|]{1,3}[0-9]", view[end : end + 4]):
        return True
    return bool(_HEX_PAIRS.search(before)) or bool(
        re.match(r" [0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2})* ?\b", view[end : end + 12])
    )


def _follows_digits(view: str, start: int) -> bool:
    return bool(re.search("[0-9]{2}[ -]$", view[max(0, start - 3) : start]))


def _count_digits(raw: str) -> int:
    return len(re.sub("[^0-9]", "", re.split("[a-zA-Z#]", raw, maxsplit=1)[0]))


def _is_trunk(raw: str) -> bool:
    """A national number with its leading 0: ten digits or eleven in a run, or written in groups."""
    body = re.split("[a-zA-Z#]", raw)[0].strip()
    groups = re.findall("[0-9]+", body)
    digits = "".join(groups)
    if not 8 <= len(digits) <= 12 or len(set(digits)) < 3 or digits in "01234567890123456789":
        return False
    if re.fullmatch("[0-9]{5}-[0-9]{4}", body):
        return False  # a postal code of the United States
    if body.startswith("("):
        return ")" in body and len(digits) >= 8
    if len(groups) == 1:
        return 9 <= len(digits) <= 11 and _is_national(digits)
    if "." in body and len(groups) < 3:
        return False
    if len(groups) >= 3:
        # Two equal digits groups of two throughout are a clock or a dump, five pairs a French number.
        pairs = all(len(group) == 2 for group in groups)
        return (not pairs or len(groups) == 5) and len(groups) <= 5 and len(digits) >= 9
    return (len(digits) >= 9 and (" " in body or "/" in body or _is_national(digits))) or (
        len(digits) == 8 and _is_national(digits)
    )


_CALLING_CODES = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


@lru_cache(maxsize=1 << 16)
def _is_national(digits: str) -> bool:
    for region in _TRUNK_REGIONS:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(digits, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


@lru_cache(maxsize=1 << 16)
def _is_valid(raw: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(raw, None))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=1 << 16)
def _end_of_international(raw: str) -> int:
    """Where a number with a plus ends: at the last group with which it is possible, in its line if it can; else 0."""
    text = raw.replace("%2B", "  +")
    ends = [found.end() for found in re.finditer("[0-9]+", text)]
    valid = [end for end in ends if _parses(text[:end], valid=True)]
    possible = [end for end in ends if _parses(text[:end], valid=False)]
    lines = [end for end in possible if "\n" not in text[:end]]
    for choices in ([end for end in valid if "\n" not in text[:end]], lines, valid, possible):
        if choices:
            end = max(choices)
            return end if len(ends) > 1 or _count_digits(text[:end]) >= 9 or end in valid else 0
    known = (
        int(re.sub("[^0-9]", "", text)[:3]) in _CALLING_CODES or int(re.sub("[^0-9]", "", text)[:2]) in _CALLING_CODES
    )
    return len(raw) if known and 1 < len(ends) <= 6 and "\n" not in raw and 9 <= _count_digits(raw) <= 15 else 0


def _parses(raw: str, *, valid: bool) -> bool:
    plain = re.sub(r"\(0\)", "", raw)
    try:
        number = phonenumbers.parse("+" + re.sub(r"[^0-9]", "", plain), None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number) if valid else phonenumbers.is_possible_number(number)


# Of a repetition at a gate's end its least is enough; a number with a leading 0 has eight digits (`_is_trunk`).
_OPEN = r"(?:^|[^A-Za-z0-9_])"
_SHORT_PLUS = _PLUS.replace("{6,17}", "{6}")
_SHORT_ZEROS = _ZEROS.replace("{7,14}", "{7}")
_SHORT_TRUNK = r"\(?0[1-9](?:[ ./()-]{0,3}[0-9]){6}"
_SHORT_BRACKETS = r"\([0-9]{2,5}\)[ /-]{0,2}[0-9]{2,5}[ -]?[0-9]{2}"
_SHAPED = (_SHORT_ZEROS, _NANP, _SHORT_TRUNK, _SHORT_BRACKETS, _MOBILE, _RUSSIAN, _BRAZILIAN, _HUNGARIAN)
# Behind a cue, in its sentence (`find_phone_cue`); how far is left to the finder: a counter makes this twice as slow.
_BETWEEN = r"(?:[^!?;.]|[!?;.]+[^\s!?;.])*[!?;.]*"
_WORD_GOES_ON = r"(?:[^\x00-\x7F][A-Za-z\x{80}-\x{10FFFF}]*)?"  # a cue's own repetitions end with ASCII's letters
_CUED = rf"(?:{PHONE_CUE_START}{_WORD_GOES_ON}(?:[^A-Za-z]{_BETWEEN})?|(?:{UNSPACED_CUE})\.?{_BETWEEN}){_WEAK}"
_FOLLOWED = rf"[0-9](?:[ ().\t/-]{{0,3}}[0-9]){{7}}{_EXTENSION}{FOLLOWING}"  # such a cue is loose: eight digits
FINDERS = (
    Finder(
        "PHONE",
        (Gate((_SHORT_PLUS,), near=True), Gate((f"{_OPEN}(?:{unite(_SHAPED)})",), "numbers", near=True)),
        _find_shaped,
    ),
    Finder(
        "PHONE",
        (
            Gate((_WEAK, PHONE_CUE, _CUED), near=True),
            Gate((_WEAK, PHONE_CUE, _FOLLOWED), near=True),  # every word that follows is a cue, too
        ),
        _find_cued,
        beside=True,
    ),
)
