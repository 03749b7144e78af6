"""Routers with several workers in front of a stand-in whose streams can be held up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.router.live import LiveRouter
from tests.servers.loopback import running
from tests.servers.vllm import VllmStandIn


@pytest.fixture(scope="module")
def server() -> Iterator[VllmStandIn]:
    with running(VllmStandIn()) as server:
        yield server
        server.flowing.set()


@pytest.fixture(scope="module")
def make_busy(make_router: Callable[[], LiveRouter], server: VllmStandIn) -> Callable[..., LiveRouter]:
    """Makes routers before the stand-in, not started; settings by their names in lower case."""

    def make(**settings: object) -> LiveRouter:
        router = make_router()
        told = {"backend": "vllm", "backend_url": server.url, **settings}
        router.environ |= {f"FLYTEWHEEL_{name.upper()}": str(value) for name, value in told.items()}
        return router

    return make
