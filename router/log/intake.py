"""What happens to texts before anything else does, as the settings have it: before the spool, before any disk.

`full` changes nothing and costs nothing. `none` drops them at once. `redacted` holds records in memory, bounded, until
the redactor's process has seen them, some milliseconds: a worker that is killed loses these.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from flytewheel.errors import FeedbackError
from router.log.events import EventRow, encode_event
from router.log.health import Alarm
from router.log.redactor import RedactionError, Redactor
from router.log.texts import drop_texts, list_texts, replace_texts

logger = logging.getLogger("router.log")

_GATHER_S = 0.02
_BATCH = 50
_MOST_CHARS = 16 << 20  # of texts that wait for the redactor

Record = Mapping[str, Any]
Take = Callable[[Record, str], bool]


class Intake:
    """Passes interactions on to `take`, and changes events, as `text` says: full, redacted or none."""

    def __init__(self, text: str, take: Take, *, redactor: Redactor | None = None) -> None:
        """`take` gets a record and its source, and says whether it was taken."""
        self.shed = 0
        self.stripped = 0  # rows whose texts were given up, because they could not be redacted
        self._text, self._take = text, take
        self._redactor = redactor or Redactor()
        self._waiting: deque[tuple[Record, str, int]] = deque()
        self._chars = 0
        self._more = asyncio.Event()
        self.shedding = Alarm("interactions are shed, answers go on")
        self._alarm = Alarm("texts could not be redacted and are not kept")
        self._task = asyncio.create_task(self._run()) if text == "redacted" else None

    @property
    def waiting(self) -> int:
        """Interactions that are not redacted yet."""
        return len(self._waiting)

    def put(self, record: Record, source: str) -> bool:
        """Takes an interaction; false where it was shed or refused."""
        if self._text == "full":
            return self._take(record, source)
        if self._text == "none":
            return self._take(drop_texts(record), source)
        size = sum(map(len, list_texts(record))) + 200
        if self._chars + size > _MOST_CHARS:
            self.shed += 1
            self.shedding.raise_("more texts wait for the redactor than there is room for")
            return False
        self._chars += size
        self._waiting.append((dict(record), source, size))
        self._more.set()
        return True

    async def change_events(self, rows: Sequence[EventRow]) -> Sequence[EventRow]:
        """The events as they may be kept. The same event always gives the same one."""
        if self._text == "full":
            return rows
        fields = [{**orjson.loads(row.body), "timestamp": row.timestamp} for row in rows]
        if self._text == "none":
            return [
                encode_event(drop_texts(each), proven=row.proven, source=row.source, dated=row.dated)
                for each, row in zip(fields, rows, strict=True)
            ]
        texts = [list_texts(each) for each in fields]
        if not any(texts):
            return rows
        changed = await self._redact(fields, texts)
        return [
            row if now is before else encode_event(now, proven=row.proven, source=row.source, dated=row.dated)
            for row, before, now in zip(rows, fields, changed, strict=True)
        ]

    async def close(self, timeout_s: float) -> None:
        """Redacts what waits, for at most `timeout_s`; what is left is kept without its texts."""
        task, self._task = self._task, None
        if task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._waiting:
                    await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        while self._waiting:
            record, source, _ = self._waiting.popleft()
            self.stripped += 1
            self._take(drop_texts(record), source)
        await self._redactor.close()

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            await asyncio.sleep(_GATHER_S)
            while self._waiting:
                batch = [self._waiting[place] for place in range(min(_BATCH, len(self._waiting)))]
                records = [record for record, _, _ in batch]
                changed = await self._redact(records, [list_texts(record) for record in records])
                for (_, source, size), record in zip(batch, changed, strict=True):
                    self._waiting.popleft()
                    self._chars -= size
                    self._take(record, source)

    async def _redact(self, records: Sequence[Record], texts: list[list[str]]) -> list[Record]:
        try:
            redacted = await self._redactor.redact(texts)
            return [
                record if now == before else replace_texts(record, now)
                for record, before, now in zip(records, texts, redacted, strict=True)
            ]
        except (RedactionError, FeedbackError, TypeError, KeyError) as error:
            if len(records) > 1:  # one of them is to blame, and it shall be one only
                half = len(records) // 2
                first = await self._redact(records[:half], texts[:half])
                return [*first, *await self._redact(records[half:], texts[half:])]
            self.stripped += 1
            self._alarm.raise_(str(error))
            return [drop_texts(records[0])]
