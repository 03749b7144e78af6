"""Empty stacks to restore into."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel.erase.erasure import Place
from registry.store import ObjectStore
from tests.services import TestServices

KEY = "a secret of the tests, long enough"


def tell(what: str, done: int, total: int | None) -> None:
    """Takes progress."""


def make_place(services: TestServices, database_url: str, home: Path, key: str = KEY) -> Place:
    """A place of its own on a server that runs: a new bucket, the database that is given."""
    store = ObjectStore(
        services.s3_url, services.s3_access_key, services.s3_secret_key, bucket=f"test-{uuid.uuid4().hex[:12]}"
    )
    store.ensure_bucket()
    home.mkdir(parents=True, exist_ok=True)
    return Place(database_url, store, home, key, True, lambda: datetime.now(UTC), tell)


@pytest.fixture
def make_empty(services: TestServices, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes empty stacks on the session's services."""
    with psycopg.connect(services.database_url, autocommit=True) as connection, ExitStack() as cleanup:

        def make(**given: Any) -> Place:
            name = f"test_{uuid.uuid4().hex}"
            connection.execute(f"CREATE DATABASE {name}")
            cleanup.callback(connection.execute, f"DROP DATABASE {name} WITH (FORCE)")
            url = services.database_url.rpartition("/")[0] + f"/{name}"
            return make_place(services, url, tmp_path / name, **given)

        yield make
