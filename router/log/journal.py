"""Interactions of one process between the event loop, which appends them, and the thread that stores them.

Every record is in a file before anything else happens to it (a write into the page cache, 3 µs), so a process that is
killed loses none; the thread that stores them reads them back from there, so memory stays flat however long the
database is away, and there is one way for all of it: running, after an outage, after a crash. A segment is deleted
when all of it is stored, and a drained one soon after: when nothing is wrong, nothing lies in the spool.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from flytewheel.spool import (
    HEADER,
    INTERACTIONS,
    LONGEST,
    Segment,
    create_segment,
    frame,
    length_at,
    list_segments,
    split_frames,
    sync_folder,
    try_segment,
)
from router.log.budget import Budget

_RETRY_S = 1.0  # after a disk refused a write


class Journal:
    """The segments of interactions that this process holds, the oldest first; the last one may be open for writing."""

    def __init__(self, folder: Path, budget: Budget, *, segment_bytes: int = 8 << 20) -> None:
        self.trouble: str | None = None
        self.appended = 0  # records, with those that were taken over
        self.stored = 0
        self.damaged = 0
        self._folder, self._budget, self._segment_bytes = folder, budget, segment_bytes
        self._lock = threading.Lock()
        self._segments: deque[Segment] = deque()
        self._active: Segment | None = None
        self._place = self._taken = len(HEADER)  # in the oldest segment: stored up to, and read up to
        self._read = 0  # records of the last `read`
        self._retry_at = 0.0
        self._unsynced = False

    @property
    def waiting(self) -> int:
        """Records that are not stored yet."""
        return self.appended - self.stored

    @property
    def waiting_bytes(self) -> int:
        with self._lock:
            held = sum(segment.end - len(HEADER) for segment in self._segments)
            return max(0, held - (self._place - len(HEADER)))

    def append(self, payload: bytes) -> bool:
        """Writes a record; false where there is no room, or the disk takes none (`trouble` says why)."""
        data = frame(payload)
        if self._retry_at and time.monotonic() < self._retry_at:
            return False
        if len(data) > LONGEST or not self._budget.takes(len(data)):
            return False
        with self._lock:
            try:
                active = self._active
                if active is None or (active.end + len(data) > self._segment_bytes and active.end > len(HEADER)):
                    active = self._active = create_segment(self._folder, INTERACTIONS, durable=False)
                    self._segments.append(active)
                active.append(data)
            except OSError as error:
                self.trouble = f"the spool {self._folder} takes nothing: {error.strerror or error}"
                self._retry_at = time.monotonic() + _RETRY_S
                return False
            self.trouble, self._retry_at = None, 0.0
            self.appended += 1
            self._unsynced = True
        return True

    def read(self, most_rows: int, most_bytes: int) -> list[bytes]:
        """The oldest records that are not stored; `advance` is to follow when they are.

        Raises:
            OSError: the file cannot be read.
        """
        with self._lock:
            if not self._segments:
                return []
            segment, end = self._segments[0], self._segments[0].end
        size = min(end - self._place, most_bytes)
        data = os.pread(segment.fd, size, self._place)
        if size >= 8 and length_at(data) > size:  # one record alone is longer
            data = os.pread(segment.fd, length_at(data), self._place)
        payloads, damaged, place = split_frames(data, most=most_rows)
        self.damaged += len(damaged)
        self._taken, self._read = self._place + place, len(payloads)
        if not payloads:
            self.advance()
        return payloads

    def advance(self) -> None:
        """What was read last is stored."""
        with self._lock:
            self._place = self._taken
            self.stored += self._read
            self._read = 0
            if self._segments and self._place >= self._segments[0].end and self._segments[0] is not self._active:
                self._drop_first()

    def tidy(self) -> None:
        """Deletes a segment that is open for writing and stored in full: nothing of it is to stay on disk."""
        with self._lock:
            active = self._active
            alone = active is not None and len(self._segments) == 1
            if active is not None and alone and self._place >= active.end and active.end > len(HEADER):
                self._active = None
                self._drop_first()

    def adopt(self) -> int:
        """Takes over what processes left that are no more; gives how many records."""
        with self._lock:
            held = {segment.path for segment in self._segments}
        taken, records = [], 0
        for path in list_segments(self._folder, INTERACTIONS):
            segment = None if path in held else try_segment(path)
            if segment is None:
                continue
            count = len(split_frames(os.pread(segment.fd, segment.end, 0), len(HEADER))[0])
            if count:
                taken.append(segment)
                records += count
            else:
                segment.remove()
        with self._lock:
            # The one that is being read stays first: the place in it is ours.
            rest = [self._segments.popleft()] if self._segments else []
            self._segments = deque([*rest, *taken, *self._segments])
            if not rest:
                self._place = len(HEADER)
            elif rest[0] is self._active and taken:  # nothing may stand behind the one that is written to
                self._active = None
            self.appended += records
        return records

    def sync(self) -> None:
        """Makes what was written outlive the machine too.

        Raises:
            OSError: the disk does not.
        """
        with self._lock:
            if not self._unsynced or self._active is None:
                return
            self._unsynced = False
            fd = os.dup(self._active.fd)
        try:
            os.fsync(fd)
            sync_folder(self._folder)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Lets go of everything; what is not stored stays for a successor."""
        with suppress(OSError):
            self.sync()
        self.tidy()
        with self._lock:
            for segment in self._segments:
                segment.close()
            self._segments.clear()
            self._active = None

    def _drop_first(self) -> None:
        self._segments.popleft().remove()
        self._place = self._taken = len(HEADER)
