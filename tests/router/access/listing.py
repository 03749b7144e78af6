"""Every method and path that a router serves, from the application itself, with the scope that each needs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pydantic import SecretStr

from flytewheel.settings import Settings
from router.app import create_app
from router.protocols import PROTOCOLS


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
        found = {route for route in create_app(settings).routes() if route[0] != "HEAD"}
    finally:
        shutil.rmtree(settings.home)
    return sorted(found | {("POST", path, "serve") for path in PROTOCOLS}, key=str)
