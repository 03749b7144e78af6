"""The chat path: one request in, one backend's answer out, untouched.

It is bare ASGI with an aiohttp client behind it: no validation model, no middleware that buffers (measured per
request: httpx costs 10 times as much, per streamed chunk 4 times). Of the body only `model` changes; a stream is
passed on chunk by chunk as it comes; when the client goes, the backend's connection is closed, which stops its work.

The arm is chosen by the sticky hash of the user. Where the treatment fails before its first byte, the control answers,
and the failure stays charged to the treatment: `arm` is the assigned one, `metadata.served_arm` says who answered
(DESIGN §7). Waiting is bounded: for a version that is still being loaded, or for a control that is being restarted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from flytewheel.experiment.assign import choose_arm
from flytewheel.records import Interaction
from router.answers import Answer, read_plain, read_stream
from router.backends import Backend, ModelGoneError
from router.calls import PREFIX, Call, Receive, RefusedError, Send, error_body, read_call, send_error
from router.receipts import sign_receipt
from router.state import RouterState

# They belong to one connection, or our own server makes them anew; CORS is not the backend's business.
_NOT_PASSED_ON = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding te trailer upgrade proxy-authenticate content-length"
    b" server date".split()
)


class BackendError(Exception):
    """A backend failed before the first byte of its answer."""


@dataclass(slots=True)
class Reply:
    """A backend's answer that has begun: status, headers, and its first bytes (all, when it is not a stream)."""

    upstream: aiohttp.ClientResponse
    status: int
    headers: list[tuple[bytes, bytes]]
    first: bytes
    backend: Backend

    def close(self) -> None:
        """Gives up the connection (one that was read to its end goes back to the pool) and the backend's lease."""
        self.upstream.close()
        self.backend.release()


