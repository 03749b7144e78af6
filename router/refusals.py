"""Refusals in the one shape that all have here: `{"error": {"message", "type", "param", "code"}}`, as OpenAI's; on
Ollama's paths in its own, `{"error": "…"}`.
"""

from __future__ import annotations

import orjson

from router.asgi import Send
from router.paths import OLLAMA_PATHS


class RefusedError(Exception):
    """The request cannot be served; said to the client in OpenAI's shape."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        code: str | None = None,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        super().__init__(message)
        self.headers = headers or []
        self.status = status
        self.kind = kind
        self.code = code


BROKE_OFF = RefusedError(502, "server_error", "the model broke off its answer", "backend_unavailable")


def error_body(kind: str, message: str, code: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def write_refusal(refused: RefusedError, path: str) -> bytes:
    """A refusal in the shape of the protocol that `path` belongs to."""
    if path in OLLAMA_PATHS:
        return orjson.dumps({"error": str(refused)})
    return error_body(refused.kind, str(refused), refused.code)


async def send_error(
    send: Send, refused: RefusedError, headers: list[tuple[bytes, bytes]] | None = None, path: str = ""
) -> None:
    """Sends a refusal as the whole answer to a request on `path`."""
    body = write_refusal(refused, path)
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    own += refused.headers
    if refused.status == 503 and all(name != b"retry-after" for name, _ in own):
        own.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": refused.status, "headers": own + (headers or [])})
    await send({"type": "http.response.body", "body": body})
