"""The threads that store events while their senders wait: one commit for all that came together.

What comes within a millisecond, or while the last commits were on their way, is one group: 3,000 single requests a
second need a few hundred commits. Two commits may be on their way at once, each over a connection of its own: while the
disk syncs the one, the rows of the other are written, and PostgreSQL syncs all that is written by then in one go, that
of other processes too. With one connection a process, two processes waited for each other's disk and took half as many
requests as one (docs/adr/0042). An event whose interaction is not stored yet, and is proven, makes the writer hurry;
where that does not bring it in a moment, the event waits in the spool.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import psycopg

from router.log.database import Session, Wary
from router.log.events import EventRow, digest_undated
from router.log.health import Health
from router.log.outcomes import LogFullError, Outcome
from router.log.waiting import WaitingEvents
from router.log.writer import Writer

logger = logging.getLogger("router.log")

_STREAMS = 2  # commits at once
_GATHER_S = 0.001
_GROUP_ROWS = 2000
_MOST_ROWS = 5000
_CATCH_UP_S = 0.25
_NEAR = 2000  # interactions before ours: farther behind, it is not worth the wait
_REMEMBERED = 100_000  # ids of events in the spool


@dataclass(slots=True)
class Request:
    """The events of one sender. `left` counts those without an outcome."""

    rows: Sequence[EventRow]
    future: asyncio.Future[list[Outcome]]
    outcomes: list[Outcome | LogFullError | None] = field(default_factory=list)
    left: int = 0

    def __post_init__(self) -> None:
        self.outcomes = [None] * len(self.rows)
        self.left = len(self.rows)


Item = tuple[Request, int, EventRow]


class Ingest:
    """Groups of events on their way into the database or the spool."""

    def __init__(self, url: str, writer: Writer, waiting: WaitingEvents, health: Health) -> None:
        self.stored = 0
        self.spooled = 0
        self._writer, self._waiting, self._health = writer, waiting, health
        self._loop = asyncio.get_running_loop()
        self._turn = threading.Lock()  # of gathering a group
        self._lock = threading.Lock()
        self._spooling = threading.Lock()
        self._pending: deque[Request] = deque()
        self._more = threading.Event()
        self._ending = False
        self._spooled: dict[str, tuple[str, bytes]] = {}  # id: both digests, of events laid into the spool from here
        wary = Wary()
        self._threads = [
            threading.Thread(target=self._run, args=(Session(url, wary),), name=f"events {number}", daemon=True)
            for number in range(_STREAMS)
        ]
        for thread in self._threads:
            thread.start()

    async def store(self, rows: Sequence[EventRow]) -> list[Outcome]:
        """See the package's docstring.

        Raises:
            LogFullError: they could neither be committed nor spooled, at least one of them.
        """
        if not rows:
            return []
        request = Request(rows, self._loop.create_future())
        with self._lock:
            self._pending.append(request)
        if not self._more.is_set():
            self._more.set()
        return await request.future

    def close(self, timeout_s: float) -> None:
        """Serves who waits, then ends."""
        self._ending = True
        self._more.set()
        for thread in self._threads:
            thread.join(timeout_s + 30)

    # -- the threads

    def _run(self, session: Session) -> None:
        while requests := self._gather():
            for group in _divide(requests):
                try:
                    if not self._serve_fresh(session, group):
                        items = [(request, n, row) for request in group for n, row in enumerate(request.rows)]
                        self._serve(session, items)
                except Exception as error:
                    logger.exception("events could not be stored")
                    self._answer([one for one in group if one.left], LogFullError(f"{type(error).__name__}"))
        session.close()

    def _gather(self) -> deque[Request]:
        """What came since the last time, waited for; nothing at the end. One thread at a time does."""
        with self._turn:
            while True:
                self._more.wait()
                if not self._ending:
                    time.sleep(_GATHER_S)
                with self._lock:
                    requests, self._pending = self._pending, deque()
                    if not self._ending:
                        self._more.clear()
                if requests or self._ending:
                    return requests

    def _serve_fresh(self, session: Session, requests: Sequence[Request]) -> bool:
        """What nearly always happens, without an account of each event: all go in. False: none did, or not for sure."""
        rows = [row for request in requests for row in request.rows]
        if self._health.away is not None or len({row.event_id for row in rows}) < len(rows):
            return False
        try:
            if not session.store_fresh(rows):
                return False
        except psycopg.Error as error:  # also one in the middle of a commit: stored twice counts once
            session.close()
            self._health.fail(error)
            return False
        self._count(len(rows))
        for request in requests:
            request.outcomes, request.left = ["stored"] * len(request.rows), 0
        self._answer(requests)
        return True

    def _count(self, stored: int) -> None:
        with self._lock:
            self.stored += stored

    def _serve(self, session: Session, items: list[Item]) -> None:
        """Gives every item its outcome: rounds of different ids, the first of an id before the second."""
        while items:
            chosen: dict[str, Item] = {}
            rest = []
            for item in items:
                if len(chosen) < _MOST_ROWS and item[2].event_id not in chosen:
                    chosen[item[2].event_id] = item
                else:
                    rest.append(item)
            self._serve_round(session, list(chosen.values()))
            items = rest

    def _serve_round(self, session: Session, items: list[Item]) -> None:
        late = self._commit(session, items)
        if not late:
            return
        if self._health.away is None and self._writer.catch_up(_NEAR, _CATCH_UP_S):
            late = self._commit(session, late)
        self._spool(late)

    def _commit(self, session: Session, items: list[Item]) -> list[Item]:
        """Stores what can be stored and answers for it; gives what is for the spool."""
        if self._health.away is not None:
            return items
        rows = [row for _, _, row in items]
        try:
            outcomes = session.store_events(rows, partial(_hold, session))
        except psycopg.Error as error:  # also one in the middle of a commit: stored twice counts once
            session.close()
            self._health.fail(error)
            return items
        late = [item for item, said in zip(items, outcomes, strict=True) if said == "unknown" and item[2].proven]
        self._count(outcomes.count("stored"))
        self._settle(
            [
                (item, said)
                for item, said in zip(items, outcomes, strict=True)
                if said != "unknown" or not item[2].proven
            ]
        )
        return late

    def _spool(self, items: list[Item]) -> None:
        told: list[tuple[Item, Outcome | LogFullError]] = []
        with self._spooling:  # from the look to the note: the other thread may have the same event
            fresh = []
            for item in items:
                known = self._spooled.get(item[2].event_id)
                if known is None:
                    fresh.append(item)
                else:
                    told.append((item, "duplicate" if _repeats(item[2], known) else "conflict"))
            try:
                if fresh:
                    self._waiting.append(row for _, _, row in fresh)
            except LogFullError as error:
                told += [(item, error) for item in fresh]
            else:
                if len(self._spooled) > _REMEMBERED:
                    self._spooled.clear()
                self._spooled.update((row.event_id, (row.digest, digest_undated(row.body))) for _, _, row in fresh)
                self.spooled += len(fresh)
                told += [(item, "stored") for item in fresh]
        self._settle(told)

    # -- answers

    def _settle(self, told: Sequence[tuple[Item, Outcome | LogFullError]]) -> None:
        done = []
        for (request, number, _), said in told:
            request.outcomes[number] = said
            request.left -= 1
            if not request.left:
                done.append(request)
        if done:
            self._answer(done)

    def _answer(self, requests: Sequence[Request], error: LogFullError | None = None) -> None:
        self._loop.call_soon_threadsafe(_resolve, requests, error)


def _repeats(row: EventRow, known: tuple[str, bytes]) -> bool:
    """Whether an event says the same as the one with these digests; where its time is ours, the time says nothing."""
    return known[0] == row.digest or (not row.dated and known[1] == digest_undated(row.body))


def _hold(session: Session, row: EventRow, reason: str) -> None:
    session.quarantine("feedback", "router", reason, row.digest, row.body.decode())
    logger.error("event %s went to quarantine: %s", row.event_id, reason)


def _divide(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Groups of requests that one COPY takes: whoever came first is answered while the next ones are on their way."""
    group: list[Request] = []
    size = 0
    for request in requests:
        if group and size + len(request.rows) > _GROUP_ROWS:
            yield group
            group, size = [], 0
        group.append(request)
        size += len(request.rows)
    if group:
        yield group


def _resolve(requests: Sequence[Request], error: LogFullError | None) -> None:
    for request in requests:
        if request.future.done():  # its sender went
            continue
        refused = error or next((said for said in request.outcomes if isinstance(said, LogFullError)), None)
        if refused is not None:
            request.future.set_exception(refused)
        else:
            request.future.set_result([said for said in request.outcomes if isinstance(said, str)])
