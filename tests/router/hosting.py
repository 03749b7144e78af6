"""Routers with a database and a bucket of their own; with services beside, for what runs outside the tests."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg

from flytewheel.api_keys import create_key
from flytewheel.database import migrate
from registry.store import ObjectStore
from tests.router.live import ADMIN_KEY, API_KEY, ASSIGNMENT_KEY, LiveRouter
from tests.services import TestServices, run_services


def make_router(services: TestServices, home: Path) -> LiveRouter:
    """A router that is not started yet, with a fresh database and bucket."""
    database = f"router_{uuid.uuid4().hex}"
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}".encode())
    database_url = services.database_url.rpartition("/")[0] + f"/{database}"
    migrate(database_url)
    create_key(database_url, ("serve", "read"), secret=API_KEY)
    bucket = f"router-{uuid.uuid4().hex[:12]}"
    store = ObjectStore(services.s3_url, services.s3_access_key, services.s3_secret_key, bucket)
    store.ensure_bucket()
    environ = {
        "FLYTEWHEEL_HOME": str(home),
        "FLYTEWHEEL_DATABASE_URL": database_url,
        "FLYTEWHEEL_S3_URL": services.s3_url,
        "FLYTEWHEEL_S3_ACCESS_KEY": services.s3_access_key,
        "FLYTEWHEEL_S3_SECRET_KEY": services.s3_secret_key,
        "FLYTEWHEEL_S3_BUCKET": bucket,
        "FLYTEWHEEL_ADMIN_KEY": ADMIN_KEY,
        "FLYTEWHEEL_ASSIGNMENT_KEY": ASSIGNMENT_KEY,
    }
    return LiveRouter(home, database_url, store, environ)


@contextlib.contextmanager
def host_router(folder: Path, **more: str) -> Iterator[LiveRouter]:
    """A running router; `more` goes into its environment. All is stopped at the end."""
    open_dir = Path(tempfile.mkdtemp(prefix="flytewheel-host-"))
    open_dir.chmod(0o711)
    with contextlib.ExitStack() as running:
        running.callback(shutil.rmtree, open_dir, ignore_errors=True)
        router = make_router(running.enter_context(run_services(open_dir)), folder)
        router.environ |= more
        running.callback(router.client.close)
        router.start()
        running.callback(router.stop)
        yield router
