"""The keeper's web application: FastAPI for control, pages and docs. The hot path is the workers'
(`router.worker.app`).

Every refusal has the same shape, OpenAI's `{"error": {"message", "type", "param", "code"}}`, with one line in
`message`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from flytewheel.errors import (
    DatabaseError,
    ExperimentError,
    FeedbackError,
    FlytewheelError,
    ModelServerError,
    RegistryError,
    ReviewError,
    RouterError,
    StoreError,
)
from flytewheel.settings import Settings
from router.access import open_access
from router.access.callers import PUBLIC, READ, SERVE
from router.access.keys import Keys
from router.access.needs import needs
from router.access.origins import Origins
from router.access.rates import Rates
from router.control import State, control
from router.feedback_api import feedback
from router.front import Front
from router.keeper.health import health
from router.keeper.state import KeeperState
from router.refusals import error_body
from router.review_api import review
from router.state import MODEL_PREFIX, check_settings

_STATUS: tuple[tuple[type[FlytewheelError], int], ...] = (
    (RegistryError, 404),
    (ExperimentError, 409),
    (FeedbackError, 422),
    (ReviewError, 409),
    (DatabaseError, 503),
    (StoreError, 503),
    (RouterError, 502),
    (ModelServerError, 502),
)


def create_app(settings: Settings, state: KeeperState | None = None, access: tuple[Keys, Rates] | None = None) -> Front:
    """Makes the keeper's application; requests meet `state`, and `access` says who they come from.

    Raises:
        SettingsError: a service or a key is not given.
    """
    check_settings(settings)
    app = FastAPI(title="flytewheel router", redirect_slashes=False)
    app.state.router = state
    keys, rates = access or open_access(settings)
    front = Front(
        app,
        door=keys,
        meter=rates,
        app=app,
        origins=Origins(settings.cors_origins),
        body_limit=settings.body_limit,
    )
    for path in ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"):
        front.declare(path, PUBLIC)
    app.include_router(control)
    app.include_router(feedback)
    app.include_router(review)
    app.include_router(health)
    _add_errors(app)
    _add_pages(app)
    return front


def _add_errors(app: FastAPI) -> None:
    def answer(status: int, message: str, headers: Any = None) -> Response:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return Response(error_body(kind, message), status, headers=headers, media_type="application/json")

    def explain(status: int) -> Callable[[Request, Exception], Response]:
        return lambda request, error: answer(status, str(error))

    for kind, status in _STATUS:
        app.add_exception_handler(kind, explain(status))

    @app.exception_handler(HTTPException)
    def refuse(request: Request, error: HTTPException) -> Response:
        return answer(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    def reject(request: Request, error: RequestValidationError) -> Response:
        faults = error.errors()
        if any(fault["type"] == "json_invalid" for fault in faults):
            return answer(400, "the body is not JSON")
        said = (f"{'.'.join(str(part) for part in fault['loc'][1:]) or 'body'}: {fault['msg']}" for fault in faults)
        return answer(422, "; ".join(said))


def _add_pages(app: FastAPI) -> None:
    @app.get("/v1/models", tags=["models"], dependencies=[needs(SERVE)])
    async def list_served(state: State) -> dict[str, Any]:
        """The model names with a champion, in OpenAI's shape."""
        return {
            "object": "list",
            "data": [
                {"id": MODEL_PREFIX + name, "object": "model", "created": 0, "owned_by": "flytewheel"}
                for name in sorted(state.routes)
            ],
        }

    @app.get("/metrics", include_in_schema=False, dependencies=[needs(READ)])
    async def get_metrics(state: State) -> Response:
        log = await state.ask_log()
        state.metrics.waiting.set(log.waiting)
        state.metrics.dropped.set(log.shed)
        return Response(generate_latest(state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
