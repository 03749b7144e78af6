"""Other people's logs, turned into ours and imported as ours are: in one transaction, each row once, faults by reason.

A file is turned into two temporary logs, of interactions and of events, which go through
`flytewheel.feedback.imports`. So everything that holds there holds here: the same file again stores nothing, a row that
cannot be turned is quarantined as the reason says, and what was read is what was stored, known already or quarantined.
User ids that look like personal data do not come in (`identity`); texts do, for curation to redact.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from flytewheel.errors import FeedbackError
from flytewheel.feedback.formats import chat, langfuse, preference
from flytewheel.feedback.formats.identity import EPOCH
from flytewheel.feedback.formats.log import Log
from flytewheel.feedback.formats.rows import Row, list_files, read_all
from flytewheel.feedback.imports import ImportReport, Progress
from flytewheel.feedback.store import FeedbackStore

Format = Literal["chat", "langfuse", "preference"]
FORMATS: tuple[Format, ...] = get_args(Format)

_STEP = 1000


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was found in a foreign log: its rows, the fields of those that were turned, scales, parts, and notes."""

    format: Format
    rows: int
    fields: Mapping[str, int]
    scales: Mapping[str, str]
    splits: Mapping[str, int]
    notes: Mapping[str, int]

    def describe(self) -> str:
        """Says it in a line or a few."""
        parts = [f"recognised: {self.rows:,} rows of {self.format}"]
        for name, found in (("fields", self.fields), ("parts", self.splits)):
            if found:
                parts.append(f"{name} " + ", ".join(f"{key} ({count:,})" for key, count in found.items()))
        if self.scales:
            parts.append("scales " + ", ".join(f"{name}: {scale}" for name, scale in self.scales.items()))
        return "\n".join(["; ".join(parts), *(f"note: {count:,} {note}" for note, count in self.notes.items())])


@dataclass(frozen=True, slots=True)
class ForeignReport:
    """What an import of a foreign log did."""

    imported: ImportReport
    recognised: Recognised

    def describe(self) -> str:
        """Says it in a few lines."""
        return f"{self.recognised.describe()}\n{self.imported.describe()}"


def convert(
    format: Format,
    files: Sequence[Path],
    folder: Path,
    *,
    source: str,
    user_field: str | None = None,
    epoch: datetime = EPOCH,
    progress: Progress | None = None,
) -> tuple[Path, Path, Recognised]:
    """Turns foreign files into `interactions.jsonl` and `feedback.jsonl` in `folder`.

    Args:
        format: what the files are.
        files: files, or folders of files; they are one log.
        folder: where both logs are written; for langfuse the pieces of traces are sorted there too.
        source: stream that the log belongs to; ids that are numbers go behind its name.
        user_field: field of a row that says who its user is, where it has another name than those known.
        epoch: time of rows that tell none.
        progress: told ("read FORMAT", rows read, `None`) every 1,000 rows.

    Raises:
        FeedbackError: a file cannot be read at all.
    """
    for file in files:
        list_files(file)
    splits: Counter[str] = Counter()
    rows = 0
    paths = folder / "interactions.jsonl", folder / "feedback.jsonl"
    with paths[0].open("wb") as interactions, paths[1].open("wb") as events:
        log = Log(source, interactions, events, epoch=epoch, user_field=user_field)
        if format == "chat":
            for row in read_all(files):
                chat.note_row(row, log.scales)
        pieces = langfuse.Pieces(folder / "pieces.sqlite") if format == "langfuse" else None
        for rows, row in enumerate(read_all(files), 1):
            if row.split is not None:
                splits[row.split] += 1
            if progress is not None and rows % _STEP == 0:
                progress(f"read {format}", rows, None)
            if pieces is not None:
                pieces.add(row, log)
            else:
                _convert_row(format, row, log)
        if pieces is not None:
            pieces.write(log)
    found = Recognised(
        format,
        rows,
        dict(sorted(log.seen.items(), key=lambda each: (-each[1], each[0]))[:40]),
        log.scales.describe(),
        dict(sorted(splits.items())),
        dict(sorted(log.notes.items())),
    )
    return *paths, found


def import_foreign(
    store: FeedbackStore,
    format: Format,
    files: Sequence[Path],
    *,
    source: str,
    quarantine_dir: Path,
    user_field: str | None = None,
    epoch: datetime = EPOCH,
    erasure_key: str = "",
    progress: Progress | None = None,
) -> ForeignReport:
    """Imports foreign files as one log, in one transaction; arguments as `convert` and `FeedbackStore.import_files`.

    Raises:
        FeedbackError: a file cannot be read at all, or the source has no name; nothing is stored then.
        DatabaseError: PostgreSQL is away; nothing is stored then either.
    """
    if not files:
        raise FeedbackError(f"expected a file or folder with a log of {format}, got none")
    with tempfile.TemporaryDirectory(prefix="flytewheel-import-") as folder:
        interactions, events, found = convert(
            format, files, Path(folder), source=source, user_field=user_field, epoch=epoch, progress=progress
        )
        report = store.import_files(
            interactions,
            events,
            source=source,
            quarantine_dir=quarantine_dir,
            erasure_key=erasure_key,
            progress=progress,
        )
    return ForeignReport(report, found)


def parse_epoch(text: str | None) -> datetime:
    """Reads the time that stands for one that a log does not tell: ISO 8601, UTC where it names no zone.

    Raises:
        FeedbackError: the text is no time.
    """
    if text is None:
        return EPOCH
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise FeedbackError(f"expected a time as ISO 8601 such as 2026-11-09T12:00:00Z, got {text!r}") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _convert_row(format: Format, row: Row, log: Log) -> None:
    try:
        (chat if format == "chat" else preference).convert_row(row, log)
    except RecursionError:
        log.hold("nested too deeply", row.raw)
