"""The log of one worker process: see the package's docstring for its use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import FeedbackError
from flytewheel.forgotten import read_key
from flytewheel.settings import Settings
from flytewheel.spool import FOLDER
from router.log.budget import LIMIT_BYTES, Budget
from router.log.events import EventRow
from router.log.health import Health
from router.log.ingest import Ingest
from router.log.intake import Intake
from router.log.journal import Journal
from router.log.outcomes import Outcome
from router.log.rows import encode_interaction
from router.log.waiting import WaitingEvents
from router.log.writer import Writer

logger = logging.getLogger("router.log")


@dataclass(frozen=True, slots=True)
class LogState:
    """Where a log stands.

    `written`, `waiting`, `shed` and `refused` count interactions of this process: stored, not yet, given up because
    nothing took them, and never storable. `events` and `spooled` count events committed and laid into the spool,
    `quarantined` rows of both kinds. `spool_bytes` is the folder's, of all processes. `failing` says why the database
    takes no rows, `trouble` what else is wrong; `shedding`: interactions were given up within the last minute.
    """

    written: int
    waiting: int
    shed: int
    failing: str | None
    refused: int = 0
    events: int = 0
    spooled: int = 0
    quarantined: int = 0
    spool_bytes: int = 0
    trouble: str | None = None
    shedding: bool = False

    @classmethod
    def total(cls, states: Sequence[LogState]) -> LogState:
        """The state of several processes that share one spool."""
        counted = ("written", "waiting", "shed", "refused", "events", "spooled", "quarantined")
        return cls(
            **{name: sum(getattr(state, name) for state in states) for name in counted},
            spool_bytes=max((state.spool_bytes for state in states), default=0),
            failing=next((state.failing for state in states if state.failing), None),
            trouble=next((state.trouble for state in states if state.trouble), None),
            shedding=any(state.shedding for state in states),
        )


class Log:
    """Interactions and events of one process, on their way to PostgreSQL; made inside the event loop."""

    def __init__(
        self,
        database_url: str,
        folder: Path,
        *,
        limit_bytes: int = LIMIT_BYTES,
        erasure_key: Callable[[], str] = str,
        text: str = "full",
    ) -> None:
        """Opens the log of this process.

        Args:
            database_url: PostgreSQL; it may be away.
            folder: of the spool, shared by every process of this machine.
            limit_bytes: that the spool may take, of all processes together.
            erasure_key: gives what people who were erased are known by; asked when somebody was.
            text: what is kept of texts: `full`, `redacted` or `none`.
        """
        segment_bytes = min(8 << 20, max(4 << 10, limit_bytes // 32))
        self._loop = asyncio.get_running_loop()
        self._announced: set[str] = set()
        self._put: set[str] = set()
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._refused = 0
        self._health = Health(database_url, lambda: self._tell(None))
        self._budget = Budget(folder, limit_bytes)
        self._journal = Journal(folder, self._budget, segment_bytes=segment_bytes)
        self._waiting = WaitingEvents(folder, self._budget, segment_bytes=segment_bytes)
        self._writer = Writer(
            database_url,
            self._journal,
            self._waiting,
            self._health,
            erasure_key=erasure_key,
            stored=self._tell,
        )
        self._ingest = Ingest(database_url, self._writer, self._waiting, self._health)
        self._intake = Intake(text, self._take)

    # -- interactions

    def expect(self, interaction_id: str) -> None:
        """Announces a row: `settled` waits for it from now on, until it is stored, or `forget`."""
        self._announced.add(interaction_id)

    def forget(self, interaction_id: str) -> None:
        """The announced row will not come."""
        self._announced.discard(interaction_id)
        self._wake((interaction_id,))

    def put(self, record: Mapping[str, Any], source: str) -> bool:
        """Takes an interaction; false when it was shed, because nothing takes it, or refused, because it is none."""
        name = record.get("interaction_id", "")
        self._announced.discard(name)
        if self._health.away is None:
            self._put.add(name)
        else:
            self._wake((name,))
        if self._intake.put(record, source):
            return True
        self._settle((name,))
        return False

    def _take(self, record: Mapping[str, Any], source: str) -> bool:
        try:
            line = encode_interaction(record, source)
        except FeedbackError as error:
            self._refused += 1
            logger.error("interaction %s is not logged: %s", record.get("interaction_id"), error)
            self._settle((record.get("interaction_id", ""),))
            return False
        if self._writer.put(line):
            return True
        self._settle((record.get("interaction_id", ""),))
        return False

    async def settled(self, interaction_id: str, timeout_s: float) -> bool:
        """Waits until an announced row is stored or given up; true at once for an id that was never announced.

        A row that lies in the spool because the database is away counts as settled: events about it are spooled too.
        """
        if interaction_id not in self._announced and interaction_id not in self._put:
            return True
        future = self._waiters.get(interaction_id)
        if future is None:
            future = self._waiters[interaction_id] = self._loop.create_future()
        self._writer.hurry()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(future), timeout_s)
        return future.done()

    # -- events

    async def store_events(self, rows: Sequence[EventRow]) -> list[Outcome]:
        """Stores events; see the package's docstring.

        Raises:
            LogFullError: they could neither be committed nor spooled.
        """
        return await self._ingest.store(await self._intake.change_events(rows))

    # -- as a whole

    @property
    def state(self) -> LogState:
        writer, ingest = self._writer, self._ingest
        return LogState(
            written=writer.written,
            waiting=self._journal.waiting + writer.loose + self._intake.waiting,
            shed=writer.shed + self._intake.shed,
            refused=self._refused,
            events=ingest.stored,
            spooled=ingest.spooled,
            quarantined=writer.quarantined,
            spool_bytes=self._budget.look(),
            failing=self._health.away,
            trouble=self._journal.trouble or writer.trouble,
            shedding=writer.shedding.sounding or self._intake.shedding.sounding,
        )

    async def close(self, *, timeout_s: float = 8.0) -> None:
        """Answers who waits, writes what is there for at most `timeout_s`; the rest stays in the spool."""
        await self._intake.close(timeout_s)
        await asyncio.to_thread(self._ingest.close, timeout_s)
        await asyncio.to_thread(self._writer.close, timeout_s)
        self._waiting.seal()
        self._journal.close()
        if self._journal.waiting:
            logger.warning("%d interactions stay in the spool: %s", self._journal.waiting, self._health.away)

    def _tell(self, names: Sequence[str] | None) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._settle, names)

    def _settle(self, names: Sequence[str] | None) -> None:
        """Rows that are stored, or all that were put: the database is away, and they are in the spool."""
        names = tuple(self._put) if names is None else names
        self._put.difference_update(names)
        self._wake(names)

    def _wake(self, names: Sequence[str]) -> None:
        if not self._waiters:
            return
        for name in names:
            future = self._waiters.pop(name, None)
            if future is not None and not future.done():
                future.set_result(None)


def open_log(settings: Settings) -> Log:
    """The log of this process, as the settings have it; made inside the event loop."""
    assert settings.database_url is not None
    given = settings.erasure_key
    return Log(
        settings.database_url,
        settings.home / FOLDER,
        limit_bytes=settings.spool_bytes,
        text=settings.log_text,
        erasure_key=lambda: given.get_secret_value() if given is not None else read_key(settings.home),
    )
