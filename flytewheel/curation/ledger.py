"""Accounts for rows: what every step of curation took away, why, and three examples of each reason.

Examples go into the card and from there to decks and reports, so they are redacted whatever the recipe says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from flytewheel.curation.pii import redact
from flytewheel.dataset import Step

EXAMPLES = 3
EXAMPLE_CHARACTERS = 160


class Tally:
    """The account of one step while it runs."""

    def __init__(self, name: str, rows_in: int) -> None:
        self.name = name
        self.rows_in = rows_in
        self.dropped: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def drop(self, reason: str, example: str = "", *, count: int = 1) -> None:
        """Counts `count` rows taken away for `reason`; `example` is a text of theirs, not yet redacted."""
        self.dropped[reason] += count
        kept = self._examples.setdefault(reason, [])
        if example.strip() and len(kept) < EXAMPLES:
            text = redact(" ".join(example.split()))
            kept.append(text if len(text) <= EXAMPLE_CHARACTERS else f"{text[: EXAMPLE_CHARACTERS - 1]}…")

    def close(self, rows_out: int | None = None, *, changed: Mapping[str, int] | None = None) -> Step:
        """Ends the step; without `rows_out`, what was not dropped went on."""
        out = self.rows_in - self.dropped.total() if rows_out is None else rows_out
        examples = {reason: texts for reason, texts in sorted(self._examples.items()) if texts}
        return Step(
            self.name,
            self.rows_in,
            out,
            dict(sorted(self.dropped.items())),
            examples,
            dict(sorted((changed or {}).items())),
        )
