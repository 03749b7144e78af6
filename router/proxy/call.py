"""One request on its way: what it asks for, read from the wire and checked, and what becomes of it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from flytewheel.records import Message
from router.asgi import Receive, Scope, read_body
from router.paths import MODEL_PREFIX, read_name
from router.protocols import PROTOCOLS, Protocol, Translation
from router.protocols.prompts import PromptError
from router.receipts import name_caller
from router.refusals import RefusedError
from router.state import Route, RouterState


@dataclass(slots=True)
class Call:
    """One request on its way. `started` is `time.perf_counter`'s, in seconds.

    `endpoint` is the path that the client asked, `path` the one that its backend is asked; where they differ,
    `translation` stands between them.
    """

    endpoint: str
    protocol: Protocol
    body: dict[str, Any]
    asked_model: str
    streamed: bool
    route: Route
    user: str
    unit: str
    query: str
    context: str | None
    history: tuple[Message, ...]
    interaction_id: str
    arrived: datetime
    started: float
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
    chunks: list[bytes] = field(default_factory=list)


async def read_call(state: RouterState, scope: Scope, receive: Receive) -> Call | None:
    """Reads and checks a request; None when the client went before it was all here.

    Raises:
        RefusedError: it cannot be served.
    """
    started, arrived = time.perf_counter(), datetime.now(UTC)
    raw = await read_body(receive)
    if raw is None:
        return None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, "invalid_request_error", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise RefusedError(400, "invalid_request_error", "the body must be an object that names a `model`")
    endpoint = scope["path"]
    protocol = PROTOCOLS[endpoint]
    try:
        query, context, history = protocol.admit(body)
        headers = dict(scope["headers"])
        user, unit = _read_user(state, body, headers, scope.get("client"))
    except PromptError as error:
        raise RefusedError(400, "invalid_request_error", str(error)) from None
    name = read_name(body["model"])
    route = None if name is None else await state.find_route(name)
    if route is None and name is not None and (reason := state.withheld.get(name)) is not None:
        raise RefusedError(503, "server_error", f"model {body['model']!r} does not answer: {reason}", "model_withheld")
    if route is None:
        known = ", ".join(MODEL_PREFIX + name for name in sorted(state.routes)) or "none yet"
        raise RefusedError(
            404,
            "invalid_request_error",
            f"no model {body['model']!r} with a champion; served are: {known}",
            "model_not_found",
        )
    return Call(
        endpoint=endpoint,
        protocol=protocol,
        body=body,
        asked_model=body["model"],
        streamed=protocol.is_streamed(body),
        route=route,
        user=user,
        unit=unit,
        query=query,
        context=context,
        history=history,
        interaction_id=uuid.uuid4().hex,
        arrived=arrived,
        started=started,
    )


def _read_user(state: RouterState, body: dict[str, Any], headers: dict[bytes, bytes], client: Any) -> tuple[str, str]:
    user = body.get("user")
    if user is None:
        user = headers.get(b"x-flytewheel-user", b"").decode(errors="replace") or None
    if user is None:
        authorization = headers.get(b"authorization", b"").decode("latin-1") or None
        return name_caller(state.assignment_key, authorization=authorization, address=client[0] if client else "")
    if not isinstance(user, str) or not 0 < len(user) <= 200 or "\0" in user:
        raise PromptError("user must be text of 1 to 200 characters")
    return user, "user"
