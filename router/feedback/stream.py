"""`GET /v1/rewards`: rewards as server-sent events, the moment that they are stored, of all processes.

`event: reward` with `data: {event_id, interaction_id, feedback_type, reward, explicit, …, interaction}`; `id` is a mark
in commit order. Whoever comes back with it as `Last-Event-ID` is first given all from there on: some of it twice, none
of it never (`event_id` tells). `?name=` narrows it to one model. Who reads too slowly is cut off, and comes back.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from urllib.parse import parse_qs

import orjson
import psycopg

from flytewheel.database import last_line
from router.asgi import Receive, Scope, Send, wait_gone
from router.feedback.link import RewardLink
from router.feedback.rewards import Note, RewardHub, to_json
from router.refusals import RefusedError

logger = logging.getLogger("router.feedback")

BEAT_S = 15.0
MOST_WAITING = 20_000
_MARK = re.compile(r"\d{1,19}")
_TYPE = b"text/event-stream"
_HEADERS = [
    (b"content-type", _TYPE),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class RewardStream:
    """The ASGI endpoint."""

    def __init__(self, hub: RewardHub, link: RewardLink) -> None:
        self._hub = hub
        self._link = link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("name", [None])[0]
        headers = dict(scope["headers"])
        if _TYPE not in headers.get(b"accept", b""):  # who asks without knowing would wait for an end that never comes
            raise RefusedError(406, "invalid_request_error", "this is a stream: expected 'Accept: text/event-stream'")
        since = headers.get(b"last-event-id", b"").decode("latin-1") or None
        if since is not None and not _MARK.fullmatch(since):
            raise RefusedError(400, "invalid_request_error", "Last-Event-ID: expected an `id` of this stream")
        waiting: deque[Note] = deque()
        arrived = asyncio.Event()

        def take(notes: Sequence[Note]) -> None:
            waiting.extend(note for note in notes if name is None or note.name == name)
            arrived.set()

        cancel = self._hub.subscribe(take)
        gone = asyncio.ensure_future(wait_gone(receive))
        work = asyncio.ensure_future(self._work(send, since, waiting, arrived, name))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancel()
            for task in (gone, work):
                task.cancel()
                with suppress(asyncio.CancelledError, RefusedError):
                    await task
        if work.done() and not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _work(
        self, send: Send, since: str | None, waiting: deque[Note], arrived: asyncio.Event, name: str | None
    ) -> None:
        self._link.start_listening()
        try:
            await asyncio.wait_for(self._link.listening.wait(), 5.0)
        except TimeoutError:
            raise RefusedError(503, "server_error", "the database is away, and with it the rewards of others") from None
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            async for notes in self._link.read_stored(since) if since is not None else _nothing():
                await self._send(send, [note for note in notes if name is None or note.name == name])
        except (psycopg.Error, OSError) as error:
            logger.warning("a stream of rewards cannot be resumed: %s", last_line(error))
            return  # the client comes back, with the same mark
        await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
        while len(waiting) <= MOST_WAITING:
            if not waiting:
                arrived.clear()
                try:
                    await asyncio.wait_for(arrived.wait(), BEAT_S)
                except TimeoutError:
                    await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
                    continue
            notes = list(waiting)
            waiting.clear()
            await self._send(send, notes)
        await send({"type": "http.response.body", "body": b"event: cut\ndata: too slow\n\n", "more_body": False})

    async def _send(self, send: Send, notes: Sequence[Note]) -> None:
        mark = self._link.mark.encode()
        parts = []
        for note in notes:
            data = orjson.dumps(to_json(note, self._hub.book.add(note)))
            parts.append(b"id: " + mark + b"\nevent: reward\ndata: " + data + b"\n\n")
        if parts:
            await send({"type": "http.response.body", "body": b"".join(parts), "more_body": True})


async def _nothing() -> AsyncIterator[list[Note]]:
    for _ in ():
        yield []
