"""Decides who answers a call, and gets that answer to begin.

Which versions, `arms` says. Where the treatment fails before its first byte, the control answers, and the failure stays
charged to the treatment: `arm` is the assigned one, `metadata.served_arm` says who answered (DESIGN §7). So it is where
the treatment's breaker is open, or it has no room: it is not even asked, and charged. Waiting is bounded: for a version
that is still being loaded, or for a control that is being restarted.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from functools import lru_cache

import aiohttp
import orjson

from flytewheel.addresses import BlockedAddressError
from router.backends.backend import READY, Backend, ModelGoneError
from router.backends.breaker import CLOSED
from router.paths import MODEL_PREFIX
from router.protocols.prompts import PromptError
from router.proxy.arms import choose_versions, keep_back, leave_out
from router.proxy.call import Call
from router.proxy.faults import is_clients_fault
from router.proxy.splice import put_model
from router.proxy.upstream import Client, Upstream
from router.refusals import RefusedError
from router.state import RouterState

# They belong to one connection, or our own server makes them anew; CORS is not the backend's business.
_NOT_PASSED_ON = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding te trailer upgrade proxy-authenticate content-length"
    b" server date".split()
)

_OURS = frozenset({401, 402, 403, 407})


class BackendError(Exception):
    """A backend failed before the first byte of its answer, or is not asked now; `wait_s` is when to try again."""

    def __init__(self, said: str, wait_s: float = 1.0) -> None:
        super().__init__(said)
        self.wait_s = wait_s


class BusyError(BackendError):
    """A backend turned the request away as one too many."""


@dataclass(slots=True)
class Reply:
    """A backend's answer that has begun: status, headers, and its first bytes (all, when it is not a stream)."""

    upstream: Upstream
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    first: bytes
    backend: Backend
    ticket: int

    broken: bool = False

    def close(self) -> None:
        """Gives up the connection (one that was read to its end goes back to the pool) and the backend's lease."""
        self.broken = self.upstream.broken
        self.upstream.close()
        self.backend.release()

    def judge(self, fault: str | None) -> None:
        """Says how it went, after `close`: a stream that the backend broke off is a failure of it, and so is an answer
        that is none (`fault`); a stream that the client left is not.
        """
        (self.backend.breaker.fail if self.broken or fault else self.backend.breaker.succeed)(self.ticket)


class Opener:
    """Opens answers at the loaded versions."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._client = Client()

    async def open(self, call: Call) -> Reply:
        """Chooses the arm and opens its backend; on failure of the treatment, the control's.

        Raises:
            RefusedError: nobody answers.
        """
        state = self._state
        given = keep_back(state, call)
        if given is None:
            leave_out(state, call)
            learns = state.allocation.running and not call.route.rehearsal
            given = await state.allocation.give(call) if learns else None
        tries = choose_versions(state, call, given)
        for version in tries[:-1]:
            call.version = version
            try:
                return await self._try(call, version, patient=False)
            except BackendError as error:
                call.fallback = str(error)
                call.served_arm = "treatment" if call.arm == "control" else "control"  # of a holdback: the champion
                state.metrics.fallbacks.labels(call.route.name, version).inc()
        call.version = tries[-1]
        try:
            return await self._try(call, call.version, patient=True)
        except BackendError as error:
            raise RefusedError(
                503,
                "server_error",
                f"{MODEL_PREFIX}{call.route.name}: {error}; try again",
                "backend_unavailable",
                [(b"retry-after", str(max(1, math.ceil(error.wait_s))).encode())],
            ) from None

    async def _try(self, call: Call, version: str, *, patient: bool) -> Reply:
        """Opens one version. A patient try waits out a restart and is repeated once; no byte has left us yet."""
        state = self._state
        backend = state.pool.get(call.route.name, version)
        if backend is None or backend.state == "starting":
            backend = await state.pool.find(call.route.name, version, state.backend_wait_s)
        if backend is None:
            raise BackendError(f"version {version} is not loaded")
        call.digest = backend.model.digest
        call.path, call.translation = call.endpoint, None
        if call.endpoint not in backend.endpoints:
            _translate(call, backend)
        for last in (False, True) if patient else (True,):
            if backend.state != READY:
                wait_s = state.backend_wait_s if patient or not backend.served_before else 0.0
                if not await backend.wait_ready(wait_s):
                    waited = f", and did not come back within {wait_s:g} s" if wait_s else ""
                    raise BackendError(f"version {version} is {backend.state}{waited}")
            if backend.has_room:
                backend.acquire()
            elif not (patient and await backend.wait_for_room()):
                state.metrics.held_back.labels(call.route.name, version, "full").inc()
                raise BackendError(f"version {version} has no room beside {backend.inflight} running requests")
            reply = await self._ask(call, backend, last)
            if reply is not None:
                return reply
        raise AssertionError("unreachable")

    async def _ask(self, call: Call, backend: Backend, last: bool) -> Reply | None:
        """Sends the request once, in a place that is acquired, if the breaker lets it pass; None where it broke off and
        may be sent again.
        """
        version, breaker, limit = backend.model.version, backend.breaker, backend.limit
        ticket = breaker.admit()
        if not ticket:
            backend.release()
            self._state.metrics.held_back.labels(call.route.name, version, "open").inc()
            raise BackendError(f"version {version} fails, and is asked again later", breaker.wait_s)
        sent_at = time.monotonic()
        try:
            return await self._request(call, backend, ticket, sent_at)
        except BusyError as busy:
            backend.release()
            limit.turned_away(sent_at)
            breaker.pause(ticket, busy.wait_s)
            raise
        except BackendError:
            backend.release()
            breaker.fail(ticket)
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            backend.release()
            waited = isinstance(error, TimeoutError)
            if waited:
                limit.turned_away(sent_at)
            if not last and not waited:  # who has waited that long already is told
                try:
                    await backend.noticed_failure()
                finally:  # what is gone is waited for; the breaker is for what is there and fails
                    (breaker.fail if backend.state == READY else breaker.withdraw)(ticket)
                return None
            backend.doubt()
            breaker.fail(ticket)
            raise BackendError(f"version {version} broke off ({_name(error)})") from None
        except BaseException:
            backend.release()
            breaker.withdraw(ticket)
            raise

    async def _request(self, call: Call, backend: Backend, ticket: int, sent_at: float) -> Reply:
        rules = self._state.pool.rules
        upstream = await self._client.post(
            backend.session,
            backend.url + call.path,
            _write_request(call, backend),
            backend.headers,
            rules.stream_timeout if call.streamed else rules.whole_timeout,
        )
        try:
            if call.streamed and upstream.status == 200:
                first = await upstream.read_some()
                if not first:
                    raise aiohttp.ServerDisconnectedError("the stream ended before its first byte")
                backend.limit.begun(sent_at, backend.inflight)
                upstream.wait_for_chunks(rules.chunk_s)
            else:
                first = await upstream.read()
            # Whether a server embeds is how it was started: no failure.
            if upstream.status >= 300 and (call.protocol.remembered or upstream.status != 404):
                _judge(upstream, backend.model.version, first)
        except BaseException:
            upstream.close()
            raise
        if call.streamed and backend.breaker.state != CLOSED:
            backend.breaker.succeed(ticket)  # a trial is over when its stream begins
        headers = [(passed, value) for name, value in upstream.raw_headers if (passed := _pass(name)) is not None]
        return Reply(upstream, upstream.status, tuple(headers), first, backend, ticket)


def _translate(call: Call, backend: Backend) -> None:
    """The backend does not answer the client's path: finds another one of its, and a translation to it."""
    path = call.protocol.choose_path(call.body, frozenset(backend.endpoints))
    if path is None and not call.protocol.remembered:
        raise RefusedError(
            400,
            "invalid_request_error",
            f"{call.asked_model} does not embed, it answers: embeddings come from a version whose backend is Ollama or"
            " vLLM, or an upstream signed with `endpoints: [embeddings]` (`flytewheel backends sign`)",
            "unsupported_endpoint",
        )
    if path is None:
        known = ", ".join(sorted(backend.endpoints))
        raise RefusedError(
            400, "invalid_request_error", f"{call.endpoint} is not served by this router's backend; use {known}"
        )
    try:
        call.path, call.translation = path, call.protocol.translate(call.body, path, call.asked_model)
    except PromptError as error:
        raise RefusedError(400, "invalid_request_error", str(error)) from None


