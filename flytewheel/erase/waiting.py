"""The router's spool without a person: what waits there for the database is found by its user and its ids.

A segment that nobody holds is written anew without the person's records, as a whole or not at all. One that a running
router holds is being stored this moment: the erasure waits for that, and finds the rows in the database. What a disk
damaged and was set aside goes as a whole where it names the person.
"""

from __future__ import annotations

import time
from pathlib import Path

from flytewheel.erase.contents import finds
from flytewheel.erase.needles import Needles
from flytewheel.erase.person import Person
from flytewheel.errors import FeedbackError
from flytewheel.spool import (
    FOLDER,
    HEADER,
    INTERACTIONS,
    clear_parts,
    list_segments,
    read_payloads,
    replace_segment,
    split_columns,
    split_frames,
    take_segment,
)

PATIENCE_S = 30.0


def sweep_spool(home: Path, needles: Needles, *, write: bool, patience_s: float = PATIENCE_S) -> int:
    """Takes the person's records out of the spool, or only counts them; gives how many.

    Raises:
        FeedbackError: a running router still holds some of them after `patience_s`; calling again goes on.
    """
    folder, person = home / FOLDER, needles.person
    count = _sweep_damaged(folder / "damaged", needles, write=write)
    deadline = time.monotonic() + patience_s
    while True:
        held = 0
        for path in list_segments(folder):
            found = _count(path, person)
            if not found:
                continue
            if not write:
                count += found
            elif (taken := _take_out(path, person)) is not None:
                count += taken
            else:
                held += found
        if write:
            clear_parts(folder)
        if not held:
            return count
        if time.monotonic() > deadline:
            raise FeedbackError(
                f"{held} records of this user wait in {folder} for a running router to store them; "
                "see that it reaches its database (/healthz), then erase again"
            )
        time.sleep(0.1)


def _count(path: Path, person: Person) -> int:
    try:
        payloads, _, _ = split_frames(path.read_bytes(), len(HEADER))
    except FileNotFoundError:  # stored in this moment
        return 0
    return sum(_owns(path, payload, person) for payload in payloads)


def _take_out(path: Path, person: Person) -> int | None:
    """None where somebody holds the segment."""
    segment = take_segment(path)
    if segment is None:
        return None if path.exists() else 0
    payloads = read_payloads(segment)
    kept = [payload for payload in payloads if not _owns(path, payload, person)]
    fresh = replace_segment(segment, kept)
    if fresh is not None:
        fresh.close()
    return len(payloads) - len(kept)


def _owns(path: Path, payload: bytes, person: Person) -> bool:
    columns = [column.decode("utf-8", "replace") for column in split_columns(payload)]
    if path.name.startswith(INTERACTIONS):
        name, _, user, *_ = columns
        return user in person.names or name in person.interactions
    _, event, about, _, user, *_ = columns
    return user in person.names or about in person.interactions or event in person.events


def _sweep_damaged(folder: Path, needles: Needles, *, write: bool) -> int:
    count = 0
    for path in sorted(folder.glob("*.bin")):
        if finds(needles, path.read_bytes()):
            count += 1
            if write:
                path.unlink(missing_ok=True)
    return count
