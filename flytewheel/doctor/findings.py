"""One fault or doubt, with what to do about it in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """`missing` keeps a turn from running; `doubtful` does not, and may yet matter."""

    level: Literal["missing", "doubtful"]
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level}: {self.what}; {self.remedy}"


def missing(what: str, remedy: str) -> Finding:
    """Something that a turn needs and has not."""
    return Finding("missing", what, remedy)


def doubtful(what: str, remedy: str) -> Finding:
    """Something that a turn can do without, or that cannot be told from here."""
    return Finding("doubtful", what, remedy)
