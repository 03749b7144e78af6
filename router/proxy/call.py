"""One request on its way: what it asks for, read from the wire and checked, and what becomes of it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from router.access.bodies import read_json
from router.access.callers import ADMIN, Caller, caller_of
from router.asgi import HEADERS, Receive, Scope, read_body
from router.loglines import INTERACTION
from router.paths import MODEL_PREFIX, read_name
from router.protocols import PROTOCOLS, Protocol, Translation
from router.protocols.prompts import PromptError, Turn
from router.protocols.protocol import NOTHING_ASKED
from router.refusals import RefusedError
from router.state import Route, RouterState
from router.units import Unit, find_unit

MOST_KEPT = 4 << 20  # bytes of an answer that are remembered; what comes behind is passed on all the same

_STOCK = 256
_ids: list[str] = []
os.register_at_fork(after_in_child=_ids.clear)  # a child has other ones

_WANT_VERSION, _WANT_ARM = b"x-flytewheel-want-version", b"x-flytewheel-want-arm"


class Call(Struct):
    """One request on its way. `started` is `time.perf_counter`'s, in seconds; `arrived_ms` counts from 1970.

    A Struct, because its constructor is C: of forty fields Python sets each by itself, 4 µs of a request.

    `endpoint` is the path that the client asked, `path` the one that its backend is asked; where they differ,
    `translation` stands between them. `asks` is false where nothing is asked of a model. `override` is the version or
    arm that somebody of the staff wants, whoever the user is. `fault` is what was found wrong in an answer that its
    backend took for a good one, `told` that the answer says so itself. `noted` goes into the metadata of what is
    remembered: what an allocation saw of the user, which duel it belongs to.
    """

    endpoint: str
    protocol: Protocol
    raw: bytes
    body: dict[str, Any]
    asked_model: str
    streamed: bool
    route: Route
    caller: Caller
    unit: Unit
    asks: bool
    query: str
    context: str | None
    history: tuple[Turn, ...]
    interaction_id: str
    arrived: datetime
    arrived_ms: int
    started: float
    override: dict[str, str] | None = None
    path: str = ""
    translation: Translation | None = None
    arm: str = "champion"
    propensity: float | None = None
    version: str = ""
    assigned_version: str = ""
    served_arm: str = ""
    digest: str = ""
    fallback: str | None = None
    begun: bool = False
    first_s: float | None = None
    last_s: float | None = None
    chunks: list[bytes] = []
    kept: int = 0
    fault: str | None = None
    told: bool = False
    noted: dict[str, Any] | None = None

    @property
    def user(self) -> str:
        return self.unit.user

    @property
    def experiment_id(self) -> str | None:
        """Of the experiment that the answer counts for; an override counts for none."""
        experiment = self.route.experiment
        return None if experiment is None or self.override is not None else experiment.experiment_id

    def keep(self, chunk: bytes) -> None:
        """Takes note of what is passed on, for what will be remembered of it."""
        self.last_s = time.perf_counter() - self.started
        self.kept += len(chunk)
        if self.kept <= MOST_KEPT:
            self.chunks.append(chunk)


async def read_call(state: RouterState, scope: Scope, receive: Receive) -> Call | None:
    """Reads and checks a request; None when the client went before it was all here.

    Raises:
        RefusedError: it cannot be served.
    """
    started, now_s = time.perf_counter(), time.time()
    raw = await read_body(receive)
    if raw is None:
        return None
    body = read_json(raw)
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise RefusedError(400, "invalid_request_error", "the body must be an object that names a `model`")
    asked_model, endpoint, caller = body["model"], scope["path"], caller_of(scope)
    headers: dict[bytes, bytes] = scope.get(HEADERS) or dict(scope["headers"])
    protocol = PROTOCOLS[endpoint]
    client = scope.get("client")
    try:
        prompt = protocol.admit(body)
        unit = find_unit(
            state.assignment_key,
            body.get("user"),
            headers,
            account=None if caller.key_id is None else caller.account,
            address=client[0] if client else "",
            secure=scope.get("scheme") == "https",
        )
    except PromptError as error:
        raise RefusedError(400, "invalid_request_error", str(error)) from None
    scope[INTERACTION] = interaction_id = _make_id()  # log lines of this request name it
    return Call(
        endpoint=endpoint,
        protocol=protocol,
        raw=raw,
        body=body,
        asked_model=asked_model,
        streamed=protocol.is_streamed(body),
        route=state.routes.get(read_name(asked_model) or "") or await _find_route(state, asked_model, caller),
        caller=caller,
        unit=unit,
        asks=prompt is not NOTHING_ASKED,
        query=prompt[0],
        context=prompt[1],
        history=prompt[2],
        interaction_id=interaction_id,
        arrived=datetime.fromtimestamp(now_s, UTC),
        arrived_ms=int(now_s * 1000),
        started=started,
        override=_read_override(headers, caller) if _WANT_VERSION in headers or _WANT_ARM in headers else None,
    )


def _make_id() -> str:
    """128 random bits. They are asked for in stock: the kernel takes longer to be asked than to answer, and another
    thread may take the interpreter meanwhile.
    """
    if not _ids:
        raw = os.urandom(16 * _STOCK).hex()
        _ids.extend(raw[at : at + 32] for at in range(0, len(raw), 32))
    return _ids.pop()


async def _find_route(state: RouterState, asked: str, caller: Caller) -> Route:
    if (name := read_name(asked)) is not None:
        if name in state.probes and caller.may(ADMIN):
            return state.probes[name]
        route = state.routes.get(name) or await state.find_route(name)
        if route is not None:
            return route
        if (reason := state.withheld.get(name)) is not None:
            raise RefusedError(503, "server_error", f"model {asked!r} does not answer: {reason}", "model_withheld")
    known = ", ".join(MODEL_PREFIX + name for name in sorted(state.routes)) or "none yet"
    raise RefusedError(
        404,
        "invalid_request_error",
        f"no model {asked[:200]!r} with a champion; served are: {known}",
        "model_not_found",
    )


def _read_override(headers: dict[bytes, bytes], caller: Caller) -> dict[str, str]:
    """What the headers of staff ask for: a version, or an arm of the running experiment.

    Raises:
        RefusedError: the key does not allow it, or both are asked for.
    """
    wanted = {
        kind: headers[name].decode("latin-1")[:200]
        for kind, name in (("version", _WANT_VERSION), ("arm", _WANT_ARM))
        if name in headers
    }
    if not caller.may(ADMIN):
        raise RefusedError(
            403,
            "permission_error",
            f"x-flytewheel-want-{next(iter(wanted))} needs a key with the scope {ADMIN!r}; leave the header out",
            "insufficient_scope",
        )
    if len(wanted) > 1:
        raise RefusedError(
            400, "invalid_request_error", "expected x-flytewheel-want-version or x-flytewheel-want-arm, got both"
        )
    return wanted
