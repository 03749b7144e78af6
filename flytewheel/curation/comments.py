"""What people wrote about the answers, for the card: how many were content, and with what.

Sentiment is read from a small lexicon with negation ("not bad", "no complaints") and with what follows a "but" counting
more, as in VADER (Hutto and Gilbert, 2014); where the words say nothing, it is the sign of the vote. Themes are groups
of words; where at least 5 comments (and 1 % of them) share a pair of words of their own, that pair is a theme too,
unless it is written like a name. Examples are redacted and short.

A comment is data. One that tries to instruct whoever reads it (a judge, a curator) counts under a theme of its own, by
the sign of its vote, and is shown nowhere. Everything depends on the set of comments only, never on their order.

Each pattern is first searched in all texts at once by a wider one in Rust, then in Python where that one hit: 40 µs a
comment instead of 200.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from flytewheel.curation.comment_words import (
    INSTRUCTION,
    NEGATION,
    NEGATIVE,
    NEUTRAL_PAIRS,
    PHRASES,
    POSITIVE,
    STOP,
    THEMES,
)
from flytewheel.pii import redact

INSTRUCTS = "instructs the reader"

_MAX_CHARS = 2000  # of one comment; what somebody pastes behind that is no comment
_MAX_EXAMPLE = 160
_MAX_THEMES = 25
_MAX_PAIRS = 5
_MIN_PAIR = 5
_TOKEN = re.compile(r"[a-zà-öø-ÿß]+(?:['’-][a-zà-öø-ÿß]+)*|[\U0001F300-\U0001FAFF☹☺❌✅❤]|[:;]-?[()]", re.IGNORECASE)
_CLAUSE = re.compile(r"[.!?;,\n]|\b(?:but|however|though|although|until|except|aber|pero|mais)\b", re.IGNORECASE)
_BUT = re.compile(r"\b(?:but|however|until|except|aber|pero|mais)\b", re.IGNORECASE)

_PHRASES = tuple((re.compile(pattern), weight) for pattern, weight in PHRASES)
_THEMES = tuple((theme, re.compile(pattern)) for theme, pattern in THEMES)
_INSTRUCTION = re.compile(INSTRUCTION)
_COMMON = STOP | POSITIVE | NEGATIVE


def summarise_comments(comments: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """Counts sentiments and themes.

    Args:
        comments: text of each, and the sign of the vote that it came with (0: no vote).

    Returns:
        Plain JSON: `count` of the comments that hold text, `sentiment` (`positive`, `negative`, `neutral`), and
        `themes`, the most frequent first, each with its `count`, how many of these are `negative`, and a redacted
        `example`.
    """
    counted: Counter[tuple[str, int]] = Counter()
    for text, sign in comments:
        text = _normalise(text)
        if text:
            counted[text, (sign > 0) - (sign < 0)] += 1
    texts = sorted({text for text, _ in counted})
    lower = [text.lower() for text in texts]
    instructs = frozenset(_find(_INSTRUCTION, lower))
    phrases: dict[int, list[int]] = {}
    for number, (pattern, _) in enumerate(_PHRASES):
        for place in _find(pattern, lower):
            phrases.setdefault(place, []).append(number)
    moods = [_score(text, phrases.get(place, ())) for place, text in enumerate(lower)]
    by_text: list[Counter[int]] = [Counter() for _ in texts]
    places = {text: place for place, text in enumerate(texts)}
    for (text, sign), count in counted.items():
        place = places[text]
        by_text[place][sign if place in instructs else moods[place] or sign] += count
    themes = {theme: [place for place in _find(pattern, lower) if place not in instructs] for theme, pattern in _THEMES}
    themes |= _find_pairs(
        [() if place in instructs else _list_pairs(text) for place, text in enumerate(texts)], by_text
    )
    rows = [
        _describe(theme, found, by_text, _shorten(min((texts[place] for place in found), key=_rank_example)))
        for theme, found in themes.items()
        if found
    ]
    rows += [_describe(INSTRUCTS, sorted(instructs), by_text, None)] if instructs else []
    total: Counter[int] = Counter()
    for each in by_text:
        total.update(each)
    return {
        "count": total.total(),
        "sentiment": {"positive": total[1], "negative": total[-1], "neutral": total[0]},
        "themes": sorted(rows, key=lambda row: (-row["count"], row["theme"]))[:_MAX_THEMES],
    }


def read_sentiment(text: str) -> int:
    """Gives 1, -1, or 0 where the words say nothing or as much of one as of the other."""
    return _score(_normalise(text).lower(), range(len(_PHRASES)))


def widen_pattern(pattern: str) -> str:
    """Gives a pattern that hits wherever `pattern` does, in Rust's dialect.

    Looks around and edges of words are left out, and the classes on whose members Python and Rust differ hold all.
    """
    return re.sub(r"\\[wWd]", ".", re.sub(r"\(\?<?![^()]*\)|\\b", "", pattern))


def _find(pattern: re.Pattern[str], texts: Sequence[str]) -> list[int]:
    """The places of the texts in which a pattern is found."""
    hits = pl.Series(texts, dtype=pl.String).str.contains(widen_pattern(pattern.pattern)).arg_true()
    return [place for place in hits.to_list() if pattern.search(texts[place])]


def _find_pairs(pairs: Sequence[Collection[tuple[str, str]]], by_text: Sequence[Counter[int]]) -> dict[str, list[int]]:
    """The pairs of words that are frequent enough to be a theme, with the places of their texts."""
    seen: Counter[tuple[str, str]] = Counter()
    for found, moods in zip(pairs, by_text, strict=True):
        for pair in found:
            seen[pair] += moods.total()
    least = max(_MIN_PAIR, sum(moods.total() for moods in by_text) // 100)
    frequent = sorted((pair for pair, count in seen.items() if count >= least), key=lambda pair: (-seen[pair], pair))
    return {
        f"“{' '.join(pair)}”": [place for place, found in enumerate(pairs) if pair in found]
        for pair in frequent[:_MAX_PAIRS]
    }


def _describe(
    theme: str, places: Iterable[int], by_text: Sequence[Counter[int]], example: str | None
) -> dict[str, Any]:
    moods: Counter[int] = Counter()
    for place in places:
        moods.update(by_text[place])
    return {"theme": theme, "count": moods.total(), "negative": moods[-1], "example": example}


def _normalise(text: str) -> str:
    return " ".join(text[:_MAX_CHARS].replace("\x00", " ").encode("utf-8", "replace").decode().split())


def _score(text: str, phrases: Iterable[int]) -> int:
    total = 0.0
    for number in phrases:
        pattern, weight = _PHRASES[number]
        text, found = pattern.subn(" , ", text)
        total += weight if found else 0
    parts = _BUT.split(text)
    for place, part in enumerate(parts):
        total += _score_words(part) * (1.5 if place and place == len(parts) - 1 else 1.0)
    return (total > 0) - (total < 0)


def _score_words(text: str) -> float:
    total = 0.0
    for clause in _CLAUSE.split(text):
        words = _TOKEN.findall(clause.replace("’", "'"))
        negated = 0
        for place, word in enumerate(words):
            if word in NEGATION:
                negated = 4
                continue
            value = (word in POSITIVE) - (word in NEGATIVE)
            if value and (word, words[place + 1] if place + 1 < len(words) else "") not in NEUTRAL_PAIRS:
                if place and (words[place - 1], word) in NEUTRAL_PAIRS:
                    continue
                total += -value if negated else value
                negated = 0  # of "not like the rude tone" only the first is negated
                continue
            negated = max(0, negated - 1)
    return total


def _rank_example(text: str) -> tuple[int, str]:
    """A sentence of some words shows more than a word, and than a page."""
    return abs(len(text) - 60), text


def _shorten(text: str) -> str:
    found = redact(text)
    return found if len(found) <= _MAX_EXAMPLE else f"{found[:_MAX_EXAMPLE].rsplit(' ', 1)[0]} …"


def _list_pairs(text: str) -> set[tuple[str, str]]:
    """Pairs of neighbouring words that carry meaning. Words that are capitalised within a sentence may be a name."""
    words = re.findall(r"[^\W\d_]{3,}|\S+", text)
    return {
        (first, second)
        for first, second in pairwise(words)
        if first not in _COMMON and second not in _COMMON and (first + second).islower() and (first + second).isalpha()
    }
