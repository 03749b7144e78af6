"""Searches with patterns that are other people's: none may hang an evaluation.

Decides for the `regex` library: it searches with a deadline, which neither `re` nor a thread around it can, and costs
no process. What takes longer than that counts as not found. Nested repetitions are unrolled when a pattern is compiled
(`(?:a{99999}){99999}` took all memory of the machine), so the product of a pattern's counts is bounded before.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import regex

SEARCH_S = 2.0  # usual searches take microseconds; seconds, as the machine may be busy
MAX_LETTERS = 2_000
MAX_REPEATS = 10_000

_COUNT = regex.compile(r"\{(?:[^{}]*?<=)?\s*(\d*)\s*(?:,\s*(\d*)\s*)?[^{}]*\}")


class PatternError(ValueError):
    """A pattern that cannot be used, and why."""


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str, *, ignore_case: bool = False) -> Any:
    """Compiles a pattern.

    Raises:
        PatternError: it is not a regular expression, too long, or repeats too often.
    """
    if len(pattern) > MAX_LETTERS:
        raise PatternError(f"it has {len(pattern):,} letters, at most {MAX_LETTERS:,} are searched for")
    found = [max((int(count) for count in counts if count), default=1) for counts in _COUNT.findall(pattern)]
    if math.prod(max(count, 1) for count in found) > MAX_REPEATS:
        raise PatternError(f"its counts multiply to more than {MAX_REPEATS:,} repetitions")
    try:
        return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        raise PatternError(" ".join(str(error).split())) from None


def search(pattern: str, text: str, *, ignore_case: bool = False, deadline_s: float = SEARCH_S) -> bool:
    """Whether `pattern` is found in `text`.

    Raises:
        PatternError: see `compile_pattern`.
        TimeoutError: it takes longer than `deadline_s`.
    """
    compiled = compile_pattern(pattern, ignore_case=ignore_case)
    return compiled.search(text, timeout=deadline_s) is not None
