"""Decides who answers a call, and gets that answer to begin.

Which version, `arms` says. Where the treatment fails before its first byte, the control answers,
and the failure stays charged to the treatment: `arm` is the assigned one, `metadata.served_arm` says who answered
(DESIGN §7). Waiting is bounded: for a version that is still being loaded, or for a control that is being restarted.
"""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
import orjson

from router.backends import Backend, ModelGoneError
from router.paths import MODEL_PREFIX
from router.protocols.prompts import PromptError
from router.proxy.arms import choose_versions
from router.proxy.call import Call
from router.proxy.splice import put_model
from router.proxy.upstream import Client, Upstream
from router.refusals import RefusedError
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

    upstream: Upstream
    status: int
    headers: list[tuple[bytes, bytes]]
    first: bytes
    backend: Backend

    def close(self) -> None:
        """Gives up the connection (one that was read to its end goes back to the pool) and the backend's lease."""
        self.upstream.close()
        self.backend.release()


class Opener:
    """Opens answers at the loaded versions."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._client = Client(state.session)

    async def open(self, call: Call) -> Reply:
        """Chooses the arm and opens its backend; on failure of the treatment, the control's.

        Raises:
            RefusedError: nobody answers.
        """
        state, tries = self._state, choose_versions(self._state, call)
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
                503, "server_error", f"{MODEL_PREFIX}{call.route.name}: {error}; try again", "backend_unavailable"
            ) from None

    async def _try(self, call: Call, version: str, *, patient: bool) -> Reply:
        """Opens one version. A patient try waits out a restart and is repeated once; no byte has left us yet."""
        state = self._state
        backend = await state.pool.find(call.route.name, version, state.backend_wait_s)
        if backend is None:
            raise BackendError(f"version {version} is not loaded")
        call.digest = backend.model.digest
        call.path, call.translation = call.endpoint, None
        if call.endpoint not in backend.endpoints:
            _translate(call, backend)
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
        upstream = await self._client.post(backend.url + call.path, _write_request(call, backend), backend.headers)
        try:
            if call.streamed and upstream.status == 200:
                first = await upstream.read_some()
                if not first:
                    raise aiohttp.ServerDisconnectedError("the stream ended before its first byte")
            else:
                first = await upstream.read()
            if not call.protocol.remembered and upstream.status in (404, 501):
                pass  # whether a server embeds is how it was started, no failure
            elif upstream.status == 404:  # on a path that it serves: it knows no such model any more
                raise ModelGoneError(f"version {backend.model.version} is unknown to its server: {read_said(first)}")
            elif upstream.status >= 500:
                raise BackendError(f"version {backend.model.version} answered {upstream.status}: {read_said(first)}")
        except BaseException:
            upstream.close()
            raise
        headers = [(name.lower(), value) for name, value in upstream.raw_headers if _passes(name.lower())]
        return Reply(upstream, upstream.status, headers, first, backend)


def _translate(call: Call, backend: Backend) -> None:
    """The backend does not answer the client's path: finds another one of its, and a translation to it."""
    path = call.protocol.choose_path(call.body, backend.endpoints)
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
            return put_model(call.raw, call.asked_model, backend.alias)
    else:
        own = call.translation.write_request()
    return orjson.dumps(own | {"model": backend.alias})


def _passes(name: bytes) -> bool:
    return name not in _NOT_PASSED_ON and not name.startswith((b"access-control-", b"x-flytewheel-"))


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
