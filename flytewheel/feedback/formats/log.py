"""The two logs that a foreign one becomes: lines in our form, and counts of what was recognised."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Any

from flytewheel.feedback.formats.identity import EPOCH, digest_of, hide_emails, keep_metadata
from flytewheel.feedback.formats.reactions import Said, Scales
from flytewheel.feedback.logs import hold_line


@dataclass(slots=True)
class Log:
    """Where the converters write.

    `epoch` is the time of what tells none, `seen` counts the fields of the rows that were turned, `notes` what a person
    should know of the others.
    """

    source: str
    interactions: IO[bytes]
    events: IO[bytes]
    scales: Scales = field(default_factory=Scales)
    epoch: datetime = EPOCH
    user_field: str | None = None
    seen: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    _sessions: Counter[str] = field(default_factory=Counter)

    def add_interaction(self, row: Mapping[str, Any]) -> None:
        """Writes one interaction, without what is null."""
        self._write(self.interactions, row)

    def add_said(self, interaction: Mapping[str, Any], said: Sequence[Said], *, by_content: bool = False) -> None:
        """Writes what its user said of an interaction; without anything it counts as unrated.

        An interaction that is named `by_content` may come twice, with two opinions: each is an event of its own.
        """
        if not said:
            self.notes["interactions without a rating"] += 1
        for one in said:
            mark = f"-{digest_of([one.kind, one.fields])[:8]}" if by_content else ""
            kind = one.kind if one.kind in {"correction", "edit", "follow_up"} else "vote"
            self.add_event(
                {
                    "event_id": f"{interaction['interaction_id']}/{kind}{mark}",
                    "interaction_id": interaction["interaction_id"],
                    "user_id": interaction["user_id"],
                    "timestamp": interaction["timestamp"],
                    "feedback_type": one.kind,
                    **one.fields,
                    "metadata": keep_metadata(one.fields.get("metadata")),
                }
            )

    def add_event(self, row: Mapping[str, Any]) -> None:
        """Writes one event, without what is null."""
        self._write(self.events, row)

    def hold(self, reason: str, raw: bytes) -> None:
        """Passes a row on that cannot be turned; the import quarantines it under this reason."""
        self.interactions.write(hold_line(reason, hide_emails(raw)))

    def next_time(self, session: str | None, count: int) -> str:
        """The time of `count` answers that tell none: in a session behind those before."""
        passed = 0
        if session is not None:
            passed = self._sessions[session]
            self._sessions[session] += count
        self.notes[f"rows without a time, put at {self.epoch:%Y-%m-%d}"] += 1
        return (self.epoch + timedelta(seconds=passed)).isoformat()

    def _write(self, stream: IO[bytes], row: Mapping[str, Any]) -> None:
        """What is no JSON (lone surrogates, NaN) goes through as escapes, for the import to find."""
        kept = {name: value for name, value in row.items() if value is not None}
        stream.write(json.dumps(kept, separators=(",", ":"), default=str).encode() + b"\n")
