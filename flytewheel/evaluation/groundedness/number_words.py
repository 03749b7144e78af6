"""Numbers written as words, 0 to 99 and round hundreds and thousands, in English, German, French and Spanish; and
Chinese and Japanese numerals up to 99.

One is left out: it is an article in three of the languages, and a pronoun in all. Words that are more often something
else (`neuf`, new; `once`, one time) count only in their own language, which `language` tells.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import product

from flytewheel.evaluation.groundedness.wording import words

_EN = words("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
       "seventeen eighteen nineteen")  # fmt: skip
_EN_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
_DE = words("null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
       "siebzehn achtzehn neunzehn")  # fmt: skip
_DE_TENS = words("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
_FR = words("zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept "
       "dix-huit dix-neuf")  # fmt: skip
_FR_TENS = ("vingt", "trente", "quarante", "cinquante", "soixante")
_ES = words("cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis "
       "diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis "
       "veintisiete veintiocho veintinueve")  # fmt: skip
_ES_TENS = words("treinta cuarenta cincuenta sesenta setenta ochenta noventa")
_ES_HUNDREDS = words("doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos "
                "novecientos")  # fmt: skip
ORDINALS = {
    "en": words("third fourth fifth sixth seventh eighth ninth tenth"),
    "de": words("dritte vierte fünfte sechste siebte achte neunte zehnte"),
    "fr": words("troisième quatrième cinquième sixième septième huitième neuvième dixième"),
    "es": [],
}
LONGEST = 4  # words
_HAN = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "兩": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8,
        "九": 9}  # fmt: skip
HAN_NUMBER = re.compile(
    "[一二两兩三四五六七八九十]{1,3}(?=[个個天小分秒次年月周週人名円元度つ回日台本枚件点點倍时時种種步条條項项位])"
)


def _list_english() -> Iterator[tuple[str, int]]:
    yield from zip(_EN, range(20), strict=True)
    for ten, one in product(range(8), range(10)):
        for gap in "- ":
            yield _EN_TENS[ten] + (gap + _EN[one] if one else ""), 20 + 10 * ten + one
    yield from (("a dozen", 12), ("dozen", 12), ("a hundred", 100), ("hundred", 100), ("a thousand", 1000))


def _list_german() -> Iterator[tuple[str, int]]:
    yield from zip(_DE, range(20), strict=True)
    for ten, one in product(range(8), range(10)):
        yield (_DE[one] + "und" if one else "") + _DE_TENS[ten], 20 + 10 * ten + one
    yield from (("hundert", 100), ("einhundert", 100), ("tausend", 1000), ("dutzend", 12))


def _list_french() -> Iterator[tuple[str, int]]:
    yield from zip(_FR, range(20), strict=True)
    for ten, name in enumerate(_FR_TENS):
        yield name, 20 + 10 * ten
        yield f"{name} et un", 21 + 10 * ten
        yield from ((f"{name}-{_FR[one]}", 20 + 10 * ten + one) for one in range(2, 10))
    yield from ((f"soixante-{_FR[one]}", 60 + one) for one in range(10, 20))
    yield "quatre-vingts", 80
    yield from ((f"quatre-vingt-{_FR[one]}", 80 + one) for one in range(1, 20))
    yield from (("cent", 100), ("mille", 1000), ("douzaine", 12))


def _list_spanish() -> Iterator[tuple[str, int]]:
    yield from zip(_ES, range(30), strict=True)
    for ten, one in product(range(7), range(10)):
        yield _ES_TENS[ten] + (f" y {_ES[one]}" if one else ""), 30 + 10 * ten + one
    yield from ((name, 200 + 100 * at) for at, name in enumerate(_ES_HUNDREDS))
    yield from (("cien", 100), ("mil", 1000), ("docena", 12))


def _multiply(words: dict[str, int], hundred: str, thousand: str, gap: str) -> dict[str, int]:
    rounds = {f"{word}{gap}{hundred}": 100 * value for word, value in words.items() if 2 <= value <= 9}
    return (
        words | rounds | {f"{word}{gap}{thousand}": 1000 * value for word, value in words.items() if 2 <= value < 100}
    )


WORDS: dict[str, dict[str, int]] = {
    "en": _multiply(dict(_list_english()), "hundred", "thousand", " "),
    "de": _multiply(dict(_list_german()), "hundert", "tausend", ""),
    "fr": _multiply(dict(_list_french()), "cents", "mille", " "),
    "es": _multiply(dict(_list_spanish()), "cientos", "mil", " "),
}
ANY: dict[str, frozenset[int]] = {}
_all: dict[str, set[int]] = defaultdict(set)
for _words in WORDS.values():
    for _word, _value in _words.items():
        _all[_word].add(_value)
for _names in ORDINALS.values():
    for _at, _word in enumerate(_names):
        _all[_word].add(3 + _at)
        _all[_word + "r"].add(3 + _at)
        _all[_word + "n"].add(3 + _at)
for _word, _value in (("first", 1), ("second", 2), ("erste", 1), ("ersten", 1), ("zweite", 2), ("zweiten", 2),
                      ("premier", 1), ("deuxième", 2), ("primero", 1), ("segundo", 2), ("eins", 1), ("eine", 1),
                      ("einen", 1), ("einer", 1), ("une", 1), ("una", 1), ("once", 1), ("twice", 2), ("both", 2),
                      ("single", 1)):  # fmt: skip
    _all[_word].add(_value)
ANY = {word: frozenset(values) for word, values in _all.items()}
_TOKEN = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def find_words(text: str, language: str | None) -> Iterator[tuple[int, int, frozenset[int]]]:
    """Start, end and what it may be worth of each number word, the longest that there is; `None`: of any language."""
    lexicon = ANY if language is None else WORDS[language]
    tokens = [(found.start(), found.end()) for found in _TOKEN.finditer(text)]
    lower = text.lower() if len(text.lower()) == len(text) else text
    at = 0
    while at < len(tokens):
        for count in range(min(LONGEST, len(tokens) - at), 0, -1):
            start, end = tokens[at][0], tokens[at + count - 1][1]
            value = lexicon.get(lower[start:end]) if end - start <= 40 else None
            if value is not None:
                yield start, end, value if isinstance(value, frozenset) else frozenset((value,))
                at += count - 1
                break
        at += 1


def read_han(text: str) -> int | None:
    """The value of a Chinese or Japanese numeral up to 99."""
    if "十" not in text:
        return _HAN.get(text) if len(text) == 1 else None
    tens, _, ones = text.partition("十")
    if len(tens) > 1 or len(ones) > 1 or "十" in ones:
        return None
    return 10 * (_HAN[tens] if tens else 1) + (_HAN[ones] if ones else 0)
