"""A router of its own for what is sent with ill intent, and keys of every role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from flytewheel.api_keys import create_key
from tests.router.live import ADMIN_KEY, LiveRouter, wait_until

SITE = "https://app.example"
ROLES: dict[str, frozenset[str]] = {
    "nobody": frozenset(),
    "serve": frozenset({"serve"}),
    "feedback": frozenset({"feedback"}),
    "read": frozenset({"read"}),
    "admin": frozenset({"admin"}),
    "root": frozenset({"serve", "feedback", "read", "admin"}),
}


@dataclass
class Guarded:
    """The router, and for each role what its requests bring."""

    router: LiveRouter
    headers: dict[str, dict[str, str]]

    def ask(self, role: str, method: str, path: str, **options: object) -> httpx.Response:
        """A request of somebody in this role."""
        headers = {**self.headers[role], **options.pop("headers", {})}  # type: ignore[dict-item]
        with (
            httpx.Client(trust_env=False, timeout=60) as client,
            client.stream(method, self.router.url + path, headers=headers, **options) as answer,  # type: ignore[arg-type]
        ):
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):  # which goes on for ever
                answer.read()
        return answer


@pytest.fixture(scope="session")
def guarded(make_router: Callable[[], LiveRouter]) -> Iterator[Guarded]:
    router = make_router()
    router.environ |= {"FLYTEWHEEL_CORS_ORIGINS": SITE, "FLYTEWHEEL_LOG_FORMAT": "json"}
    router.start()
    headers = {"nobody": {}, "root": {"authorization": f"Bearer {ADMIN_KEY}"}}
    for role, scopes in ROLES.items():
        if role not in headers:
            _, secret = create_key(router.database_url, scopes, name=role)
            headers[role] = {"authorization": f"Bearer {secret}"}
    found = Guarded(router, headers)
    wait_until(lambda: found.ask("read", "GET", "/metrics").status_code == 200, what="the keys are known")
    return found
