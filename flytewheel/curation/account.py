"""Accounts for rows in the global steps: what each took away, why, and where three examples of each reason lie.

Texts are not in memory there, so an example is the place of an interaction; it is read, redacted and cut at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from flytewheel.curation.judged import Table
from flytewheel.curation.ledger import EXAMPLES, Tally
from flytewheel.dataset import Step


class Account:
    """The account of one global step."""

    def __init__(self, name: str, rows_in: int) -> None:
        self.name = name
        self.rows_in = rows_in
        self.rows_out: int | None = None
        self.dropped: Counter[str] = Counter()
        self.changed: Mapping[str, int] = {}
        self.examples: dict[str, list[tuple[int, str]]] = {}

    def drop(self, reason: str, place: int = -1, column: str = "query", *, count: int = 1) -> None:
        """Counts `count` rows taken away for `reason`; `place` and `column` say where a text of theirs stands."""
        self.dropped[reason] += count
        kept = self.examples.setdefault(reason, [])
        if place >= 0 and len(kept) < EXAMPLES:
            kept.append((place, column))

    def close(self, rows_out: int | None = None, *, changed: Mapping[str, int] | None = None) -> Account:
        """Ends the step; without `rows_out`, what was not dropped went on."""
        self.rows_out = self.rows_in - self.dropped.total() if rows_out is None else rows_out
        self.changed = changed or {}
        return self


def settle(accounts: Sequence[Account], table: Table) -> list[Step]:
    """Turns accounts into steps, with the texts of their examples."""
    wanted = sorted({place for one in accounts for found in one.examples.values() for place, _ in found})
    rows = table.fetch(wanted, ("query", "response", "correction"))
    texts = dict(zip(wanted, rows.iter_rows(named=True), strict=True))
    steps = []
    for one in accounts:
        tally = Tally(one.name, one.rows_in)
        for reason, count in one.dropped.items():
            found = one.examples[reason]
            for place, column in found:
                tally.drop(reason, texts[place][column] or "", count=0)
            tally.drop(reason, count=count)
        steps.append(tally.close(one.rows_out, changed=one.changed))
    return steps


def explain_nothing(interactions: int, steps: Sequence[Step]) -> str:
    """Says on one line why no training row is left of so many interactions."""
    reasons: Counter[str] = Counter()
    for step in steps:
        reasons.update(step.dropped)
    said = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(8)) or "none came in"
    return (
        f"0 training rows of {interactions} interactions ({said}): "
        "collect more feedback, or lower curation.min_quality_score"
    )
