"""Dates and times of day in a text, in five languages, with everything that they may mean.

`3/4/2026` is the third of April or the fourth of March: either may be the context's. A date without a year is
supported by one with a year, the other way round the year must stand there, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flytewheel.evaluation.groundedness.figure import Figure, Key

_MONTHS = (
    "january jan januar jänner janvier janv enero ene", "february feb februar février févr febrero",
    "march mar märz mrz mars marzo", "april apr avril avr abril abr", "may mai mayo", "june jun juni juin junio",
    "july jul juli juillet juil julio", "august aug août agosto ago", "september sep sept septembre septiembre",
    "october oct oktober okt octobre octubre", "november nov novembre noviembre", "december dec dezember dez "
    "décembre déc diciembre dic",
)  # fmt: skip
MONTHS = {name: at + 1 for at, names in enumerate(_MONTHS) for name in names.split()}
_DAYS = (
    "monday mondays montag montags lundi lunes 星期一 周一 月曜日 月曜",
    "tuesday tuesdays dienstag dienstags mardi martes 星期二 周二 火曜日 火曜",
    "wednesday wednesdays mittwoch mittwochs mercredi miércoles 星期三 周三 水曜日 水曜",
    "thursday thursdays donnerstag donnerstags jeudi jueves 星期四 周四 木曜日 木曜",
    "friday fridays freitag freitags vendredi viernes 星期五 周五 金曜日 金曜",
    "saturday saturdays samstag samstags sonnabend samedi sábado sábados 星期六 周六 土曜日 土曜",
    "sunday sundays sonntag sonntags dimanche domingo domingos 星期日 星期天 周日 日曜日 日曜",
)
DAYS = {name: at for at, names in enumerate(_DAYS) for name in names.split()}
_FULL_MONTHS = frozenset(name for name in MONTHS if len(name) > 4) - {"march", "april", "marzo"}
_MONTH = "(?P<month>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")(?![^\W\d_])"
_LEFT, _RIGHT = r"(?<![A-Za-z0-9_.,/:-])", r"(?![A-Za-z0-9_/:-])(?![.,]\d)"
_HALF = r"(?P<half>[ap]m\b|[ap]\.m\.)"
_IN = r"(?<=in |im |en )"
_SHORT_MONTHS = "March|April|May|März|mars|mai|mayo|marzo|abril|Juni|juin|Juli|July|June"
_SPACED_DAYS = "|".join(name for name in DAYS if name.isascii() or name[0] in "ms")
_SHORT_DAYS = ("Mon", "Tues?", "Wed", "Thu(?:rs?)?", "Fri", "Sat", "Sun")
_SHORT_DAY = re.compile(rf"(?<![^\W\d_])({'|'.join(_SHORT_DAYS)})(?=\.|,|\)| ?-| \d|$)", re.MULTILINE)
_HAN_DAYS = "|".join(sorted((name for name in DAYS if ord(name[0]) > 0x2E80), key=len, reverse=True))
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|º|°|\.)?"
_DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_LEFT}(?P<year>\d{{4}})(?P<cut>[-/.])(?P<month>\d{{1,2}})(?P=cut)(?P<day>\d{{1,2}})(?=T\d|[^\w/-]|$)",
        rf"{_LEFT}(?P<one>\d{{1,2}})(?P<cut>[./-])(?P<two>\d{{1,2}})(?P=cut)(?P<year>\d{{4}}|\d{{2}}){_RIGHT}",
        rf"{_LEFT}(?P<day>\d{{1,2}})\.(?P<month>0?[1-9]|1[0-2])\.(?=[ ,;)\n]|$)",
        rf"{_LEFT}{_DAY}(?= ?(?:-|to|bis|al|au|and|und|et|y) ?\d{{1,2}}(?:st|nd|rd|th|\.)? (?:of |de )?{_MONTH})",
        rf"(?<![A-Za-z0-9_.,/:]){_DAY}\s{{1,2}}(?:of |de )?{_MONTH}\.?(?:,?\s(?:de |del )?(?P<year>\d{{4}})(?!\d))?",
        rf"(?<![^\W\d_]){_MONTH}\.?\s(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![A-Za-z0-9_:%])(?!\.\d)"
        r"(?:,?\s(?P<year>\d{4})(?!\d))?",
        rf"(?<![^\W\d_]){_MONTH}\.?,?\s(?:de |del |of )?(?P<year>\d{{4}})(?!\d)",
        r"(?:(?P<year>\d{4})年)?(?P<month>\d{1,2})月(?:(?P<day>\d{1,2})[日号])?",
        r"(?P<year>\d{4})年",
        rf"(?<![^\W\d_])(?P<month>{'|'.join(sorted(_FULL_MONTHS, key=len, reverse=True))})(?![^\W\d_])",
        rf"(?<![^\W\d_]){_IN}(?P<month>{_SHORT_MONTHS})(?![^\W\d_])",
        rf"(?<![^\W\d_])(?P<weekday>{_SPACED_DAYS})(?![^\W\d_])|(?P<han>{_HAN_DAYS})",
    )
]  # fmt: skip
_TIMES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<![A-Za-z0-9_.,/-])(?P<h>\d{1,2})(?::| ?h ?)(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?"
        rf"(?: ?{_HALF}| ?Uhr\b)?(?![A-Za-z0-9_:])(?![.,]\d)(?! ?(?:min|m\b))",
        rf"(?<![A-Za-z0-9_.,/])(?P<h>\d{{1,2}})\.(?P<m>[0-5]\d) ?(?:{_HALF}|Uhr\b)",
        rf"(?<![A-Za-z0-9_.,/:])(?P<h>\d{{1,2}}) ?(?:{_HALF}|Uhr\b|o'clock)",
        r"(?P<half>上午|下午|午前|午後|晚上)?(?P<h>\d{1,2})[点點時时](?!間)(?:(?P<m>\d{1,2})分|(?P<semi>半))?",
        r"(?<=T)(?P<h>\d{2}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?:Z|[+-]\d{2}:?\d{2})?(?!\w)",
    )
]
_LATER = {"pm", "p.m.", "下午", "午後", "晚上"}


def find_times(text: str) -> Iterator[Figure]:
    """Dates and times of day, those that were found first taking precedence; they may overlap."""
    for pattern in _TIMES:
        for found in pattern.finditer(text):
            if (keys := _read_time(found.groupdict())) is not None:
                yield Figure(found.start(), found.end(), keys, _want_time(found.groupdict(), keys))
    for found in _SHORT_DAY.finditer(text):
        day = next(at for at, name in enumerate(_SHORT_DAYS) if re.fullmatch(name, found[1]))
        yield Figure(*found.span(), frozenset([("weekday", day)]), ((("weekday", day),),))
    for pattern in _DATES:
        for found in pattern.finditer(text):
            readings = _read_date(found.groupdict())
            if readings and found.groupdict().get("month") not in {"may", "march"}:  # verbs
                offers = frozenset(key for reading in readings for key in _offer_date(*reading))
                wants = tuple(want for reading in readings for want in _want_date(*reading))
                if re.fullmatch(r"\d+\.\d+\.", found.group()):  # the first of January, or 1.1 at the end of a sentence
                    wants += ((("any", float(found.group()[:-1])),), (("written", found.group()[:-1]),))
                    offers |= {("any", float(found.group()[:-1])), ("none", float(found.group()[:-1]))}
                end = found.end() - (found.group()[-1] == "." and found.group()[-2].isalpha())
                yield Figure(found.start(), end, offers, wants)


def _read_time(parts: dict[str, str | None]) -> frozenset[Key] | None:
    hour, minute, second = (int(parts.get(name) or 0) for name in "hms")
    if parts.get("semi"):
        minute = 30
    half = (parts.get("half") or "").lower()
    if hour > 24 or minute > 59 or (half.isascii() and half and not 1 <= hour <= 12):
        return None
    written: Key = ("written", hour, minute, second)
    if half:
        hour = hour % 12 + (12 if half in _LATER else 0)
    keys = {written, ("time", hour, minute, second)}
    if second:
        keys.add(("time", hour, minute, 0))
    return frozenset(keys)


def _want_time(parts: dict[str, str | None], keys: frozenset[Key]) -> tuple[tuple[Key, ...], ...]:
    second = int(parts.get("s") or 0)
    wanted = [key for key in keys if key[3] == second and (key[0] == "time" or not parts.get("half"))]
    hours = [key[1] for key in wanted if key[0] == "time" and not key[2]]
    bare = tuple((("none", float(hour)),) for hour in hours if isinstance(hour, int) and not parts.get("m"))
    return (*((key,) for key in sorted(wanted, key=str)), *bare)


def _read_date(parts: dict[str, str | None]) -> list[tuple[int | None, int | None, int | None, int | None]]:
    """Readings as (year, month, day, weekday)."""
    if (name := parts.get("weekday") or parts.get("han")) is not None:
        return [(None, None, None, DAYS[name.lower()])] if name.lower() in DAYS else []
    year = int(written) if (written := parts.get("year")) else None
    if year is not None and year < 100:
        year += 2000
    pairs: list[tuple[int | None, int | None]]
    if parts.get("one"):
        one, two = int(parts["one"] or 0), int(parts["two"] or 0)
        pairs = [(two, one)] if parts["cut"] == "." else [(two, one), (one, two)]
    else:
        month = parts.get("month")
        day = int(written) if (written := parts.get("day")) else None
        number = None if month is None else int(month) if month.isdecimal() else MONTHS.get(month.lower(), 0)
        pairs = [(number, day)]  # "aprıl" matches without case and is no month: 0 is none
    return [
        (year, month, day, None)
        for month, day in dict.fromkeys(pairs)
        if (month is None or 1 <= month <= 12) and (day is None or 1 <= day <= 31)
    ]


def _offer_date(year: int | None, month: int | None, day: int | None, weekday: int | None) -> Iterator[Key]:
    if weekday is not None:
        yield "weekday", weekday
    if month is not None:
        yield "month", month
        if day is not None:
            yield "day", month, day
            yield ("date", year, month, day) if year is not None else ("undated", month, day)
        if year is not None:
            yield "year month", year, month
        elif day is None:
            yield "undated", month, None
    if year is not None:
        yield "any", float(year)
        yield "none", float(year)


def _want_date(year: int | None, month: int | None, day: int | None, weekday: int | None) -> Iterator[tuple[Key, ...]]:
    if weekday is not None:
        yield (("weekday", weekday),)
    elif month is None:
        yield (("any", float(year or 0)),)
    elif year is None:
        yield (("month", month),) if day is None else (("day", month, day),)
    elif day is None:
        yield (("year month", year, month),)
        yield ("undated", month, None), ("any", float(year))
    else:
        yield (("date", year, month, day),)
        yield ("undated", month, day), ("any", float(year))
