"""What a request asks for: read from the wire, checked, and taken apart into what will be remembered of it.

NUL has no place in PostgreSQL's text or jsonb: it is replaced where it is read, so that no row is refused later.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from flytewheel.records import Message
from router.answers import clean
from router.receipts import name_caller
from router.state import Route, RouterState

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = "flytewheel/"
_CONTEXT = "Context:\n"  # as flytewheel.records.build_prompt writes it
_ROLES = {"developer": "system", "function": "tool"}


class RefusedError(Exception):
    """The request cannot be served; said to the client in OpenAI's shape."""

    def __init__(self, status: int, kind: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code


@dataclass(slots=True)
class Call:
    """One request on its way. `started` is `time.perf_counter`'s, in seconds."""

    endpoint: str
    body: dict[str, Any]
    route: Route
    user: str
    unit: str
    query: str
    context: str | None
    history: tuple[Message, ...]
    interaction_id: str
    arrived: datetime
    started: float
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

    @property
    def streamed(self) -> bool:
        return self.body.get("stream") is True


async def read_call(state: RouterState, scope: MutableMapping[str, Any], receive: Receive) -> Call | None:
    """Reads and checks a request; None when the client went before it was all here.

    Raises:
        RefusedError: it cannot be served.
    """
    started, arrived = time.perf_counter(), datetime.now(UTC)
    raw = await _read_body(receive)
    if raw is None:
        return None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, "invalid_request_error", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise RefusedError(400, "invalid_request_error", "the body must be an object that names a `model`")
    endpoint = scope["path"]
    try:
        if endpoint.endswith("/chat/completions"):
            query, context, history = split_prompt(body.get("messages"))
        else:
            query, context, history = split_prompt([{"role": "user", "content": _read_prompt(body.get("prompt"))}])
        headers = dict(scope["headers"])
        user, unit = _read_user(state, body, headers, scope.get("client"))
    except PromptError as error:
        raise RefusedError(400, "invalid_request_error", str(error)) from None
    route = await state.find_route(body["model"].removeprefix(PREFIX)) if body["model"].startswith(PREFIX) else None
    if route is None and (reason := state.withheld.get(body["model"].removeprefix(PREFIX))) is not None:
        raise RefusedError(503, "server_error", f"model {body['model']!r} does not answer: {reason}", "model_withheld")
    if route is None:
        known = ", ".join(PREFIX + name for name in sorted(state.routes)) or "none yet"
        raise RefusedError(
            404,
            "invalid_request_error",
            f"no model {body['model']!r} with a champion; served are: {known}",
            "model_not_found",
        )
    return Call(
        endpoint=endpoint,
        body=body,
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


class PromptError(ValueError):
    """The messages of a request hold nothing that could be remembered as a question."""


def split_prompt(messages: Any) -> tuple[str, str | None, tuple[Message, ...]]:
    """Takes a request's messages apart into query, context and history: the inverse of `records.build_prompt`.

    The last user turn is the query; turns after it (a prefilled answer) belong to no part and are left out.

    Raises:
        PromptError: not a list of messages, or none of them is a user's with text.
    """
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise PromptError("messages must be a list of objects with role and content")
    turns = [(_read_role(message.get("role")), _read_text(message.get("content"))) for message in messages]
    asked = [index for index, (role, text) in enumerate(turns) if role == "user" and text]
    if not asked:
        raise PromptError("messages must hold a message of role 'user' with text")
    query = turns[asked[-1]][1]
    history = [Message.model_validate({"role": role, "content": text}) for role, text in turns[: asked[-1]]]
    context = None
    if history and history[0].role == "system":
        if history[0].content.startswith(_CONTEXT):
            head, passage = "", history[0].content.removeprefix(_CONTEXT)
        else:
            head, _, passage = history[0].content.partition("\n\n" + _CONTEXT)
        if passage and (head or history[0].content.startswith(_CONTEXT)):
            context = passage
            history[:1] = [Message(role="system", content=head)] if head else []
    return query, context, tuple(history)


def _read_role(role: Any) -> str:
    role = _ROLES.get(role, role) if isinstance(role, str) else role
    if role not in ("system", "user", "assistant", "tool"):
        raise PromptError(f"messages: role {role!r} is none of system, user, assistant, tool")
    return str(role)


def _read_text(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "\n".join(part for part in parts if isinstance(part, str))
    if content is None:
        return ""
    if not isinstance(content, str):
        raise PromptError("messages: content must be text, or a list of parts")
    return clean(content)


def error_body(kind: str, message: str, code: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


async def send_error(send: Send, refused: RefusedError, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Sends a refusal as the whole answer."""
    body = error_body(refused.kind, str(refused), refused.code)
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 503:
        own.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": refused.status, "headers": own + (headers or [])})
    await send({"type": "http.response.body", "body": body})


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


def _read_prompt(prompt: Any) -> Any:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise PromptError("prompt must be text, one for each request")
    return clean(prompt)


async def _read_body(receive: Receive) -> bytes | None:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
