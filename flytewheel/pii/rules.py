"""What a rule is: a portable core, guards around it, a check on every hit, and the gate that follows from the core.

The core is a regular expression without look-around that means the same to Python's `re` and to Rust's `regex`; it
alone is the gate. What a rule finds is matched by its core first, so that a gate can let through too much, never too
little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

Span = tuple[int, int]

# No letter or digit beside it; an underscore may be Markdown's, unless a name goes on behind it.
START = r"(?<![A-Za-z0-9])(?<![A-Za-z0-9]_)"
END = r"(?![A-Za-z0-9])(?!_[A-Za-z0-9])"


DIGIT = "[0-9]"
NEAR = "[0-9](?:[^0-9]{0,4}[0-9]){5}"  # six digits near each other
_DIGIT = re.compile(DIGIT)


class Gate(NamedTuple):
    """Expressions that all match a text wherever something may be found in it, the cheapest first.

    `screen`: gates that share one are asked together first, in one pass over the texts. Those of "keys" begin with
    fixed letters; more in one screen than are now outgrow the cache of Rust's `regex` (10 to 100 times slower).
    `near`: the rules behind it look only into zones.
    """

    parts: tuple[str, ...]
    screen: str = ""
    near: bool = False


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds one kind of thing. It may find something only where one of the `gates` lets a text through.

    `digits`: and only in a text that holds an ASCII digit. `beside`: of no lower rank than the one before it, if that
    is of the same kind.
    """

    kind: str
    gates: tuple[Gate, ...]
    search: Callable[[str], Iterator[Span]]
    digits: bool = True
    beside: bool = False

    def find(self, view: str) -> Iterator[Span]:
        """The spans of what this finder takes for its kind in a text as `view` shows it."""
        return iter(()) if self.digits and not _DIGIT.search(view) else self.search(view)


def compile_rule(core: str, before: str = START, after: str = END) -> re.Pattern[str]:
    """The core between its guards; classes and case are ASCII's, as in the view."""
    return re.compile(f"{before}(?:{core}){after}", re.ASCII)


def lead(core: str) -> str:
    """The core for a gate where no letter or digit stands before it, as `START` wants it."""
    return f"(?:^|[^A-Za-z0-9])(?:{core})"


_NUMBERED = re.compile(NEAR.replace("{5}", "{5,}"))


@lru_cache(maxsize=4)  # three finders ask for a view's one after the other
def find_zones(view: str) -> tuple[Span, ...]:
    """Where six digits or more stand near each other: rules for numbers look only there, and a little around."""
    return tuple((max(0, found.start() - 12), min(len(view), found.end() + 20)) for found in _NUMBERED.finditer(view))


def unite(cores: Sequence[str]) -> str:
    """One expression that matches where any of the cores does."""
    return "|".join(f"(?:{core})" for core in cores)
