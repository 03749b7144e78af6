"""What became of the lines of an import, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LogCounts:
    """What became of a log's lines: `read` = `stored` + `duplicates` + the sum of `quarantined`.

    `quarantined` counts by reason, conflicts among them; `conflicts` says that number once more. Lines of the reason
    `ERASED` are counted here and stored nowhere.
    """

    read: int
    stored: int
    duplicates: int
    conflicts: int
    quarantined: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    `elsewhere` counts interactions of the log that are stored under another source, by source; `other_users` the events
    whose user is not the interaction's; `quarantine` is the file with the lines that are not stored.
    """

    source: str
    interactions: LogCounts
    events: LogCounts
    elsewhere: Mapping[str, int]
    other_users: int
    quarantine: Path | None

    def describe(self) -> str:
        """Says it in a few lines."""
        lines = []
        for name, counts in (("interactions", self.interactions), ("feedback events", self.events)):
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in counts.quarantined.items())
            lines.append(
                f"{name}: {counts.read:,} read, {counts.stored:,} stored, {counts.duplicates:,} known already,"
                f" {sum(counts.quarantined.values()):,} quarantined{f' ({reasons})' if reasons else ''}"
            )
        if self.elsewhere:
            found = ", ".join(f"{source} ({count:,})" for source, count in self.elsewhere.items())
            lines.append(
                f"note: interactions stay in the stream that they came in first, not {self.source}: {found}; "
                f"to learn from them: feedback.sources: [{', '.join(self.elsewhere)}]"
            )
        if self.other_users:
            lines.append(f"note: {self.other_users:,} events are by another user than the interaction's")
        if self.quarantine is not None:
            lines.append(f"quarantine: {self.quarantine}")
        return "\n".join(lines)
