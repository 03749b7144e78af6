"""What a training remembers of itself beside its checkpoints: the time that it took so far, over all its attempts, and
the micro-batch that it was left with when memory ran out.

It lies in the checkpoint directory, newest of all, and a copy in every checkpoint, so that it travels with them. None
of it decides what is learnt.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import CheckpointError

JOURNAL = "journal.json"


@dataclass(frozen=True, slots=True)
class Journal:
    """`seconds` of wall time, `rows` of a micro-batch after memory ran out (`None`: it did not), `said` in words."""

    seconds: float = 0.0
    rows: int | None = None
    said: tuple[str, ...] = ()


def write_journal(folder: Path, journal: Journal) -> None:
    """Writes the journal into `folder`, in one rename."""
    partial = folder / f".{JOURNAL}.partial"
    partial.write_text(json.dumps(asdict(journal), indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / JOURNAL)


def read_journal(*folders: Path | None) -> Journal:
    """The journal that knows most of those in `folders`; an empty one where there is none.

    Raises:
        CheckpointError: one cannot be read.
    """
    found = [_read(folder / JOURNAL) for folder in folders if folder is not None and (folder / JOURNAL).is_file()]
    if not found:
        return Journal()
    return max(found, key=lambda journal: (len(journal.said), journal.seconds))


def _read(path: Path) -> Journal:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        journal = Journal(float(content["seconds"]), content["rows"], tuple(content["said"]))
        if journal.rows is not None and not (isinstance(journal.rows, int) and journal.rows >= 1):
            raise ValueError(f"rows: expected a number above zero, came {journal.rows!r}")
        return journal
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a training's journal ({error}); remove it to forget it") from None
