"""Accounts for rows: what every step of curation took away, why, and three examples of each reason.

The account does not depend on the order of rows, nor on how they were dealt to partitions: of the texts taken away for
a reason, those three are the examples whose keys, or else whose hashes, are smallest. Examples go into the card and
from there to decks and reports, so they are redacted whatever the recipe says; only those three are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from heapq import nsmallest
from typing import NamedTuple

from flytewheel.dataset import Step
from flytewheel.errors import DatasetError
from flytewheel.pii import redact

EXAMPLES = 3
EXAMPLE_CHARACTERS = 160
_HASH = 16  # hex digits of SHA-256 that tell two texts apart


class _Example(NamedTuple):
    """A text that may become an example; ordered by key, then by hash."""

    key: str
    hash: str
    text: str


class Tally:
    """The account of one step while it runs."""

    def __init__(self, name: str, rows_in: int) -> None:
        self.name = name
        self.rows_in = rows_in
        self.dropped: Counter[str] = Counter()
        self._kept: dict[str, list[_Example]] = {}

    def drop(self, reason: str, example: str = "", *, count: int = 1, key: str = "") -> None:
        """Counts `count` rows taken away for `reason`.

        Args:
            reason: why, in words for a person.
            example: a text of theirs, not yet redacted; blank for none.
            count: how many.
            key: orders the examples; without it the hash of the text does.
        """
        self.dropped[reason] += count
        if example and not example.isspace():
            kept = self._kept.setdefault(reason, [])
            # Most drops lose by their key alone; the hash is taken of those that may not.
            if len(kept) < EXAMPLES or key <= kept[-1].key:
                found = _Example(key, _hash(example), example)
                if len(kept) < EXAMPLES or found < kept[-1]:
                    self._kept[reason] = _smallest([*kept, found])

    def merge(self, others: Iterable[Tally]) -> Tally:
        """Adds the accounts of other partitions to this one, in any order; returns it."""
        for other in others:
            self.rows_in += other.rows_in
            self.dropped.update(other.dropped)
            for reason, found in other._kept.items():
                self._kept[reason] = _smallest([*self._kept.get(reason, ()), *found])
        return self

    def close(self, rows_out: int | None = None, *, changed: Mapping[str, int] | None = None) -> Step:
        """Ends the step; without `rows_out`, what was not dropped went on."""
        out = self.rows_in - self.dropped.total() if rows_out is None else rows_out
        kept = sorted(self._kept.items())
        return Step(
            self.name,
            self.rows_in,
            out,
            dict(sorted(self.dropped.items())),
            {reason: [_show(one.text) for one in found] for reason, found in kept},
            dict(sorted((changed or {}).items())),
            {reason: [one.key + one.hash for one in found] for reason, found in kept},
        )


def merge_steps(partitions: Sequence[Sequence[Step]]) -> list[Step]:
    """Adds up the same steps of several partitions; the result can be merged again.

    Raises:
        DatasetError: the partitions did not take the same steps in the same order.
    """
    names = [[step.name for step in steps] for steps in partitions]
    for own in names:
        if own != names[0]:
            raise DatasetError(
                f"partitions took different steps ({', '.join(names[0])} and {', '.join(own)}): prepare them again"
            )
    return [_merge(same) for same in zip(*partitions, strict=True)]


def _merge(steps: Sequence[Step]) -> Step:
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    kept: dict[str, list[_Example]] = {}
    for step in steps:
        dropped.update(step.dropped)
        changed.update(step.changed)
        for reason, texts in step.examples.items():
            # A step that was read from a card has no ranks: what is shown stands for what it was made of.
            ranks = step.ranks.get(reason) or [_hash(text) for text in texts]
            found = [_Example(rank[:-_HASH], rank[-_HASH:], text) for rank, text in zip(ranks, texts, strict=True)]
            kept[reason] = _smallest([*kept.get(reason, ()), *found])
    return Step(
        steps[0].name,
        sum(step.rows_in for step in steps),
        sum(step.rows_out for step in steps),
        dict(sorted(dropped.items())),
        {reason: [one.text for one in found] for reason, found in sorted(kept.items())},
        dict(sorted(changed.items())),
        {reason: [one.key + one.hash for one in found] for reason, found in sorted(kept.items())},
    )


def _smallest(found: Iterable[_Example]) -> list[_Example]:
    """The smallest few, each text once, by its smallest key: what is not among these is not among those of all."""
    first: dict[str, _Example] = {}
    for one in found:
        if one.hash not in first or one < first[one.hash]:
            first[one.hash] = one
    return nsmallest(EXAMPLES, first.values())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]


@lru_cache(maxsize=1024)  # one text is an example of many steps, and looking at it takes half a millisecond
def _show(text: str) -> str:
    """Redacts, puts on one line, and redacts again: a line break may have hidden a number, or be part of a key."""
    shown = redact(text.encode("utf-8", "replace").decode())
    if (line := " ".join(shown.split())) != shown:  # redacting the same twice changes nothing more
        shown = redact(line)
    return shown if len(shown) <= EXAMPLE_CHARACTERS else f"{shown[: EXAMPLE_CHARACTERS - 1]}…"