class ChatProxy:
    """ASGI endpoint of `/v1/chat/completions` and `/v1/completions`."""

    def __init__(self, state: RouterState) -> None:
        self._state = state

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            call = await read_call(self._state, scope, receive)
        except RefusedError as refused:
            self._state.metrics.requests.labels("", "", "", str(refused.status)).inc()
            await send_error(send, refused)
            return
        if call is None:
            return
        self._state.writer.expect(call.interaction_id)
        work = asyncio.ensure_future(self._answer(call, send))
        gone = asyncio.ensure_future(_wait_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            if not call.begun:  # also where the task was cancelled before it ran at all
                self._state.writer.forget(call.interaction_id)

    async def _answer(self, call: Call, send: Send) -> None:
        """Serves one call; whatever happens, it is counted, and remembered if an answer began."""
        status, broken = "cancelled", None
        try:
            reply = await self._open(call)
            try:
                status = str(reply.status)
                broken = await self._relay(call, reply, send)
            finally:
                reply.close()
        except RefusedError as refused:
            status = str(refused.status)
            await send_error(send, refused, _own_headers(self._state, call))
        except asyncio.CancelledError:
            broken = "the client went away"
            raise
        finally:
            self._remember(call, status, broken)

    async def _open(self, call: Call) -> Reply:
        """Chooses the arm and opens its backend; on failure of the treatment, the control's."""
        experiment, state = call.route.experiment, self._state
        if experiment is None:
            call.version, tries = call.route.champion, [call.route.champion]
        else:
            chosen = choose_arm(state.assignment_key, experiment.experiment_id, call.user, experiment.share)
            call.arm, call.propensity = chosen.arm, chosen.propensity
            tries = [experiment.treatment, experiment.control] if chosen.arm == "treatment" else [experiment.control]
        call.assigned_version, call.served_arm = tries[0], call.arm
        for version in tries[:-1]:
            call.version = version
            try:
                return await self._try(call, version, patient=False)
            except BackendError as error:
                call.fallback = str(error)
                call.served_arm = "control"
                state.metrics.fallbacks.labels(call.route.name, version).inc()
        call.version = tries[-1]
        try:
            return await self._try(call, call.version, patient=True)
        except BackendError as error:
            raise RefusedError(
                503, "server_error", f"{PREFIX}{call.route.name}: {error}; try again", "backend_unavailable"
            ) from None

    async def _try(self, call: Call, version: str, *, patient: bool) -> Reply:
        """Opens one version. A patient try waits out a restart and is repeated once; no byte has left us yet."""
        state = self._state
        backend = await state.pool.find(call.route.name, version, state.backend_wait_s)
        if backend is None:
            raise BackendError(f"version {version} is not loaded")
        call.digest = backend.model.digest
        if call.endpoint not in backend.endpoints:
            known = ", ".join(sorted(backend.endpoints))
            raise RefusedError(
                400, "invalid_request_error", f"{call.endpoint} is not served by this router's backend; use {known}"
            )
        backend.acquire()
        try:
            return await self._try_leased(call, backend, patient)
        except BaseException:
            backend.release()
            raise

    async def _try_leased(self, call: Call, backend: Backend, patient: bool) -> Reply:
        version = backend.model.version
        for last in (False, True) if patient else (True,):
            wait_s = self._state.backend_wait_s if patient or not backend.served_before else 0.0
            if not await backend.wait_ready(wait_s):
                raise BackendError(f"version {version} is {backend.state}")
            try:
                return await self._request(call, backend)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if last:
                    backend.doubt()
                    raise BackendError(f"version {version} broke off ({type(error).__name__})") from None
                await backend.noticed_failure()
        raise AssertionError("unreachable")

    async def _request(self, call: Call, backend: Backend) -> Reply:
        call.body["model"] = backend.alias
        upstream = await self._state.session.post(
            backend.url + call.endpoint,
            data=orjson.dumps(call.body),
            headers={"content-type": "application/json", **backend.headers},
        )
        try:
            if call.streamed and upstream.status == 200:
                first = await upstream.content.readany()
                if not first:
                    raise aiohttp.ServerDisconnectedError("the stream ended before its first byte")
            else:
                first = await upstream.read()
            if upstream.status == 404:  # on a path that it serves: it knows no such model any more
                raise ModelGoneError(f"version {backend.model.version} is unknown to its server: {_said(first)}")
            if upstream.status >= 500:
                raise BackendError(f"version {backend.model.version} answered {upstream.status}: {_said(first)}")
        except BaseException:
            upstream.close()
            raise
        headers = [(name.lower(), value) for name, value in upstream.raw_headers if _passes(name.lower())]
        return Reply(upstream, upstream.status, headers, first, backend)

    async def _relay(self, call: Call, reply: Reply, send: Send) -> str | None:
        """Passes the answer on; returns what broke it off, if anything did."""
        call.first_s = time.perf_counter() - call.started
        call.chunks.append(reply.first)
        headers = reply.headers + _own_headers(self._state, call)
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
            said = error_body("server_error", "the model broke off its answer", "backend_unavailable")
            await send({"type": "http.response.body", "body": b"data: " + said + b"\n\n", "more_body": False})
            return type(error).__name__
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return None

    def _remember(self, call: Call, status: str, broken: str | None) -> None:
        """Counts the call and queues its interaction; a call that no answer began for leaves none."""
        state, name = self._state, call.route.name
        labels = (name, call.assigned_version, call.arm)
        raw = b"".join(call.chunks)
        answer = read_stream(raw) if call.streamed else read_plain(raw)
        if call.streamed and answer.finished:
            broken = None  # passed on up to its [DONE]: many clients hang up there
        status = "fallback" if call.fallback and status == "200" else status
        state.metrics.requests.labels(*labels, "broken" if broken and call.begun else status).inc()
        if not call.begun or call.last_s is None or call.first_s is None:
            state.writer.forget(call.interaction_id)
            return
        state.metrics.latency.labels(*labels).observe(call.last_s)
        state.metrics.first_token.labels(*labels).observe(call.first_s)
        state.writer.put(self._build_interaction(call, answer, broken), name)

    def _build_interaction(self, call: Call, answer: Answer, broken: str | None) -> Interaction:
        experiment = call.route.experiment
        metadata: dict[str, Any] = {
            "endpoint": call.endpoint,
            "stream": call.streamed,
            "unit": call.unit,
            "first_token_ms": round(1000 * (call.first_s or 0.0), 3),
            "finish_reason": answer.finish_reason,
            **answer.tokens,
        }
        if call.fallback is not None:
            metadata |= {
                "served_arm": call.served_arm,
                "assigned_version": call.assigned_version,
                "fallback": call.fallback,
            }
        if broken is not None:
            metadata["broken"] = broken
        given = call.body.get("metadata")
        given = given if isinstance(given, dict) else {}
        return Interaction(
            interaction_id=call.interaction_id,
            session_id=_text(given.get("session_id")),
            user_id=call.user,
            timestamp=call.arrived,
            query=call.query,
            response=answer.text,
            context=call.context,
            history=call.history,
            topic=_text(given.get("topic")),
            model_version=call.version,
            completed=broken is None and answer.finished,
            latency_ms=round(1000 * (call.last_s or 0.0), 3),
            experiment_id=experiment.experiment_id if experiment else None,
            arm=call.arm if experiment else None,
            propensity=call.propensity,
            model_digest=call.digest,
            metadata=metadata,
        )


def _own_headers(state: RouterState, call: Call) -> list[tuple[bytes, bytes]]:
    receipt = sign_receipt(state.assignment_key, call.interaction_id)
    headers = {
        "x-flytewheel-interaction": call.interaction_id,
        "x-flytewheel-version": call.version,
        "x-flytewheel-arm": call.arm,
        "x-flytewheel-receipt": receipt,
        "x-flytewheel-unit": call.unit,
    }
    if call.route.experiment is not None:
        headers["x-flytewheel-experiment"] = call.route.experiment.experiment_id
    if call.fallback is not None:
        headers["x-flytewheel-fallback"] = call.served_arm
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _passes(name: bytes) -> bool:
    return name not in _NOT_PASSED_ON and not name.startswith((b"access-control-", b"x-flytewheel-"))


def _text(value: Any) -> str | None:
    return value[:200].replace("\0", "") if isinstance(value, str) and value else None


def _said(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])[:200]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return " ".join(body.decode(errors="replace").split())[:200] or "nothing"


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
