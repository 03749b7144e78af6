"""One router for the session; each test brings a model name of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.router import hosting
from tests.router.live import LiveRouter
from tests.services import TestServices


@pytest.fixture(scope="session")
def make_router(services: TestServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], LiveRouter]]:
    """Makes routers, not started, each with a database and a bucket of its own; stops them in the end."""
    made: list[LiveRouter] = []

    def make() -> LiveRouter:
        made.append(hosting.make_router(services, tmp_path_factory.mktemp("router")))
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
