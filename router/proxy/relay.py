"""Passes an answer on: a stream chunk by chunk as it comes, untouched."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from functools import lru_cache

import aiohttp

from router.asgi import FOLLOWS, Send
from router.proxy.call import Call
from router.proxy.opening import Reply
from router.proxy.translated import relay_translated
from router.receipts import Receipt
from router.refusals import BROKE_OFF
from router.state import RouterState


async def relay(state: RouterState, call: Call, reply: Reply, send: Send) -> str | None:
    """Passes the answer on; returns what broke it off, if anything did."""
    call.begun = reply.status == 200
    if call.translation is not None:
        return await relay_translated(call, reply, call.translation, own_headers(state, call), send)
    call.first_s = time.perf_counter() - call.started
    call.keep(reply.first)
    headers = reply.headers + own_headers(state, call)
    streamed = call.streamed and call.begun
    if not streamed:
        headers.append((b"content-length", b"%d" % len(reply.first)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers, FOLLOWS: True})
    await send({"type": "http.response.body", "body": reply.first, "more_body": streamed})
    if not streamed:
        return None

    def pass_on(chunk: bytes) -> Awaitable[None]:
        call.keep(chunk)
        return send({"type": "http.response.body", "body": chunk, "more_body": True})

    try:
        await reply.upstream.pass_on(pass_on)
    except (aiohttp.ClientError, OSError) as error:
        # The status is sent: the one way left to say it is an event in the stream, then its end without [DONE].
        said = call.protocol.write_break(BROKE_OFF)
        await send({"type": "http.response.body", "body": said, "more_body": False})
        return type(error).__name__
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return None


def own_headers(state: RouterState, call: Call) -> list[tuple[bytes, bytes]]:
    """What an answer says of itself. Only what can be reacted to brings a receipt."""
    headers = list(_describe(call.version, call.arm, call.unit.kind, call.experiment_id))
    if call.protocol.remembered:
        headers.append((b"x-flytewheel-interaction", call.interaction_id.encode()))
        if call.begun:
            headers.append((b"x-flytewheel-receipt", _sign(state, call).encode()))
    if call.fallback is not None:
        headers.append((b"x-flytewheel-fallback", call.served_arm.encode()))
    if call.unit.cookie is not None:
        headers.append((b"set-cookie", call.unit.cookie))
    return headers


@lru_cache(maxsize=1024)
def _describe(version: str, arm: str, kind: str, experiment_id: str | None) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that many answers share."""
    headers = [("version", version), ("arm", arm), ("unit", kind)]
    if experiment_id is not None:
        headers.append(("experiment", experiment_id))
    return tuple((f"x-flytewheel-{name}".encode(), value.encode()) for name, value in headers)


def _sign(state: RouterState, call: Call) -> str:
    given_ms = int(call.arrived.timestamp() * 1000)
    user, source = call.unit.user, call.route.name
    told = (call.interaction_id, user, source, call.version, call.arm, call.propensity, call.experiment_id, given_ms)
    return state.receipts.sign(Receipt(*told))
