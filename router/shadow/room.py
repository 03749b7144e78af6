"""Decides which requests are copied to a shadow, asks it, and keeps figures of how its answers differ.

Nothing of this is on a user's way: a copy is sent when the user's answer is complete, in a task of its own, and
whatever goes wrong with it is a figure. It is what gives way first: no copy is made while the shadow has no room or
fails, while the champion's backend has half of its places taken, or beyond so many copies at a time. Its answers are no
interactions: they are compared and thrown away, and no receipt of them is ever sent.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg

from flytewheel.database import last_line
from flytewheel.errors import DatabaseError
from flytewheel.experiment.shadows import Shadow, ShadowAnswer, compare_words, store_answers
from router.backends.backend import READY
from router.backends.breaker import CLOSED
from router.protocols.answers import read_answer
from router.proxy.relay import relay
from router.refusals import RefusedError
from router.table import Route

if TYPE_CHECKING:
    from router.proxy.call import Call
    from router.proxy.opening import Opener
    from router.state import RouterState

logger = logging.getLogger("router.shadow")

TIMEOUT_S = 120.0
EVERY_S = 0.5  # figures that came in meanwhile are written together
_MOST_WAITING = 2000  # figures that wait for a database that is away; then the oldest go


class Shadows:
    """The copies of one worker; `chance` is in [0, 1)."""

    def __init__(self, state: RouterState, opener: Opener, chance: random.Random | None = None) -> None:
        self._state = state
        self._opener = opener
        self._chance = chance or random.Random()  # whose request is copied is no secret
        self._running: set[asyncio.Task[None]] = set()
        self._found: list[ShadowAnswer] = []
        self._writing: asyncio.Task[None] | None = None
        self.left_out = 0  # copies that gave way

    def offer(self, call: Call) -> None:
        """Copies a call whose answer is complete, or leaves it; never raises and never waits."""
        shadow = call.route.shadow
        if shadow is None or call.override is not None or self._chance.random() >= shadow.share:
            return
        if len(self._running) >= shadow.concurrency or self._is_busy(call, shadow):
            self.left_out += 1
            return
        champion = read_answer(call.path, b"".join(call.chunks), streamed=call.streamed).text
        task = asyncio.create_task(self._ask(call, shadow, champion, 1000 * (call.last_s or 0.0)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Gives up what runs, and writes what is known."""
        for task in list(self._running):
            task.cancel()
        if self._writing is not None:
            self._writing.cancel()
        if self._found:
            await self._store()

    def _is_busy(self, call: Call, shadow: Shadow) -> bool:
        theirs = self._state.pool.get(call.route.name, shadow.candidate)
        ours = self._state.pool.get(call.route.name, call.version)
        if theirs is None or theirs.state != READY or not theirs.has_room or theirs.breaker.state != CLOSED:
            return True
        return ours is not None and 2 * ours.inflight > ours.limit.most

    async def _ask(self, call: Call, shadow: Shadow, champion: str, champion_ms: float) -> None:
        side = replace(
            call,
            interaction_id=secrets.token_hex(16),
            route=Route(call.route.name, shadow.candidate, rehearsal=True),
            started=time.perf_counter(),
            chunks=[],
            kept=0,
            begun=False,
            fallback=None,
            fault=None,
            noted=None,
            first_s=None,
            last_s=None,
        )
        text, error = "", None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                text, error = await self._answer(side)
        except TimeoutError:
            error = f"no answer within {TIMEOUT_S:g} s"
        except Exception as unexpected:
            logger.exception("a copy to %s failed", shadow.candidate)
            error = type(unexpected).__name__
        taken_ms = 1000 * (time.perf_counter() - side.started)
        similarity = None if error else compare_words(champion, text)
        self._keep(ShadowAnswer(shadow.shadow_id, champion_ms, taken_ms, error, len(champion), len(text), similarity))

    async def _answer(self, side: Call) -> tuple[str, str | None]:
        """The shadow's answer, and why it is none."""

        async def take(message: MutableMapping[str, Any]) -> None:
            """Nobody is there to hear it."""

        try:
            reply = await self._opener.open(side)
        except RefusedError as refused:
            return "", str(refused)[:200]
        try:
            broken = await relay(self._state, side, reply, take)
        finally:
            reply.close()
        found = read_answer(side.path, b"".join(side.chunks), streamed=side.streamed)
        fault = broken or found.fault or (None if side.begun else f"it answered {reply.status}")
        reply.judge(fault)
        return found.text, fault[:200] if fault else None

    def _keep(self, found: ShadowAnswer) -> None:
        self._found = [*self._found, found][-_MOST_WAITING:]
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        await asyncio.sleep(EVERY_S)
        await self._store()

    async def _store(self) -> None:
        found, self._found = self._found, []
        try:
            await asyncio.to_thread(store_answers, self._state.database_url, found)
        except (DatabaseError, psycopg.Error) as error:
            logger.warning("figures of a shadow are not stored: %s", last_line(error))