def _write_request(call: Call, backend: Backend) -> bytes:
    """The client's own bytes but for the model's name, where its backend speaks its protocol."""
    if call.translation is None:
        own = call.protocol.write_own(call.body)
        if own is None:
            return put_model(call.raw, call.asked_model, backend.alias, backend.fields)
    else:
        own = call.translation.write_request()
    return orjson.dumps({**own, "model": backend.alias, **backend.fields})


@lru_cache(maxsize=4096)
def _pass(name: bytes) -> bytes | None:
    """A header's name as it is passed on; None where it is not."""
    name = name.lower()
    return None if name in _NOT_PASSED_ON or name.startswith((b"access-control-", b"x-flytewheel-")) else name


def _judge(upstream: Upstream, version: str, body: bytes) -> None:
    """Tells the backend's failures from refusals of what the client asked, which are the client's to read.

    Raises:
        ModelGoneError: it knows no such model any more.
        BusyError: it asks to be asked later.
        BackendError: it failed, refuses our key, or wants us elsewhere.
        RefusedError: it cannot read or do what the client asks, which some say as a failure.
    """
    status = upstream.status
    if status == 404:  # on a path that it serves
        raise ModelGoneError(f"version {version} is unknown to its server: {read_said(body)}")
    after = upstream.find_header(b"retry-after")
    if status == 429 or (status == 503 and after is not None):
        seconds = float(after) if after and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", after, re.ASCII) else 1.0
        raise BusyError(f"version {version} has too much to do ({status}): {read_said(body)}", seconds)
    if status < 400:  # where to is not for the client either
        raise BackendError(f"version {version} answered {status}; redirects of a backend are not followed")
    if status in _OURS:
        raise BackendError(f"version {version}'s server refuses our key or account ({status})")
    if status == 501 or (status == 500 and is_clients_fault(body)):
        raise RefusedError(400, "invalid_request_error", read_said(body), "unsupported_input")
    if status >= 500:
        raise BackendError(f"version {version} answered {status}: {read_said(body)}")


def _name(error: BaseException) -> str:
    """What happened, without addresses: it is said to the client."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is refused"
    if isinstance(getattr(error, "os_error", None), BlockedAddressError):
        return "its address is blocked"
    return type(error).__name__


def read_said(body: bytes) -> str:
    """What a backend's refusal says: OpenAI's `error.message`, Ollama's `error`, vLLM's `message`, or its text."""
    said: object = None
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        said = found.get("error") or found.get("message")
        said = said.get("message") if isinstance(said, dict) else said
    return " ".join(str(said or body.decode(errors="replace")).split())[:200] or "nothing"
