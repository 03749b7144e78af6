"""The chat path: one request in, one backend's answer out, untouched.

It is bare ASGI with aiohttp's client behind it: no validation model, no middleware that buffers, no task but the
server's own (`benchmarks.router` says what that costs). Of the body only
`model` changes; when the client goes, the backend's connection is closed, which stops its work.
"""

from __future__ import annotations

import asyncio
from typing import Protocol as Shape

from router.access.callers import Caller
from router.asgi import CONNECTION, Connection, Receive, Scope, Send, send_json
from router.proxy.call import Call, read_call
from router.proxy.opening import Opener
from router.proxy.relay import own_headers, relay
from router.proxy.remembering import remember
from router.refusals import RefusedError, send_error
from router.shadow import Shadows
from router.state import RouterState


class UserMeter(Shape):
    """Counts what users of a key with limits use: `router.access.rates.Rates`."""

    def admit_user(self, caller: Caller, user: str) -> list[tuple[bytes, bytes]]:
        """Takes one request from a user's allowance.

        Raises:
            RefusedError: 429, it is used up.
        """

    def charge(self, caller: Caller, user: str, tokens: int) -> None:
        """Takes the tokens of an answer that was given."""


class Watch:
    """Ends the task that it is made in when its client goes; `left` says that it went.

    The connection itself tells it, where it stands in the scope: a task that waits for the client's end costs 12 µs, a
    timer that begins one later 4.
    """

    __slots__ = ("_connection", "_task", "left")

    def __init__(self, scope: Scope) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.left = False
        self._task = task
        self._connection: Connection | None = scope.get(CONNECTION)
        if self._connection is not None:
            if self._connection.lost:
                self._end()
            else:
                self._connection.gone = self._end

    def stop(self) -> None:
        """The answer is complete, or given up; servers tell the one end like the other."""
        if self._connection is not None and self._connection.gone == self._end:
            self._connection.gone = None

    def ends_here(self) -> bool:
        """Whether a cancellation of the task is this one's doing, and nobody else's."""
        return self.left and not self._task.uncancel()

    def _end(self) -> None:
        self.left = True
        self._task.cancel()


class ChatProxy:
    """ASGI endpoint of every path in `PROTOCOLS`."""

    def __init__(self, state: RouterState, meter: UserMeter | None = None) -> None:
        self._state = state
        self._meter = meter
        self._opener = Opener(state)
        self.shadows = Shadows(state, self._opener)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self._state
        try:
            call = await read_call(state, scope, receive)
            if call is None:
                return
            if self._meter is not None and call.caller.limited:
                self._meter.admit_user(call.caller, call.unit.user)
        except RefusedError as refused:
            state.metrics.requests.labels("", "", "", str(refused.status)).inc()
            await send_error(send, refused, path=scope["path"])
            return
        if not call.asks and (ready := call.protocol.write_ready(call.body, call.asked_model)) is not None:
            await send_json(send, ready)
            return
        watch = Watch(scope)
        state.metrics.in_flight.inc()
        state.log.expect(call.interaction_id)
        try:
            await self._answer(call, send, watch)
        except asyncio.CancelledError:
            if not watch.ends_here():
                raise
        finally:
            watch.stop()
            state.metrics.in_flight.dec()

    async def _answer(self, call: Call, send: Send, watch: Watch) -> None:
        """Serves one call; whatever happens, it is counted, and remembered if an answer began."""
        status, broken, reply = "cancelled", None, None
        try:
            reply = await self._opener.open(call)
            try:
                status = str(reply.status)
                broken = await relay(self._state, call, reply, send)
            finally:
                reply.close()
        except RefusedError as refused:
            status = str(refused.status)
            await send_error(send, refused, own_headers(self._state, call), call.endpoint)
        except asyncio.CancelledError:
            broken = "the client went away" if watch.left else "the router went away"
            raise
        finally:
            tokens = remember(self._state, call, status, broken)
            if reply is not None:
                reply.judge(None if call.told else call.fault)
                if call.route.shadow is not None and call.begun and broken is None and call.fault is None:
                    self.shadows.offer(call)
            if tokens and self._meter is not None and call.caller.limited:
                self._meter.charge(call.caller, call.unit.user, tokens)
