"""A row on its way into a data set, with what later steps decide by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from flytewheel.curation.duplicates import PromptText
from flytewheel.records import Preference, SftRow, Unpaired

Row = TypeVar("Row", SftRow, Preference, Unpaired)


@dataclass(frozen=True, slots=True)
class Draft(Generic[Row]):
    """`users` are all whose opinion made the row; `rank` says which rows are kept first (higher)."""

    row: Row
    text: PromptText
    cluster: str
    users: tuple[str, ...]
    rank: float


def best_first(drafts: Sequence[Draft[Row]]) -> list[Draft[Row]]:
    """Sorts by rank, then the newest: drafts come in the order of their time."""
    return sorted(reversed(drafts), key=lambda draft: -draft.rank)
