"""What a number, date or time may mean, as keys: what it *offers* where it stands in a context, and what it *wants*
where it stands in an answer.

A claim is supported when all keys of one of its alternatives are offered. `2:30` in a context offers the time 2:30 and
"written 2:30"; `14:30` wants 14:30 or, from a clock with am and pm, `2:30 pm`, which offers 14:30 as well. Whatever is
added to a context only adds keys, so support never vanishes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

Key = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class About:
    """A number shown as rounded: `value` in units of `dimension`, `step` the last place that is shown."""

    dimension: str
    value: float
    step: float

    def fits(self, exact: float) -> bool:
        """Whether it is `exact` rounded to the place shown, up or down, and within 5 % of it."""
        return abs(exact - self.value) < self.step and abs(exact - self.value) <= 0.05 * abs(exact)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, date or time at `start:end` of a view."""

    start: int
    end: int
    offers: frozenset[Key]
    wants: tuple[tuple[Key, ...], ...]
    about: tuple[About, ...] = ()
