"""How long a person needs to read an answer: characters by the language's speed.

Speeds are characters a minute of the International Reading Speed Texts (Trauzettel-Klosinski and Dietz 2012,
Investigative Ophthalmology & Visual Science 53(9), table 2): 17 languages, texts of the same difficulty in each, read
aloud. Aloud is slower than silent by some 20 % (Brysbaert 2019), which stands for the eye's way to the answer.
Characters rather than words: an agglutinating language has long words, and Chinese and Japanese have no spaces. Their
characters are counted apart, so that a mixed text takes what both parts take.
"""

from __future__ import annotations

import math
from types import MappingProxyType

CHARACTERS_A_MINUTE = MappingProxyType(
    {
        "ar": 612,
        "de": 920,
        "en": 987,
        "es": 1025,
        "fi": 1078,
        "fr": 998,
        "he": 833,
        "it": 950,
        "nl": 978,
        "pl": 916,
        "pt": 913,
        "ru": 986,
        "sl": 885,
        "sv": 917,
        "tr": 1054,
    }
)
WIDE_A_MINUTE = MappingProxyType({"zh": 255, "ja": 357})
OTHER = 930  # mean of the 15 that are written in letters
OTHER_WIDE = 306  # mean of both; Korean's syllables, which the study lacks, are read about as fast
SHORTEST_MS = 1_000  # finding the answer and seeing that it is a short one


def expect_reading_ms(characters: int, wide: int, language: str | None) -> int:
    """Milliseconds that reading a text takes.

    Args:
        characters: of the whole text.
        wide: how many of them are Han, kana or Hangul.
        language: a BCP 47 tag such as `de` or `pt-BR`; only its first part counts, an unknown one reads at the mean.
    """
    tag = (language or "").partition("-")[0].lower()
    narrow = max(0, characters - wide)
    minutes = narrow / CHARACTERS_A_MINUTE.get(tag, OTHER) + wide / WIDE_A_MINUTE.get(tag, OTHER_WIDE)
    return max(SHORTEST_MS, math.ceil(60_000 * minutes))
