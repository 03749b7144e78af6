"""A foreign log turned into ours and read back: what the tests of each format share."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.feedback.formats import Format, Recognised, convert
from flytewheel.feedback.logs import Fault, read_log
from flytewheel.records import FeedbackEvent, Interaction


@dataclass(frozen=True)
class Turned:
    """The records and faults that a foreign log became."""

    interactions: list[Interaction]
    events: list[FeedbackEvent]
    faults: list[tuple[str, str]]
    recognised: Recognised
    logs: tuple[bytes, bytes]

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.faults]

    def said(self) -> list[tuple[str, str, float | None]]:
        return [(event.interaction_id, event.feedback_type.value, event.rating) for event in self.events]


def write(path: Path, rows: Sequence[Any]) -> Path:
    """Writes rows as an array (`.json`) or lines; a row that is bytes goes in as it is."""
    texts = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    data = b"[" + b",\n ".join(texts) + b"]" if ".json" in path.suffixes else b"".join(text + b"\n" for text in texts)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def turn(format: Format, folder: Path, *rows: Any, name: str = "log.jsonl", **more: Any) -> Turned:
    folder.mkdir(exist_ok=True)
    return turn_files(format, folder, write(folder / name, rows), **more)


def turn_files(format: Format, folder: Path, *files: Path, **more: Any) -> Turned:
    interactions, events, found = convert(format, files, folder, source="web", **more)
    first = [record for _, record in read_log(interactions, Interaction)]
    second = [record for _, record in read_log(events, FeedbackEvent)]
    return Turned(
        [record for record in first if isinstance(record, Interaction)],
        [record for record in second if isinstance(record, FeedbackEvent)],
        [(each.reason, each.line) for each in [*first, *second] if isinstance(each, Fault)],
        found,
        (interactions.read_bytes(), events.read_bytes()),
    )
