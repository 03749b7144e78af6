"""Events that were promised and are not in the database yet: it was away, or their interaction had not come.

They lie fsynced in segments, which at rest belong to nobody: whichever process gets the lock replays them. An event
whose interaction is not there waits for it, a day at most, and is then put into quarantine, as is one whose id stands
for another event by now; nothing is dropped without a trace. A replay may be killed anywhere: a segment is replaced
or deleted only when what it held is stored, and what is stored twice counts once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from flytewheel.spool import (
    EVENTS,
    Segment,
    clear_parts,
    create_segment,
    frame,
    list_segments,
    read_payloads,
    replace_segment,
    try_segment,
)
from router.log.budget import Budget
from router.log.database import Session
from router.log.events import EventRow, read_spool_line, spool_line
from router.log.outcomes import LogFullError

PATIENCE_S = 24 * 3600.0  # an answer that is still being given ends within the hour; a machine comes back within a day
_MOST_ROWS = 1000
_CHUNK_BYTES = 8 << 20

Hold = Callable[[EventRow, str], None]


class WaitingEvents:
    """The segments of events in one folder. `append` is called by one thread, `replay` by another."""

    def __init__(self, folder: Path, budget: Budget, *, segment_bytes: int = 8 << 20) -> None:
        self._folder, self._budget, self._segment_bytes = folder, budget, segment_bytes
        self._lock = threading.Lock()
        self._active: Segment | None = None
        self.added = 0  # events since the start
        self.kept = 0  # events that the last replay left waiting

    def append(self, rows: Iterable[EventRow]) -> None:
        """Lays events down; they are safe when it returns.

        Raises:
            LogFullError: there is no room, or the disk takes nothing.
        """
        payloads = [spool_line(row) for row in rows]
        data = b"".join(map(frame, payloads))
        if not self._budget.takes(len(data), reserved=True):
            raise LogFullError(
                f"the database is away, and the spool is full ({self._budget.limit} bytes): try again later"
            )
        with self._lock:
            try:
                if self._active is None or self._active.end + len(data) > self._segment_bytes:
                    self._release()
                    self._active = create_segment(self._folder, EVENTS, durable=True)
                self._active.append(data)
                os.fsync(self._active.fd)
            except OSError as error:
                self._release()
                raise LogFullError(f"the database is away, and the spool takes nothing ({error.strerror})") from None
            self.added += len(payloads)

    def seal(self) -> None:
        """Ends the segment that is written to, so that it can be replayed."""
        with self._lock:
            self._release()

    def tidy(self) -> None:
        """Removes what a replay left that was killed."""
        clear_parts(self._folder)

    def find(self) -> list[Path]:
        """The segments that wait, whoever wrote them."""
        return list_segments(self._folder, EVENTS)

    def replay(self, session: Session, *, refuses: Callable[[EventRow], bool], hold: Hold) -> int:
        """Stores what can be stored; gives how many events it took off the spool.

        Args:
            session: to the database.
            refuses: whether an event is about somebody who was erased: it goes without a trace.
            hold: puts an event into quarantine, with the reason.

        Raises:
            psycopg.Error: the database takes nothing; what was not stored still lies there.
            OSError: the disk takes nothing.
        """
        self.seal()
        done = self.kept = 0
        paths = self.find()
        while paths:
            chunk: list[Segment] = []
            while paths and (not chunk or sum(segment.end for segment in chunk) < _CHUNK_BYTES // 2):
                if (segment := try_segment(paths.pop(0))) is not None:
                    chunk.append(segment)
            if chunk:
                done += self._replay_chunk(chunk, session, refuses, hold)
        return done

    def _replay_chunk(
        self, chunk: list[Segment], session: Session, refuses: Callable[[EventRow], bool], hold: Hold
    ) -> int:
        try:
            payloads = [payload for segment in chunk for payload in read_payloads(segment)]
            kept = []
            for start in range(0, len(payloads), _MOST_ROWS):
                kept += _replay_rows(payloads[start : start + _MOST_ROWS], session, refuses, hold)
            self.kept += len(kept)
            if len(kept) < len(payloads) or len(chunk) > 1 or not payloads:  # none: killed before its first record
                fresh = replace_segment(chunk[0], kept)
                chunk[:1] = [fresh] if fresh is not None else []
                for segment in chunk[1 if fresh is not None else 0 :]:
                    segment.remove()
                del chunk[1 if fresh is not None else 0 :]
        finally:
            for segment in chunk:
                segment.close()
        return len(payloads) - len(kept)

    def _release(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            active.close()


def _replay_rows(
    payloads: Sequence[bytes], session: Session, refuses: Callable[[EventRow], bool], hold: Hold
) -> list[bytes]:
    """Stores events; gives the payloads of those that go on waiting."""
    kept, first = [], dict[str, tuple[bytes, int, EventRow]]()
    for payload in payloads:
        when, row = read_spool_line(payload)
        if refuses(row):
            continue
        known = first.setdefault(row.event_id, (payload, when, row))
        if known[2].digest != row.digest:
            hold(row, "conflict")
    outcomes = session.store_events([row for _, _, row in first.values()], hold) if first else []
    for (payload, when, row), outcome in zip(first.values(), outcomes, strict=True):
        if outcome == "conflict":
            hold(row, "conflict")
        elif outcome == "unknown" and time.time() - when < PATIENCE_S:
            kept.append(payload)
        elif outcome == "unknown":
            hold(row, "unknown interaction")
    return kept
