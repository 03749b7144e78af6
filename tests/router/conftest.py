"""One router for the session; each test brings a model name of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel.api_keys import create_key
from flytewheel.database import migrate
from registry.store import ObjectStore
from tests.router.live import ADMIN_KEY, API_KEY, ASSIGNMENT_KEY, LiveRouter


@pytest.fixture(scope="session")
def make_router(services: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], LiveRouter]]:
    """Makes routers, not started, each with a database and a bucket of its own; stops them in the end."""
    made: list[LiveRouter] = []

    def make() -> LiveRouter:
        database = f"router_{uuid.uuid4().hex}"
        with psycopg.connect(services.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        database_url = services.database_url.rpartition("/")[0] + f"/{database}"
        migrate(database_url)
        create_key(database_url, ("serve", "read"), secret=API_KEY)
        bucket = f"router-{uuid.uuid4().hex[:12]}"
        store = ObjectStore(services.s3_url, services.s3_access_key, services.s3_secret_key, bucket)
        store.ensure_bucket()
        home: Path = tmp_path_factory.mktemp("router")
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
        made.append(LiveRouter(home, database_url, store, environ))
        return made[-1]

    yield make
    for router in made:
        if router.process is not None and router.process.poll() is None:
            router.stop()
        router.client.close()


@pytest.fixture(scope="session")
def router(make_router: Callable[[], LiveRouter]) -> LiveRouter:
    """A router that runs for the whole session."""
    return make_router().start()
