"""Passes an answer on: a stream chunk by chunk as it comes, untouched."""

from __future__ import annotations

import time

import aiohttp

from router.asgi import Send
from router.proxy.call import Call
from router.proxy.opening import Reply
from router.proxy.translated import relay_translated
from router.receipts import Receipt
from router.refusals import BROKE_OFF
from router.state import RouterState


async def relay(state: RouterState, call: Call, reply: Reply, send: Send) -> str | None:
    """Passes the answer on; returns what broke it off, if anything did."""
    if call.translation is not None:
        return await relay_translated(call, reply, call.translation, own_headers(state, call), send)
    call.first_s = time.perf_counter() - call.started
    call.chunks.append(reply.first)
    headers = reply.headers + own_headers(state, call)
    streamed = call.streamed and reply.status == 200
    if not streamed:
        headers.append((b"content-length", str(len(reply.first)).encode()))
    call.begun = reply.status == 200
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.first, "more_body": streamed})
    call.last_s = time.perf_counter() - call.started
    if not streamed:
        return None
    try:
        while chunk := await reply.upstream.content.readany():
            call.chunks.append(chunk)
            call.last_s = time.perf_counter() - call.started
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except (aiohttp.ClientError, OSError) as error:
        # The status is sent: the one way left to say it is an event in the stream, then its end without [DONE].
        said = call.protocol.write_break(BROKE_OFF)
        await send({"type": "http.response.body", "body": said, "more_body": False})
        return type(error).__name__
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return None


def own_headers(state: RouterState, call: Call) -> list[tuple[bytes, bytes]]:
    """What an answer says of itself."""
    experiment = call.route.experiment
    headers = {
        "x-flytewheel-version": call.version,
        "x-flytewheel-arm": call.arm,
        "x-flytewheel-unit": call.unit,
    }
    if call.protocol.remembered:
        receipt = Receipt(
            interaction_id=call.interaction_id,
            user=call.user,
            source=call.route.name,
            version=call.version,
            arm=call.arm,
            propensity=call.propensity,
            experiment_id=experiment.experiment_id if experiment else None,
            given_ms=int(call.arrived.timestamp() * 1000),
        )
        headers["x-flytewheel-interaction"] = call.interaction_id
        headers["x-flytewheel-receipt"] = state.receipts.sign(receipt)
    if experiment is not None:
        headers["x-flytewheel-experiment"] = experiment.experiment_id
    if call.fallback is not None:
        headers["x-flytewheel-fallback"] = call.served_arm
    return [(name.encode(), value.encode()) for name, value in headers.items()]
