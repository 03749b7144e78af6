"""The thread in the background: interactions into the database, waiting events after them, what dead workers left.

It writes in batches: what came in 50 ms, or while the last batch was on its way. While the database is away it makes
the journal outlive the machine too (fsync), and asks again, at longer and longer intervals up to 5 s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import psycopg

from flytewheel.errors import FeedbackError
from router.log.database import Session, read_interaction
from router.log.erased import Erased
from router.log.events import EventRow
from router.log.health import Alarm, Health
from router.log.journal import Journal
from router.log.rows import name_of
from router.log.waiting import WaitingEvents

logger = logging.getLogger("router.log")

_LINGER_S = 0.05
_LONGEST_PAUSE_S = 5.0
_ADOPT_S = 3.0
_IDLE_S = 0.5
_REPLAY_S, _LONGEST_REPLAY_S = 0.5, 30.0
_ROWS, _BYTES = 500, 1 << 20
_LOOSE_BYTES = 16 << 20  # of rows that no file holds: the disk is full or refuses

Stored = Callable[[list[str]], None]


class Writer:
    """Stores what the journal holds. `put` is called by the event loop, everything else happens in the thread."""

    def __init__(
        self,
        url: str,
        journal: Journal,
        waiting: WaitingEvents,
        health: Health,
        *,
        erasure_key: Callable[[], str],
        stored: Stored,
    ) -> None:
        """`stored` is told, in the thread, the ids of rows that need no waiting for any more."""
        self.written = 0
        self.shed = 0
        self.quarantined = 0
        self.trouble: str | None = None
        self._journal, self._waiting, self._health = journal, waiting, health
        self._session = Session(url)
        self._erased = Erased(self._session, erasure_key)
        self._stored = stored
        self._loose: deque[bytes] = deque()
        self._loose_bytes = 0
        self._more, self._hurry = threading.Event(), threading.Event()
        self._caught_up = threading.Condition()
        self.shedding = Alarm("interactions are shed, answers go on")
        self._stuck = Alarm("the log keeps what comes in its spool and cannot go on")
        self._adopt_at = self._replay_at = 0.0
        self._replay_pause_s, self._replayed = _REPLAY_S, 0
        self._ends_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="interactions", daemon=True)
        self._thread.start()

    @property
    def loose(self) -> int:
        """Rows that only memory holds."""
        return len(self._loose)

    def put(self, line: bytes) -> bool:
        """Takes a row; false where it was shed."""
        if not self._journal.append(line):
            if self._loose_bytes + len(line) > _LOOSE_BYTES:
                self.shed += 1
                self.shedding.raise_(self._journal.trouble or "the spool is full")
                return False
            self._loose_bytes += len(line)
            self._loose.append(line)
        if not self._more.is_set():
            self._more.set()
        return True

    def hurry(self) -> None:
        """Somebody waits for what was put."""
        self._hurry.set()
        self._more.set()

    def catch_up(self, most: int, timeout_s: float) -> bool:
        """Waits until what was put before is stored; false where that takes longer, or is more than `most` rows."""
        journal, target = self._journal, self._journal.appended
        if self._health.away is not None or journal.waiting > most:
            return False
        self.hurry()
        with self._caught_up:
            return self._caught_up.wait_for(
                lambda: journal.stored >= target or self._health.away is not None, timeout_s
            ) and (journal.stored >= target)

    def close(self, timeout_s: float) -> None:
        """Writes what is there, for at most `timeout_s`; what is not written stays in the spool."""
        self._ends_at = time.monotonic() + timeout_s
        self._hurry.set()
        self._more.set()
        self._thread.join(timeout_s + 30)
        if self.loose:
            self.shed += self.loose
            logger.error("%d interactions are lost: neither the database nor the disk took them", self.loose)

    # -- the thread

    def _run(self) -> None:
        pause_s = 0.1
        while not self._done():
            try:
                if self._health.away is not None:
                    self._journal.sync()
                    self._session.ping()
                    self._health.recover()
                    self._replay_at = self._adopt_at = 0.0
                busy = self._work()
                self.trouble = None
            except (psycopg.Error, OSError, FeedbackError) as error:
                self._failed(error)
                if self._ends_at is not None:
                    break
                self._hurry.clear()
                self._hurry.wait(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
                continue
            except Exception as error:  # an end of this thread would be an end of the log, without a word
                logger.exception("the log stumbled")
                self._failed(error)
                time.sleep(1.0)
                continue
            pause_s = 0.1
            if not busy:
                self._rest()
        with suppress(Exception):
            self._session.close()

    def _done(self) -> bool:
        if self._ends_at is None:
            return False
        return time.monotonic() > self._ends_at or not (self._journal.waiting or self._loose)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, psycopg.Error):
            self._session.close()
            self._health.fail(error)
        else:
            self.trouble = str(error)
            self._stuck.raise_(str(error))
        with self._caught_up:
            self._caught_up.notify_all()

    def _rest(self) -> None:
        """Waits for more, and then a moment for what comes with it."""
        self._more.clear()
        if not (self._journal.waiting or self._loose) and not self._more.wait(_IDLE_S):
            self._journal.tidy()
            return
        if self._ends_at is None:
            self._hurry.wait(_LINGER_S)
            self._hurry.clear()

    def _work(self) -> bool:
        """One round; false when there is nothing to do for the moment."""
        now = time.monotonic()
        if now >= self._adopt_at:
            self._adopt_at = now + _ADOPT_S
            if adopted := self._journal.adopt():
                logger.warning("%d interactions of a process that ended are taken over", adopted)
        if self._store_some():
            return True
        if self._waiting.added > self._replayed and self._replay_pause_s > _REPLAY_S:
            self._replay_pause_s, self._replay_at = _REPLAY_S, now
        if now >= self._replay_at and self._ends_at is None and self._waiting.find():
            self._replay()
        return False

    def _store_some(self) -> bool:
        if self._loose:
            lines = [self._loose[place] for place in range(min(_ROWS, len(self._loose)))]
            self._store(lines)
            for line in lines:
                self._loose.popleft()
                self._loose_bytes -= len(line)
            return True
        lines = self._journal.read(_ROWS, _BYTES)
        if not lines:
            return False
        self._store(list(lines))
        self._journal.advance()
        with self._caught_up:
            self._caught_up.notify_all()
        return len(lines) == _ROWS

    def _store(self, lines: list[bytes]) -> None:
        names = [name_of(line) for line in lines]
        self._erased.refresh()
        if self._erased:
            lines = [line for line in lines if not self._erased.refuses_line(line)]
        if lines:
            self.written += self._session.store_interactions(lines, self._hold_line)
        self._stored(names)

    def _hold_line(self, line: bytes, reason: str) -> None:
        source, digest, body = read_interaction(line)
        self._session.quarantine("interaction", source, reason, digest, body)
        self.quarantined += 1
        logger.error("interaction %s went to quarantine: %s", name_of(line), reason)

    def _replay(self) -> None:
        self._erased.refresh(now=True)
        added = self._waiting.added
        done = self._waiting.replay(self._session, refuses=self._erased.refuses_event, hold=self._hold_event)
        if done:
            logger.info("%d waiting events were replayed, %d go on waiting", done, self._waiting.kept)
        self._replayed = added
        self._replay_pause_s = _REPLAY_S if done else min(_LONGEST_REPLAY_S, 2 * self._replay_pause_s)
        self._replay_at = time.monotonic() + self._replay_pause_s

    def _hold_event(self, row: EventRow, reason: str) -> None:
        self._session.quarantine("feedback", "router", reason, row.digest, row.body.decode())
        self.quarantined += 1
        logger.error("event %s went to quarantine: %s", row.event_id, reason)
