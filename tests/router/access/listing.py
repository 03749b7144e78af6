"""Every method and path that a router serves, from the application itself, with the scope that each needs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from pydantic import SecretStr

from flytewheel.settings import Settings
from router.access import open_access
from router.app import create_app
from router.backends.rules import Rules
from router.backends.view import BackendView
from router.state import close_state, open_state
from router.worker.app import make_app
from tests.router.access.serving import refuse_rest


def list_routes() -> list[tuple[str, str, str | None]]:
    """Method, path, scope; HEAD, which is GET without its body, is left out."""
    settings = Settings(
        home=Path(tempfile.mkdtemp(prefix="flytewheel-routes-")),
        database_url="postgresql://127.0.0.1:1/none",
        s3_url="http://127.0.0.1:1",
        s3_access_key=SecretStr("a"),
        s3_secret_key=SecretStr("a"),
        admin_key=SecretStr("a"),
        assignment_key=SecretStr("a"),
    )
    try:
        found = {*create_app(settings).routes(), *asyncio.run(_list_of_worker(settings))}
    finally:
        shutil.rmtree(settings.home)
    return sorted((route for route in found if route[0] != "HEAD"), key=str)


async def _list_of_worker(settings: Settings) -> list[tuple[str, str, str | None]]:
    state = await open_state(settings, BackendView(lambda serial, word: None, Rules.of_settings(settings)))
    try:
        return list(make_app(settings, state, open_access(settings), refuse_rest).routes())
    finally:
        await close_state(state)
