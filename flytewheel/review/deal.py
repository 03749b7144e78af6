"""Which duel a reviewer sees next, and which answer stands on the left.

A stated share of the duels is shown to every reviewer, in one order for all, so that two who stop early still have seen
the same ones; they are spread evenly among the others, the first at once. The rest is dealt out: a duel that nobody has
goes before one that somebody has before him, and that before a second label. All is drawn by SHA-256 of the review's
salt, which no reviewer knows: with public seeds a reviewer could work out which side is whose. What was dealt is kept
(`desk`), so a reload gives the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Said = Literal["ours", "theirs", "tie", "skipped", "withdrawn"]
LABELS = ("ours", "theirs", "tie")


@dataclass(frozen=True, slots=True)
class DuelState:
    """One duel as it stands for one reviewer.

    Attributes:
        duel_id: the duel.
        shared: shown to every reviewer.
        place: in this reviewer's order; `None`: not dealt to them.
        said: the last thing that they said of it.
        labels: how many others have labelled it.
        holders: how many others have it before them or have labelled it.
    """

    duel_id: str
    shared: bool
    place: int | None = None
    said: Said | None = None
    labels: int = 0
    holders: int = 0

    @property
    def pending(self) -> bool:
        """Dealt, and still to be answered."""
        return self.place is not None and self.said in (None, "withdrawn")


def draw(*parts: str) -> bytes:
    """32 bytes that depend on `parts` only, for ever and on every machine."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).digest()


def stands_left(salt: str, reviewer: str, duel_id: str) -> bool:
    """Whether the candidate's answer is the left one for this reviewer."""
    return draw(salt, "side", reviewer, duel_id)[0] % 2 == 0


def choose_duels(salt: str, duel_ids: Iterable[str], most: int) -> list[str]:
    """At most `most` of the duels, drawn; the order is one for all reviewers."""
    return sorted(set(duel_ids), key=lambda name: draw(salt, "order", name))[:most]


def choose_shared(salt: str, duel_ids: Iterable[str], share: float) -> frozenset[str]:
    """The duels that every reviewer sees: `share` of them, rounded up."""
    names = set(duel_ids)
    count = min(len(names), math.ceil(share * len(names) - 1e-9))
    return frozenset(sorted(names, key=lambda name: draw(salt, "shared", name))[:count])


def choose_next(salt: str, reviewer: str, states: Sequence[DuelState], *, more: bool = False) -> DuelState | None:
    """The duel to show now.

    Args:
        salt: of the review.
        reviewer: who asks.
        states: every duel of the review.
        more: deal also what others have labelled, for a second opinion.

    Returns:
        The one before the reviewer, else a new one; `None` where nothing is left.
    """
    pending = [state for state in states if state.pending]
    if pending:
        return min(pending, key=lambda state: state.place or 0)
    fresh = [state for state in states if state.place is None]
    shared = sorted((each for each in fresh if each.shared), key=lambda each: draw(salt, "order", each.duel_id))
    rest = [each for each in fresh if not each.shared and (more or not each.labels)]
    rest.sort(key=lambda each: (each.labels, each.holders, draw(salt, "order", reviewer, each.duel_id)))
    if shared and (not rest or _is_shared_due(states)):
        return shared[0]
    return rest[0] if rest else None


def _is_shared_due(states: Sequence[DuelState]) -> bool:
    """Whether the shared ones among those dealt lag behind their share."""
    total, common = len(states), sum(state.shared for state in states)
    dealt = [state for state in states if state.place is not None]
    return sum(state.shared for state in dealt) * total < (len(dealt) + 1) * common


def count_answered(states: Sequence[DuelState]) -> int:
    """Duels that need nothing more of this reviewer: said by them, or, where it is not shared, labelled by others."""
    return sum(
        (state.place is not None and not state.pending) or (not state.shared and state.labels > 0) for state in states
    )
