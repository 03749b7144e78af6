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
from starlette.exceptions import HTTPException

from flytewheel.errors import (
    DatabaseError,
    ExperimentError,
    FeedbackError,
    FlytewheelError,
    ModelServerError,
    RegistryError,
    RequestError,
    ReviewError,
    RouterError,
    StoreError,
)
from flytewheel.settings import Settings
from router.access import open_access
from router.access.callers import PUBLIC
from router.access.keys import Keys
from router.access.origins import Origins
from router.access.rates import Rates
from router.control import control
from router.experiments_page import experiments_page
from router.feedback.openapi import add_paths
from router.front import Front
from router.keeper.health import health
from router.keeper.state import KeeperState
from router.loglines import Blanks, secrets_of
from router.models_api import models
from router.reference import reference
from router.reference.described import ABOUT, VERSION, describe
from router.reference.pages import pages
from router.refusals import RefusedError, write_refusal
from router.review_api import review
from router.scraping import scraping
from router.state import check_settings

_STATUS: tuple[tuple[type[FlytewheelError], int], ...] = (
    (RegistryError, 404),
    (ExperimentError, 409),
    (FeedbackError, 422),
    (ReviewError, 409),
    (RequestError, 409),
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
    app = FastAPI(
        title="flytewheel router",
        version=VERSION,
        description=ABOUT,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
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
    front.declare("/openapi.json", PUBLIC)
    app.include_router(control)
    app.include_router(review)
    app.include_router(experiments_page)
    app.include_router(health)
    app.include_router(models)
    app.include_router(reference)
    app.include_router(pages)
    app.include_router(scraping)
    app.state.blanks = blanks = Blanks(secrets_of(settings))
    _add_errors(app, blanks)
    add_paths(app)
    describe(app)
    return front


def _add_errors(app: FastAPI, blanks: Blanks) -> None:
    def answer(request: Request, status: int, message: str, headers: Any = None) -> Response:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = write_refusal(RefusedError(status, kind, blanks.blank(message)), request.url.path)
        return Response(body, status, headers=headers, media_type="application/json")

    def explain(status: int) -> Callable[[Request, Exception], Response]:
        return lambda request, error: answer(request, status, str(error))

    for kind, status in _STATUS:
        app.add_exception_handler(kind, explain(status))

    @app.exception_handler(RefusedError)
    def pass_on(request: Request, error: RefusedError) -> Response:
        return Response(write_refusal(error, request.url.path), error.status, media_type="application/json")

    @app.exception_handler(HTTPException)
    def refuse(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    def reject(request: Request, error: RequestValidationError) -> Response:
        faults = error.errors()
        if any(fault["type"] == "json_invalid" for fault in faults):
            return answer(request, 400, "the body is not JSON")
        said = (f"{'.'.join(str(part) for part in fault['loc'][1:]) or 'body'}: {fault['msg']}" for fault in faults)
        return answer(request, 422, "; ".join(said))
