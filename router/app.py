"""The router's web application: FastAPI for control, feedback and docs; the chat path beside it as bare ASGI
(router/proxy).

Every refusal has the same shape, OpenAI's `{"error": {"message", "type", "param", "code"}}`, with one line in
`message`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
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
from router.access.bodies import IMAGES_FACTOR
from router.access.callers import PUBLIC, SERVE
from router.access.needs import needs
from router.access.origins import Origins
from router.access.watch import watch_keys
from router.control import State, control
from router.feedback.openapi import add_paths
from router.front import Front
from router.models_api import models
from router.protocols import PROTOCOLS
from router.proxy import ChatProxy
from router.reference import reference
from router.reference.described import describe
from router.reference.pages import pages
from router.refusals import RefusedError, write_refusal
from router.review_api import review
from router.scraping import scraping
from router.state import RouterState, check_settings, close_state, open_state

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


def create_app(settings: Settings) -> Front:
    """Makes the application; services are opened when it starts and closed when it stops.

    Raises:
        SettingsError: a service or a key is not given.
    """
    check_settings(settings)

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        state = await open_state(settings)
        app.state.router = state
        proxy = ChatProxy(state, rates)
        for path in PROTOCOLS:
            front.add(path, ("POST",), SERVE, proxy, body_limit=IMAGES_FACTOR * settings.body_limit)
        state.feedback.add_to(front)
        tasks = [asyncio.create_task(state.keep_fresh()), asyncio.create_task(watch_keys(settings, keys))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await close_state(state)

    app = FastAPI(title="flytewheel router", lifespan=run, redirect_slashes=False, docs_url=None, redoc_url=None)
    keys, rates = open_access(settings)
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
    app.include_router(models)
    app.include_router(reference)
    app.include_router(pages)
    app.include_router(scraping)
    describe(app)
    _add_errors(app)
    _add_pages(app)
    add_paths(app)
    return front


def _add_errors(app: FastAPI) -> None:
    def answer(request: Request, status: int, message: str, headers: Any = None) -> Response:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = write_refusal(RefusedError(status, kind, message), request.url.path)
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


def _add_pages(app: FastAPI) -> None:
    @app.get("/healthz", tags=["health"], dependencies=[needs(PUBLIC)])
    async def get_health(state: State) -> dict[str, Any]:
        """Always 200 while the process lives; `status` is starting, ready or degraded."""
        backends = {f"{backend.model.name}@{backend.model.version}": backend.state for backend in state.pool.all()}
        failures = {f"{name}@{version}": failure for (name, version), failure in state.pool.failures.items()}
        return {
            "status": _judge(state, list(backends.values())),
            "backends": backends,
            "failures": failures,
            "breakers": {
                f"{backend.model.name}@{backend.model.version}": backend.model.breakers
                for backend in state.pool.all()
                if backend.model.breakers
            },
            "trouble": state.trouble,
            "log": asdict(state.log.state),
        }


def _judge(state: RouterState, backends: list[str]) -> str:
    if state.trouble == "starting" or "starting" in backends:
        return "starting"
    healthy = state.trouble is None and not state.pool.failures and state.log.state.failing is None
    return "ready" if healthy and all(backend == "ready" for backend in backends) else "degraded"
