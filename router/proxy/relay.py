"""Passes an answer on: a stream chunk by chunk as it comes, untouched."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import lru_cache

import aiohttp

from router.asgi import FOLLOWS, Send, Written
from router.proxy.call import Call
from router.proxy.opening import Reply
from router.proxy.translated import relay_translated
from router.receipts import Receipt
from router.refusals import BROKE_OFF
from router.state import RouterState

Headers = tuple[tuple[bytes, bytes], ...]

_INTERACTION, _RECEIPT = b"x-flytewheel-interaction", b"x-flytewheel-receipt"


async def relay(state: RouterState, call: Call, reply: Reply, send: Send) -> str | None:
    """Passes the answer on; returns what broke it off, if anything did."""
    call.begun = reply.status == 200
    if call.translation is not None:
        return await relay_translated(call, reply, call.translation, own_headers(state, call), send)
    call.keep(reply.first)
    call.first_s = call.last_s
    streamed = call.streamed and call.begun
    headers = _write_headers(state, call, reply.headers, None if streamed else len(reply.first))
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


def _write_headers(
    state: RouterState, call: Call, given: Headers, length: int | None
) -> Written | list[tuple[bytes, bytes]]:
    """The answer's headers, written out at once where they are the usual ones: what many answers share is written once.

    Args:
        state: this process's.
        call: the request.
        given: the backend's headers that are passed on.
        length: of the body; None where it is a stream.
    """
    if call.fallback is not None or call.unit.cookie is not None or not (call.begun and call.protocol.remembered):
        plain = [*given, *own_headers(state, call)]
        if length is not None:
            plain.append((b"content-length", b"%d" % length))
        return plain
    experiment_id = call.experiment_id
    shared, lines = _write_shared(given, call.version, call.arm, call.unit.kind, experiment_id)
    name, receipt = call.interaction_id.encode(), _sign(state, call, experiment_id)
    headers = Written((*shared, (_INTERACTION, name), (_RECEIPT, receipt)))
    if length is not None:
        headers.append((b"content-length", size := b"%d" % length))
    if lines is None:
        return list(headers)
    own = b"x-flytewheel-interaction: %b\r\nx-flytewheel-receipt: %b\r\n" % (name, receipt)
    headers.lines = lines + own if length is None else b"%b%bcontent-length: %b\r\n" % (lines, own, size)
    headers.length = length
    return headers


@lru_cache(maxsize=1024)
def _write_shared(
    given: Headers, version: str, arm: str, kind: str, experiment_id: str | None
) -> tuple[Headers, bytes | None]:
    """The headers that many answers share, and their lines; None where the server has to look at them."""
    pairs = (*given, *_describe(version, arm, kind, experiment_id))
    lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
    count = len(pairs)
    fit = lines.count(b"\n") == lines.count(b"\r") == count and b"\0" not in lines
    return pairs, lines if fit and all(name.islower() for name, _ in pairs) else None


def own_headers(state: RouterState, call: Call) -> list[tuple[bytes, bytes]]:
    """What an answer says of itself. Only what can be reacted to brings a receipt."""
    headers = list(_describe(call.version, call.arm, call.unit.kind, call.experiment_id))
    if call.protocol.remembered:
        headers.append((_INTERACTION, call.interaction_id.encode()))
        if call.begun:
            headers.append((_RECEIPT, _sign(state, call, call.experiment_id)))
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


def _sign(state: RouterState, call: Call, experiment_id: str | None) -> bytes:
    user, source, given_ms = call.unit.user, call.route.name, call.arrived_ms
    told = (call.interaction_id, user, source, call.version, call.arm, call.propensity, experiment_id, given_ms)
    return state.receipts.write(Receipt(*told))
