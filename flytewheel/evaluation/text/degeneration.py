"""Whether an answer degenerated: empty, or caught in a loop (Holtzman et al. 2020, "neural text degeneration")."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_LONGEST_PERIOD = 20


def is_degenerate(answer: str) -> bool:
    """Whether an answer is empty or caught in a loop (Holtzman et al. 2020, "neural text degeneration").

    A loop is a phrase of up to 20 words said four times or more in a row and filling at least eight words, or, for text
    without spaces, up to 20 characters repeated over at least 120, unless they hold no letter or digit (a ruled line is
    fine).
    """
    words = answer.split()
    if not words:
        return True
    if _find_loop(words, least=8) is not None:
        return True
    compact = "".join(words)
    loop = _find_loop(list(compact), least=120)
    return loop is not None and any(character.isalnum() for character in loop)


def _find_loop(items: Sequence[str], *, least: int, repeats: int = 4) -> Sequence[str] | None:
    """Gives the items of the first run that repeats with some period, or nothing."""
    for period in range(1, min(_LONGEST_PERIOD, len(items) // repeats) + 1):
        needed = max(least, repeats * period) - period
        equal = [first == second for first, second in zip(items, items[period:], strict=False)]
        breaks = [-1, *(index for index, same in enumerate(equal) if not same), len(equal)]
        for before, after in pairwise(breaks):
            if after - before - 1 >= needed:
                return items[before + 1 : before + 1 + period]
    return None
