"""What a worker serves itself, and what it passes on to the keeper: everything else."""

from __future__ import annotations

from typing import Any

from router.asgi import Receive, Scope, Send
from router.limits import BodyLimit
from router.proxy import ChatProxy
from router.state import RouterState


def make_app(state: RouterState, keeper: Any) -> Any:
    """The worker's ASGI application; `keeper` serves what it does not."""
    own = {("POST", path): ChatProxy(state) for path in ("/v1/chat/completions", "/v1/completions")}

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = own.get((scope["method"], scope["path"]), keeper) if scope["type"] == "http" else keeper
        await endpoint(scope, receive, send)

    return BodyLimit(dispatch)
