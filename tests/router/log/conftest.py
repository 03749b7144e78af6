"""One PostgreSQL for these tests: other tests' may not be stopped."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flytewheel.local import places
from tests.router.log.stage import Server


@pytest.fixture(scope="module")
def _server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="flytewheel-log-"))
    folder.chmod(0o711)
    server = Server(places.choose_place(folder, places.unprivileged_account()), folder / "postgres.log")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        places.remove_place(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(_server: Server) -> Server:
    """A server that runs."""
    _server.start()
    return _server


@pytest.fixture
def url(server: Server) -> str:
    """A fresh database with the schema in it."""
    return server.make_database()
