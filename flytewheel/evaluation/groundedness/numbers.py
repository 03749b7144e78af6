"""The numbers of a text with everything that they may mean: digits in any grouping, words, percent, units, currencies.

Decides when two numbers are the same: their values are equal in the same dimension (`units`). Where only one of the two
has a unit, as in a table whose head names it, equal values do; where both have one, the dimensions must agree. `1.000`
is a thousand or one. A number shown as rounded ("about 3") is one that rounds to it at the place shown, within 5 %;
without such a word a rounded number is another number. Sums, differences and products are not support. Numbers that
count nothing are no claims: list markers, numbered steps, footnotes, the word one, `24/7`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from flytewheel.evaluation.groundedness.figure import About, Figure, Key
from flytewheel.evaluation.groundedness.language import STOP_WORDS
from flytewheel.evaluation.groundedness.number_words import HAN_NUMBER, ORDINALS, find_words, read_han
from flytewheel.evaluation.groundedness.units import AFTER, LETTER_SCALES, SIGNS, Unit, find_scale, find_units

_LATIN = r"A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff_"
_DIGITS = r"(?:\d{1,3}(?: \d{3})+(?:[.,]\d+)?(?![\d])|\d+(?:[.,']\d+)*|\.\d+)"
_NUMBER = re.compile(
    rf"(?P<phone>(?<![\w+])\+\d{{1,3}}(?:[ -]?\(?\d{{1,5}}\)?){{2,6}}(?!\d)"
    rf"|(?<![{_LATIN}\d.,/+-])(?:0\d{{1,4}}|\d{{2,5}}(?=[ -]\d{{4}}(?!\d)))(?:[ -]\d{{2,5}}){{2,6}}(?![\d.,/:-]\d|\d)"
    rf"|(?<![{_LATIN}\d.,/+-])\d{{2,4}}(?: \d{{2,4}}){{3,6}}(?![\d.,/:-]\d|\d))"
    rf"|(?<![{_LATIN}\d.,])(?P<sign>(?:US)?[$€£¥₹₩]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR)(?= ?\d))? ?"
    r"(?P<minus>(?<![^\s($€£:*])-)?"
    rf"(?P<whole>\d+ (?=\d/\d|\d\u2044))?(?P<digits>{_DIGITS})(?:(?P<slash>[/\u2044])(?P<under>\d{{1,4}})(?![\d/]))?"
    rf"(?P<ordinal>(?:st|nd|rd|th|er|ère|ème|e|º|ª)(?![{_LATIN}\d]))?"
)
_MARKER = re.compile(
    r"(?:^|[.!?:;)\n。]\s{0,4}|\*\*)[ \t]{0,40}(?:[>#*|_+-]{1,6}[ \t]{0,4}){0,3}"
    r"(?P<list>[(（]?\d{1,2}(?:[.)）、:](?=\s|\*|[^\x00-\x7f\d]|$)))"
    r"|(?<![^\W\d_])(?:step|schritt|étape|paso|步骤|第|ステップ|手順)[ #]?"
    r"(?P<step>\d{1,2}|[一二三四五六七八九十]{1,2})(?:步|[.):])?(?![\d%.])"
    r"|(?P<foot>\[\d{1,3}(?:, ?\d{1,3})*\])|(?<![\w/])(?P<always>24/7)(?![\w/])"
    r"|(?P<paren>[(（]\d{1,2}[)）](?=\s?[^\W\d_]))",
    re.IGNORECASE | re.MULTILINE,
)
_ABOUT = re.compile(
    r"(?:(?<![^\W\d_])(?:about|around|roughly|approximately|approx\.?|circa|ca\.?|nearly|almost|close to|just under|"
    r"just over|some|over|more than|less than|under|etwa|ungefähr|rund|knapp|gut|fast|zirka|über|mehr als|"
    r"environ|presque|près de|plus de|à peu près|autour de|unos|unas|alrededor de|aproximadamente|cerca de|casi|"
    r"más de)|[~≈约約]|大约|大約|およそ|近)[ ]?(?:USD |EUR |[$€£¥])?$",
    re.IGNORECASE,
)
_DISCOURSE = re.compile(
    r"\s?(?:steps?|things?|points?|options?|ways?|parts?|reasons?|items?|actions?|schritte?n?|dinge|punkte|optionen|"
    r"étapes|choses|points|façons|pasos|cosas|puntos|formas|步骤|点|つ)(?![^\W\d_])",
    re.IGNORECASE,
)
_PARTS = re.compile(
    r"[ -](?:quarters|fourths|thirds|halves|fifths|viertel|drittel|quarts|tiers|cuartos|tercios)", re.IGNORECASE
)
_DOTTED = re.compile(r"(\d{1,2})\.([0-5]\d)")
_BARE = (("any", 1.0),)
_CLOCK = frozenset(["h", "heure", "heures", "hora", "horas"])
_LONGEST = 15  # digits that a float holds; what is longer is compared as it is written


def find_numbers(text: str, language: str | None) -> Iterator[Figure]:
    """The numbers of `text` that are claims; for `language` see `number_words`, `None`: everything is found, markers
    too, as an offer."""
    markers = [] if language is None else list(_MARKER.finditer(text))
    skipped = {at for found in markers for name in found.groupdict() for at in range(*found.span(name)) if found[name]}
    for found in _NUMBER.finditer(text):
        if found.start("digits") in skipped or found.start() in skipped:
            continue
        if (figure := _read_number(text, found)) is not None:
            yield figure
    for start, end, values in _find_spelt(text, language):
        after = AFTER.match(text, end)
        units = find_units(after["unit"] or "") if after else ()
        stop = after.end("unit") if after and units else end
        counted = _find_counted(text, stop, units)
        yield _build(text, start, stop, sorted(map(float, values)), units, counts=True, counted=counted)


def _find_spelt(text: str, language: str | None) -> Iterator[tuple[int, int, frozenset[int]]]:
    for start, end, values in find_words(text, language):
        if language is None or values != frozenset((1,)):
            if language is not None and _PARTS.match(text, end):
                continue
            if language is not None and (text[end : end + 1] == "-" or text[max(0, start - 1) : start] == "-"):
                continue  # three-legged, twenty-something
            yield start, end, values
    yield from _find_ordinals(text, language)
    for found in HAN_NUMBER.finditer(text):
        value = read_han(found.group())
        if value is not None and (language is None or value > 1):
            yield found.start(), found.end(), frozenset((value,))


def _find_ordinals(text: str, language: str | None) -> Iterator[tuple[int, int, frozenset[int]]]:
    """Third to tenth inside a sentence; at its beginning or before a comma they order the talk."""
    names = ORDINALS.get(language or "", [])
    if not names:
        return
    pattern = rf"(?<=[^\W\d_] )(?:{'|'.join(names)})[rnsm]?(?= [^\W\d_])(?! part(?:y|ies))"
    for found in re.finditer(pattern, text, re.IGNORECASE):
        stem = next((at for at, name in enumerate(names) if found.group().lower().startswith(name)), None)
        if stem is not None:
            yield found.start(), found.end(), frozenset((3 + stem,))


def _read_number(text: str, found: re.Match[str]) -> Figure | None:
    if found["phone"]:
        pieces = re.findall(r"\d+", found["phone"])
        figure = _as_written(found.start(), found.end(), "".join(pieces))
        return replace(figure, offers=figure.offers | {("any", float(piece)) for piece in pieces})
    start, end, digits = found.start(), found.end(), found["digits"]
    if text[start : start + 1] == " ":
        start += 1
    readings = parse_digits(digits)
    if not readings:
        return _as_written(start, end, digits if "." in digits else "".join(filter(str.isdecimal, digits)))
    step = _find_step(digits)
    values = list(readings)
    if found["slash"]:
        under = float(found["under"])
        pieces = [*readings, under]
        values = [reading / under for reading in readings] if under else []
        if found["whole"]:
            values = [float(found["whole"]) + value for value in values]
        else:
            return _build_fraction(text, start, end, values, pieces)
    if found["minus"]:
        values = [-value for value in values]
    if found["ordinal"]:
        return _build(text, start, end, values, ())
    after = AFTER.match(text, end)
    scale, sign, unit = (after["scale"], after["sign"], after["unit"]) if after else (None, None, None)
    units = _name_units(found["sign"], sign, unit)
    if found["sign"] and unit and unit.strip() == "m" and not scale:
        scale, unit = "M", None
    if scale:
        values = [value * find_scale(scale) for value in values]
        step *= find_scale(scale)
    stop = end
    if after is not None:
        stop = max(end, *(after.end(name) for name in ("scale", "sign", "unit") if after[name]), end)
    if stop < len(text) and re.match(rf"[{_LATIN}]", text[stop]) and re.match(rf"[{_LATIN}\d]", text[stop - 1]):
        return None  # a part of a longer word, which `identifiers` knows
    figure = _build(text, start, stop, values, units, step=step, counted=_find_counted(text, stop, units))
    if scale in LETTER_SCALES:  # 12.3k is shown as rounded
        about = (About(name, value * factor, step * factor / 2) for value in values for name, factor in units or _BARE)
        figure = replace(figure, about=(*figure.about, *about))
    if not units and (clock := _DOTTED.fullmatch(digits)):  # 8.30 of a clock
        figure = replace(figure, wants=(*figure.wants, (("written", int(clock[1]), int(clock[2]), 0),)))
    if digits.isdecimal() and len(digits) > 6:  # a telephone's, which is often written in groups
        figure = replace(figure, wants=(*figure.wants, (("written", digits),)))
    more = _join_duration(text, figure, values, units)
    if (
        more is None
        and unit
        and unit.strip().lower() in _CLOCK
        and values[0] == int(values[0])
        and 0 <= values[0] <= 24
    ):
        key: Key = ("time", int(values[0]), 0, 0)  # à 7 h
        figure = replace(figure, offers=figure.offers | {key}, wants=(*figure.wants, (key,)))
    return more or figure


def _name_units(before: str | None, after: str | None, unit: str | None) -> tuple[Unit, ...]:
    for sign in (before, (after or "").strip()):
        if sign:
            return ((SIGNS.get(sign, "USD"), 1.0),)
    return find_units(unit) if unit else ()


def _join_duration(text: str, first: Figure, values: list[float], units: tuple[Unit, ...]) -> Figure | None:
    """`1 h 30 min`, `1 hour and 30 minutes`: one duration, if the second part is of smaller units."""
    times = [factor for dimension, factor in units if dimension == "time"]
    found = re.compile(r",? ?(?:and |und |et |y )?(\d{1,2})(?=[ -]?[a-zµ])", re.IGNORECASE).match(text, first.end)
    if not times or not values or found is None:
        return None
    after = AFTER.match(text, found.end())
    rest = [factor for dimension, factor in find_units((after and after["unit"]) or "") if dimension == "time"]
    if after is None or not rest or max(rest) >= max(times):
        return None
    total = values[0] * max(times) + float(found[1]) * max(rest)
    return _build(text, first.start, after.end("unit"), [total / max(times)], (("time", max(times)),))


def _build_fraction(text: str, start: int, end: int, values: list[float], pieces: list[float]) -> Figure:
    """`3/4`: three quarters, three of four, or a day of a month."""
    figure = _build(text, start, end, values, ())
    keys: set[Key] = {(kind, piece) for piece in pieces for kind in ("any", "none")}
    month, day = int(min(pieces[0], 99)), int(min(pieces[-1], 99))
    dates: set[Key] = {
        (kind, *pair) for pair in ((month, day), (day, month)) if pair[0] <= 12 for kind in ("day", "undated")
    }
    wants = tuple((key,) for key in sorted(dates, key=str) if key[0] == "day")
    both = (("any", pieces[0]), ("any", pieces[-1]))
    return Figure(start, end, figure.offers | keys | dates, (*figure.wants, *wants, both))


def _as_written(start: int, end: int, digits: str) -> Figure:
    key: Key = ("written", digits)
    return Figure(start, end, frozenset((key,)), ((key,),))


def _build(
    text: str,
    start: int,
    end: int,
    values: list[float],
    units: tuple[Unit, ...],
    *,
    step: float = 1.0,
    counts: bool = False,
    counted: tuple[Unit, ...] | None = None,
) -> Figure:
    offers: set[Key] = set()
    wants: list[tuple[Key, ...]] = []
    about: list[About] = []
    rounded = _ABOUT.search(text[max(0, start - 24) : start]) is not None
    for value in values:
        value = _cut(value)
        offers.add(("any", value))
        if not units:
            if counted is None:
                offers.add(("none", value))
            offers |= {(dimension, _convert(value, factor, dimension)) for dimension, factor in counted or ()}
            wants.append((("any", value),))
        else:
            offers |= {(dimension, _convert(value, factor, dimension)) for dimension, factor in units}
            wants += [((dimension, _convert(value, factor, dimension)),) for dimension, factor in units]
            wants.append((("none", value),))
        if counts or (not units and 2 <= value <= 20):
            wants.append((("listed", value),))
        if rounded:
            about += [About(name, _cut(value * factor), step * factor) for name, factor in (units or (("any", 1.0),))]
            about.append(About("none", value, step))
    return Figure(start, end, frozenset(offers), tuple(wants), tuple(about))


_NEXT = re.compile(r"[ ]([^\W\d_]+)")
_PERIODS = re.compile(r"(tage|stunde|minute|monate|woche|jahre|sekunde)n?$")


def _find_counted(text: str, end: int, units: tuple[Unit, ...]) -> tuple[Unit, ...] | None:
    """The unit of what a number without one counts (`3 business days`, `6 to 8 hours`), nothing in particular (`3
    seats`: an empty tuple), or `None` where no noun follows, as in a table."""
    found = _NEXT.match(text, end)
    if units or found is None:
        return None
    for at, word in enumerate(re.findall(r"[^\W\d_]+|[.,;:!?]", text[end : end + 40])[:4]):
        if not word[0].isalpha():
            break
        ending = _PERIODS.search(word.lower()) if at < 2 else None
        if meant := find_units(ending.group() if ending else word) if len(word) > 1 else ():
            return meant
    return None if found[1].lower() in STOP_WORDS or not found[1].islower() else ()


def _convert(value: float, factor: float, dimension: str) -> Key | float:
    if dimension == "fahrenheit":
        return _cut(value)
    return _cut(value * factor)


def _cut(value: float) -> float:
    """Ten digits, so that `90 * 60` is `1.5 * 3600`; whole numbers as they are."""
    return value if value.is_integer() else float(f"{value:.10g}")


def _find_step(digits: str) -> float:
    """The last place that is shown: 0.01 of `2.97`, 1,000 of `3,000`."""
    places = re.search(r"[.,](\d+)$", digits)
    if places and len(places[1]) != 3:
        return float(10.0 ** -min(len(places[1]), 30))
    bare = re.sub(r"\D", "", digits)[:_LONGEST]
    return float(10 ** (len(bare) - len(bare.rstrip("0")))) if bare.strip("0") else 1.0


def parse_digits(digits: str) -> list[float]:
    """What a number written in digits may be worth; nothing for what is no number, such as `1.2.3`."""
    if sum(map(str.isdecimal, digits)) > _LONGEST:
        return []
    bare = digits.replace("'", "").replace(" ", "")
    marks = [letter for letter in bare if letter in ".,"]
    grouped = re.sub("[.,]", "", bare)
    if not marks:
        texts = [bare]
    elif len(set(marks)) == 2:
        last = max(bare.rfind("."), bare.rfind(","))
        if marks.count(bare[last]) > 1:
            return []
        texts = [re.sub("[.,]", "", bare[:last]) + "." + bare[last + 1 :]]
    else:
        parts = bare.split(marks[0])
        groups = all(len(part) == 3 for part in parts[1:]) and 1 <= len(parts[0]) <= 3 and parts[0] != "0"
        indian = marks[0] == "," and len(parts[-1]) == 3 and all(len(part) == 2 for part in parts[1:-1])
        if len(marks) > 1:
            texts = [grouped] if groups or indian else []
        else:
            texts = [grouped] if groups else []
            if not groups or parts[1][-1] != "0":  # nobody writes 1.200 for 1.2
                texts.append(".".join(parts))
    try:
        return [float(Decimal(text if text[0] != "." else "0" + text)) for text in texts]
    except (InvalidOperation, ValueError):
        return []


def is_talk(text: str, figure: Figure, listed: frozenset[int]) -> bool:
    """Whether a number says how many items the text itself lists: "three steps:" over three of them."""
    values = {key[1] for key in figure.offers if key[0] == "any"}
    return bool(values & listed) and _DISCOURSE.match(text, figure.end) is not None


_ITEM = re.compile(r"^[ \t]*(?:[*+-]|\(?\d{1,2}[.)])[ \t]+\S", re.MULTILINE)


def count_items(text: str) -> frozenset[int]:
    """How many items each list of a text has, bulleted or numbered."""
    counts: set[int] = set()
    run = 0
    for line in [*text.split("\n"), "."]:
        if _ITEM.match(line):
            run += 1
        elif line.strip() and not line.startswith(" "):
            if run:
                counts.add(run)
            run = 0
    return frozenset(counts)
