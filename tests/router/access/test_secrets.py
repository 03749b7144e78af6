"""Secrets in every place that a client or an operator can put one, and every place that the router speaks from."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable

import httpx
import pytest

from flytewheel.api_keys import new_secret
from tests.router.access.conftest import Guarded
from tests.router.access.serving import exchange
from tests.router.live import ADMIN_KEY, ASSIGNMENT_KEY, LiveRouter, wait_until

PLANTED = "planted-5ecret-0f-a-client"


def forms(secret: str) -> set[str]:
    return {
        secret,
        urllib.parse.quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode().rstrip("=")[:-1],
        json.dumps(secret)[1:-1],
    }


def test_no_secret_is_said_anywhere(guarded: Guarded) -> None:
    router, ours = guarded.router, [ADMIN_KEY, ASSIGNMENT_KEY, new_secret()]
    ours += [head["authorization"].removeprefix("Bearer ") for head in guarded.headers.values() if head]
    heard: list[str] = []
    for secret in ours:
        places: list[tuple[str, str, dict[str, object]]] = [
            ("GET", f"/experiments?name={urllib.parse.quote(secret)}", {}),
            ("GET", f"/nowhere/{urllib.parse.quote(secret)}", {}),
            ("GET", f"/experiments/{urllib.parse.quote(secret)}", {}),
            ("GET", "/metrics", {"headers": {"authorization": f"Token {secret}"}}),
            ("GET", "/metrics", {"headers": {"authorization": f"Bearer {secret}x"}}),
            ("GET", "/metrics", {"headers": {"authorization": secret}}),
            ("GET", "/metrics", {"headers": {"cookie": f"flytewheel_unit={secret}"}}),
            ("POST", "/v1/chat/completions", {"json": {"model": secret, "messages": []}}),
            ("POST", "/v1/chat/completions", {"content": f'{{"{secret}'}),
            (
                "POST",
                "/v1/feedback",
                {"json": {"interaction_id": "x", "feedback_type": "thumbs_up", "receipt": secret}},
            ),
            ("PUT", f"/models/{secret}/champion", {"json": {"version": secret}}),
            (
                "POST",
                "/experiments",
                {"json": {"name": secret, "control": secret, "treatment": secret, "share": secret}},
            ),
        ]
        for role in ("root", "nobody"):
            heard += [guarded.ask(role, method, path, **options).text for method, path, options in places]
        exchange(router.port, f"GET / HTTP/1.1\r\nx: {secret}\r\n\x00{secret}\r\n\r\n".encode(), timeout_s=1)
    quiet = [guarded.ask("root", "GET", path).text for path in ("/healthz", "/metrics", "/openapi.json", "/models")]
    quiet.append((router.home / "router.log").read_text())
    for secret in ours:
        for form in forms(secret):
            assert form not in "\n".join(quiet), form[:6]
    for secret in (ADMIN_KEY, ASSIGNMENT_KEY):  # what an answer repeats to whoever sent it is not told by us
        assert not [
            said for said in heard if secret in said and "nothing is served" not in said and "no model" not in said
        ]


def test_a_line_of_the_log_is_json_with_its_key(guarded: Guarded) -> None:
    lines = [json.loads(line) for line in (guarded.router.home / "router.log").read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


@pytest.mark.parametrize("mark", ["/", "@"])
def test_passwords_of_services_that_are_away_are_not_said(make_router: Callable[[], LiveRouter], mark: str) -> None:
    """A password with a mark that should have been quoted: libpq takes what follows it for a host, or a database, and
    names it in its complaint. The router starts all the same, and complains without it.
    """
    router = make_router()
    scheme, _, rest = router.environ["FLYTEWHEEL_DATABASE_URL"].partition("://")
    router.environ["FLYTEWHEEL_DATABASE_URL"] = f"{scheme}://nobody:half{mark}{PLANTED}@{rest.partition('@')[2]}"
    router.start(ready=False)
    wait_until(lambda: "warning" in (router.home / "router.log").read_text().lower(), what="it complains")
    health = wait_until(lambda: router.client.get(router.url + "/healthz").text, what="health")
    answers = [
        httpx.get(router.url + path, headers={"authorization": f"Bearer {ADMIN_KEY}"}, trust_env=False, timeout=60).text
        for path in ("/experiments", "/metrics", "/models", "/review")
    ]
    router.stop()
    said = "\n".join([health, *answers, (router.home / "router.log").read_text()])
    assert PLANTED not in said
    assert "[secret]" in said, "nothing had to be taken out: this shows nothing"
    assert "PostgreSQL" in said
