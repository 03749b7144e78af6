"""The chat path: one request in, one backend's answer out, untouched.

It is bare ASGI with an aiohttp client behind it: no validation model, no middleware that buffers (measured per
request: httpx costs 10 times as much, per streamed chunk 4 times). Of the body only `model` changes; when the client
goes, the backend's connection is closed, which stops its work.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from router.asgi import Receive, Scope, Send, send_json, wait_gone
from router.proxy.call import Call, read_call
from router.proxy.opening import Opener
from router.proxy.relay import own_headers, relay
from router.proxy.remembering import remember
from router.refusals import RefusedError, send_error
from router.state import RouterState


class ChatProxy:
    """ASGI endpoint of every path in `PROTOCOLS`."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._opener = Opener(state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            call = await read_call(self._state, scope, receive)
        except RefusedError as refused:
            self._state.metrics.requests.labels("", "", "", str(refused.status)).inc()
            await send_error(send, refused, path=scope["path"])
            return
        if call is None:
            return
        if not call.query and (ready := call.protocol.write_ready(call.body, call.asked_model)) is not None:
            await send_json(send, ready)
            return
        self._state.log.expect(call.interaction_id)
        work = asyncio.ensure_future(self._answer(call, send))
        gone = asyncio.ensure_future(wait_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            if not call.begun:  # also where the task was cancelled before it ran at all
                self._state.log.forget(call.interaction_id)

    async def _answer(self, call: Call, send: Send) -> None:
        """Serves one call; whatever happens, it is counted, and remembered if an answer began."""
        status, broken = "cancelled", None
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
            broken = "the client went away"
            raise
        finally:
            remember(self._state, call, status, broken)
