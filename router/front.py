"""The front door: the outermost application. Decides, before a byte of a body is read, who calls, whether they may, and
who serves it.

Deny by default. A hot path is a bare ASGI endpoint, registered with `Front.add`; everything else belongs to FastAPI,
whose routes say what they need with `needs(...)`. A route that says nothing is refused for everybody, the root key
included: forgetting to think of it must not open it. A request whose path nobody serves ends here too.

In the order of a request: a preflight of a listed origin is answered; headers that mean two things are refused; the key
is looked up; the scope is asked for; the body is limited by what it announces, or counted where it announces nothing.
On the hot path nothing is wrapped unless a limit or an origin asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from router.access.basic import CHALLENGE, read_basic, reads_page
from router.access.bodies import DEFAULT_LIMIT, limit_body, screen_body
from router.access.callers import PLACE, PUBLIC, Caller
from router.access.origins import Origins
from router.asgi import HEADERS, Receive, Scope, Send
from router.loglines import REQUEST
from router.refusals import RefusedError, send_error

if TYPE_CHECKING:
    from router.access.rest import RestRoute

Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]

_ONCE = frozenset((b"authorization", b"host", b"content-length", b"content-type", b"content-encoding", b"origin"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # PostgreSQL holds no NUL; the others forge lines
_CHALLENGE = [(b"www-authenticate", b"Bearer")]


class Door(Protocol):
    """Knows the keys: `router.access.keys.Keys`."""

    def identify(self, headers: dict[bytes, bytes]) -> Caller:
        """Who sends these headers.

        Raises:
            RefusedError: a key was given and is not, or no longer, one of ours.
        """


class Meter(Protocol):
    """Counts what keys use: `router.access.rates.Rates`."""

    def admit(self, caller: Caller) -> list[tuple[bytes, bytes]]:
        """Takes one request from the key's allowance; returns the `x-ratelimit-*` headers of the answer.

        Raises:
            RefusedError: 429, the allowance is used up.
        """


@dataclass(frozen=True, slots=True)
class _Place:
    endpoint: Endpoint
    scope: str
    body_limit: int


class Front:
    """The outermost ASGI application of a router.

    Args:
        rest: serves what is not registered with `add`: FastAPI, or the way to the process that has it.
        door: knows the keys.
        meter: counts what keys with limits use.
        app: the FastAPI application whose routes `rest` serves. None where `rest` passes on to another process, whose
            own front door asks for the scope.
        origins: what browsers of other sites may do.
        body_limit: of whatever says nothing else, in bytes.
    """

    def __init__(
        self,
        rest: Endpoint,
        *,
        door: Door,
        meter: Meter,
        app: Any = None,
        origins: Origins | None = None,
        body_limit: int = DEFAULT_LIMIT,
    ) -> None:
        self._rest = rest
        self._door = door
        self._meter = meter
        self._app = app
        self._origins = origins or Origins(())
        self._body_limit = body_limit
        self._preflight = _Place(self._answer_preflight, PUBLIC, body_limit)
        self._places: dict[str, dict[str, _Place]] = {}
        self._declared: dict[str, str] = {}
        self._surveyed: tuple[RestRoute, ...] | None = None

    def add(
        self, path: str, methods: Iterable[str], scope: str, endpoint: Endpoint, *, body_limit: int | None = None
    ) -> None:
        """Registers a bare ASGI endpoint.

        Args:
            path: exact.
            methods: of HTTP, in capitals.
            scope: that the caller needs: one of SCOPES, PUBLIC, or PROOF where the endpoint checks one of its own.
            endpoint: finds the caller with `caller_of(scope)` and the headers as a dict in `scope[HEADERS]`; may raise
                RefusedError before it has sent anything.
            body_limit: in bytes; None: the router's.
        """
        place = _Place(endpoint, scope, self._body_limit if body_limit is None else body_limit)
        self._places.setdefault(path, {}).update(dict.fromkeys(methods, place))

    def declare(self, path: str, scope: str) -> None:
        """Says the scope of a route that cannot say it itself: one that FastAPI makes, or a mounted application."""
        self._declared[path] = scope
        self._surveyed = None

    def routes(self) -> Iterator[tuple[str, str, str | None]]:
        """Every method and path that is served, with the scope that it needs; None: refused for everybody."""
        for path, places in self._places.items():
            for method, place in places.items():
                yield method, path, place.scope
        for route in self._survey():
            for method in sorted(route.methods):
                if method not in self._places.get(route.path, {}):
                    yield method, route.path, route.scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or one connection's life."""
        if scope["type"] == "http":
            REQUEST.set(scope)
            try:
                headers, place, reading, sending = self._open(scope, receive, send)
                if place is not None:
                    await place.endpoint(scope, reading, sending)
                else:
                    await self._serve_rest(scope, headers, reading, sending)
            except RefusedError as refused:
                if (origin := scope[HEADERS].get(b"origin")) is not None:
                    send = self._mark(scope, origin, send)
                challenge = CHALLENGE if reads_page(scope["method"], scope["path"]) else _CHALLENGE
                await send_error(send, refused, challenge if refused.status == 401 else None, scope["path"])
        elif scope["type"] == "lifespan":
            await self._rest(scope, receive, send)
        else:  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})

    def _open(
        self, scope: Scope, receive: Receive, send: Send
    ) -> tuple[dict[bytes, bytes], _Place | None, Receive, Send]:
        """Lets a request in: its headers, where it is served (None: with the rest), and how it is read and answered."""
        pairs = scope["headers"]
        headers = scope.get(HEADERS)
        if headers is None:
            headers = scope[HEADERS] = dict(pairs)
        if len(headers) != len(pairs) or b"host" not in headers:
            _check_heads(pairs, scope.get("http_version"))
        method, places = scope["method"], self._places.get(scope["path"])
        if (origin := headers.get(b"origin")) is not None:
            marked = self._mark(scope, origin, send)
            if marked is not send and method == "OPTIONS":
                return headers, self._preflight, receive, send
            send = marked
        if places is None or (place := places.get(method)) is None:
            return headers, None, receive, send
        send = self._admit(scope, headers, place.scope, send)
        receive, send = limit_body(headers, receive, send, place.body_limit)
        return headers, place, receive, send

    async def _answer_preflight(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._origins.send_preflight(send, scope[HEADERS][b"origin"])

    async def _serve_rest(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        if self._app is None:
            await self._rest(scope, receive, send)
            return
        if _CONTROL.search(scope["path"]) or b"%00" in scope["query_string"]:
            raise RefusedError(400, "invalid_request_error", "the path or query holds control characters")
        from router.access.rest import find_route  # FastAPI is loaded only where there is an application of its

        route, allowed = find_route(self._survey(), scope)
        if route is None:
            allowed |= set(self._places.get(scope["path"], ()))
            if not allowed:
                raise RefusedError(404, "invalid_request_error", f"nothing is served at {scope['path'][:200]!r}")
            message = f"{scope['method'][:20]} is not served at {scope['path'][:200]!r}"
            listed = ", ".join(sorted(allowed)).encode()
            raise RefusedError(405, "invalid_request_error", message, headers=[(b"allow", listed)])
        if route.scope is None:
            raise RefusedError(403, "permission_error", "this path is closed: it names no scope that opens it")
        send = self._admit(scope, headers, route.scope, send)
        receive, send = limit_body(headers, receive, send, self._body_limit)
        screened = await screen_body(headers, receive)
        if screened is not None:
            await self._rest(scope, screened, send)

    def _admit(self, scope: Scope, headers: dict[bytes, bytes], needed: str, send: Send) -> Send:
        if needed == PUBLIC:
            return send
        if reads_page(scope["method"], scope["path"]):
            headers = read_basic(headers)
        scope[PLACE] = caller = self._door.identify(headers)
        if not caller.may(needed):
            if caller.key_id is None:
                raise RefusedError(
                    401,
                    "invalid_request_error",
                    f"expected 'Authorization: Bearer <API key>' of a key with the scope {needed!r}"
                    " (`flytewheel keys create` makes one)",
                    "invalid_api_key",
                )
            has = ", ".join(sorted(caller.scopes)) or "none"
            raise RefusedError(
                403,
                "permission_error",
                f"key {caller.key_id} has not the scope {needed!r} (it has: {has})",
                "insufficient_scope",
            )
        return _add_headers(send, self._meter.admit(caller)) if caller.limited else send

    def _mark(self, scope: Scope, origin: bytes, send: Send) -> Send:
        """`send`, or one whose answer a listed origin's script may read."""
        needed = self._needed(scope, scope[HEADERS])
        return self._origins.mark(send, origin) if self._origins.answers(origin, needed) else send

    def _needed(self, scope: Scope, headers: dict[bytes, bytes]) -> str | None:
        """The scope that a browser's request, or the request that its preflight asks for, would need."""
        method = scope["method"]
        if method == "OPTIONS":
            method = headers.get(b"access-control-request-method", b"").decode("latin-1")
        place = self._places.get(scope["path"], {}).get(method)
        if place is not None or self._app is None:
            return place.scope if place else None
        from router.access.rest import find_route

        route, _ = find_route(self._survey(), {**scope, "method": method})
        return route.scope if route else None

    def _survey(self) -> tuple[RestRoute, ...]:
        if self._surveyed is None:
            if self._app is None:
                return ()
            from router.access.rest import survey

            self._surveyed = survey(self._app, self._declared)
        return self._surveyed


def _check_heads(pairs: list[tuple[bytes, bytes]], version: str | None) -> None:
    """Refuses headers that a proxy before us may have understood in another way."""
    names = [name for name, _ in pairs]
    for name in _ONCE:
        if names.count(name) > 1:
            message = f"the header {name.decode()} was sent more than once"
            raise RefusedError(400, "invalid_request_error", message, headers=[(b"connection", b"close")])
    if b"host" not in names and version == "1.1":
        message = "a request of HTTP/1.1 names its host"
        raise RefusedError(400, "invalid_request_error", message, headers=[(b"connection", b"close")])


def _add_headers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return sending
