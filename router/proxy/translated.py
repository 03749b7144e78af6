"""Passes an answer on in another protocol than the backend's: event by event as they come, nothing is held back.

A backend may answer anything. What is not its protocol becomes an error in the client's form: status 502 where the
answer came whole, the last line of the stream where it had begun.
"""

from __future__ import annotations

import time

import aiohttp

from router.asgi import Send
from router.protocols import AnswerError, ToldError, Translation
from router.proxy.call import Call
from router.proxy.opening import Reply, read_said
from router.refusals import BROKE_OFF, RefusedError

Headers = list[tuple[bytes, bytes]]


async def relay_translated(call: Call, reply: Reply, translation: Translation, own: Headers, send: Send) -> str | None:
    """Passes the answer on with the headers `own`; returns what broke it off, if anything did."""
    call.first_s = time.perf_counter() - call.started
    call.keep(reply.first)
    headers = [pair for pair in reply.headers if not pair[0].startswith(b"content-")] + own
    if call.streamed and call.begun:
        return await _relay_stream(call, reply, translation, headers, send)
    status, body = _write_whole(call, reply, translation)
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    call.last_s = time.perf_counter() - call.started
    return call.fault


def _write_whole(call: Call, reply: Reply, translation: Translation) -> tuple[int, bytes]:
    """Status and body for the client."""
    if not call.begun:
        kind = "server_error" if reply.status >= 500 else "invalid_request_error"
        return reply.status, call.protocol.write_error(RefusedError(reply.status, kind, read_said(reply.first)))
    try:
        return 200, translation.write_whole(reply.first)
    except AnswerError as error:
        call.fault, call.told = str(error), isinstance(error, ToldError)
        return 502, call.protocol.write_error(_refuse(error))


async def _relay_stream(call: Call, reply: Reply, translation: Translation, headers: Headers, send: Send) -> str | None:
    headers.append((b"content-type", translation.stream_type))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    chunk, broken = reply.first, None
    try:
        while chunk:
            for event in translation.feed(chunk):
                await send({"type": "http.response.body", "body": event, "more_body": True})
            chunk = await reply.upstream.read_some()
            call.keep(chunk)
        last = b"".join(translation.finish())
    except AnswerError as error:
        last, broken = call.protocol.write_break(_refuse(error)), str(error)
        call.fault, call.told = broken, isinstance(error, ToldError)
    except (aiohttp.ClientError, OSError) as error:
        last, broken = call.protocol.write_break(BROKE_OFF), type(error).__name__
    call.last_s = time.perf_counter() - call.started
    await send({"type": "http.response.body", "body": last, "more_body": False})
    return broken


def _refuse(error: AnswerError) -> RefusedError:
    return RefusedError(502, "server_error", f"the model's server answered wrongly: {error}", "backend_unavailable")
