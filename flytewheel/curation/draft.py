"""A row on its way into a data set: what later steps decide by, and where its texts lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flytewheel.records import Preference, SftRow, Unpaired


@dataclass(frozen=True, slots=True)
class Draft:
    """A row to be.

    `shown` is the place of the interaction whose prompt it has, `texts` where its completion (or the chosen and the
    rejected one) stands: place and column. `judged` are the places of all interactions that made it, `users` all whose
    opinion did. `rank` says which rows are kept first (higher). A row of an earlier data set is `earlier`, and a
    paraphrased one has its own `query`; the prompts of both are new to this window (`prompt` -1).
    """

    id: str
    user: str
    topic: str
    prompt: int
    cluster: int
    users: tuple[str, ...]
    rank: float
    shown: int
    texts: tuple[tuple[int, str], ...]
    judged: tuple[int, ...]
    source: str = ""
    reward: float = 0.0
    quality: float = 0.0
    margin: float = 0.0
    similarity: float = 1.0
    label: bool = False
    surprise: float | None = None
    weight: float = 1.0
    query: str | None = None
    earlier: SftRow | Preference | Unpaired | None = None


def best_first(drafts: Sequence[Draft]) -> list[Draft]:
    """Sorts by rank, then the newest: drafts come in the order of their time."""
    return sorted(reversed(drafts), key=lambda draft: -draft.rank)
