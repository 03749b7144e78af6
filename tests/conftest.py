"""Real services for every test that needs them: PostgreSQL and an S3 store, once a session (and pytest-xdist worker).

The environment is set before anything is imported: threads that do not fight over two cores, no hub, no account, no
cache between tests, and none of the settings of the machine that runs them.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(
    {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
        "FLYTE_LOCAL_CACHE_ENABLED": "false",
    }
)
for _name in [name for name in os.environ if name.startswith("FLYTEWHEEL_") or name == "DATABASE_URL"]:
    del os.environ[_name]

import shutil  # noqa: E402
import tempfile  # noqa: E402
import uuid  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import psycopg  # noqa: E402
import pytest  # noqa: E402

from flytewheel.database import migrate  # noqa: E402
from tests.services import TestServices, run_services  # noqa: E402

TEMPLATE = "migrated"


def find_real_server(name: str) -> str:
    """The address of a real server that a person gave in the environment variable `name`; skips without one."""
    url = os.environ.get(name)
    if not url:
        pytest.skip(f"${name} is not set: give the address of a real server there to run this against it")
    return url


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-screenshots", action="store_true", help="write the pictures of docs/ anew")


@pytest.fixture(scope="session")
def open_dir() -> Iterator[Path]:
    """A folder that an unprivileged user can enter too; pytest's own `tmp_path` is not one when root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="flytewheel-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def services(open_dir: Path) -> Iterator[TestServices]:
    with run_services(open_dir) as running:
        yield running


@pytest.fixture(scope="session")
def _template(services: TestServices) -> str:
    """The name of a database with the schema in it; copying it is quicker than migrating anew."""
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(_database_url(services, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(services: TestServices, _template: str) -> Iterator[str]:
    """A fresh database with the schema in it."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_template}")
    yield _database_url(services, name)
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(services: TestServices) -> Any:
    """An `ObjectStore` on a fresh bucket."""
    from registry.store import ObjectStore

    fresh = ObjectStore(
        services.s3_url, services.s3_access_key, services.s3_secret_key, bucket=f"test-{uuid.uuid4().hex[:12]}"
    )
    fresh.ensure_bucket()
    return fresh


def _database_url(services: TestServices, name: str) -> str:
    return services.database_url.rpartition("/")[0] + f"/{name}"
