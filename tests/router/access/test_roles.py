"""Who may reach what, over every route that the running application has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from flytewheel.api_keys import Limits, create_key, revoke_key, rotate_key
from tests.router.access.conftest import ROLES, SITE, Guarded
from tests.router.access.listing import list_routes
from tests.router.live import ADMIN_KEY, ROOT, LiveRouter, measure_stale, wait_until

ROUTES = list_routes()
KNOWN = {"serve", "feedback", "read", "admin", "public", "proof"}
# What needs no key, or brings a proof of its own, is named here too: opening a path is a decision of two places.
OPEN = {
    "/", "/healthz", "/readyz", "/docs", "/redoc", "/docs/assets/{name}", "/openapi.json", "/api/version", "/ui/review",
    "/ui/review/{review_id}", "/ui/assets/{name}", "/v1/feedback", "/api/feedback", "/v1/feedback.js",
    "/review/{review_id}", "/review/{review_id}/next", "/review/{review_id}/labels", "/review/{review_id}/undo",
}  # fmt: skip


def test_every_route_says_what_it_needs() -> None:
    assert len(ROUTES) > 30
    assert [route for route in ROUTES if route[2] not in KNOWN] == []
    assert {path for _, path, scope in ROUTES if scope in ("public", "proof")} - OPEN == set()
    changing = {path for method, path, scope in ROUTES if method in ("PUT", "PATCH", "DELETE") and scope != "admin"}
    assert changing <= {"/api/delete"}  # Ollama's, which is served with a refusal


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_role_reaches_a_route_only_by_its_scope(guarded: Guarded, method: str, path: str, scope: str) -> None:
    filled = path.replace("{", "x-").replace("}", "")
    for role, scopes in ROLES.items():
        answer = guarded.ask(role, method, filled, json={})
        refused = answer.status_code == 401 or (answer.status_code == 403 and "has not the scope" in answer.text)
        if scope == "public":
            assert not refused, role
        elif scope == "proof":
            continue  # the endpoint decides, by what the request brings
        elif scope in scopes:
            assert not refused, (role, answer.text)
        else:
            assert answer.status_code == (401 if role == "nobody" else 403), (role, answer.text)
            said = answer.json()["error"]  # Ollama's paths say it in Ollama's form
            assert said if isinstance(said, str) else said["message"]


def test_no_other_origin_and_no_other_path_is_let_in(guarded: Guarded) -> None:
    asked = {"origin": SITE, "access-control-request-method": "POST"}
    assert guarded.ask("nobody", "OPTIONS", "/v1/chat/completions", headers=asked).status_code == 204
    for path, origin in (("/experiments", SITE), ("/v1/chat/completions", "https://evil.example"), ("/metrics", SITE)):
        answer = guarded.ask("root", "OPTIONS", path, headers={**asked, "origin": origin})
        assert answer.status_code in (404, 405)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_key_lives_as_its_owner_says_while_the_router_runs(guarded: Guarded) -> None:
    url = guarded.router.database_url

    def status(secret: str) -> int:
        return guarded.ask("nobody", "GET", "/metrics", headers={"authorization": f"Bearer {secret}"}).status_code

    key, secret = create_key(url, ["read"])
    assert measure_stale(lambda _: status(secret), 200, lambda: None) < 2  # told, not found at the next look
    successor, fresh = rotate_key(url, key.key_id, timedelta(hours=1))
    wait_until(lambda: status(fresh) == 200, what="its successor opens")
    assert status(secret) == 200
    revoke_key(url, key.key_id)
    wait_until(lambda: status(secret) == 401, what="the revoked one is refused")
    assert status(fresh) == 200
    assert successor.account == key.key_id


def test_limits_hold_for_a_key_and_for_each_of_its_users(guarded: Guarded) -> None:
    router = guarded.router
    if "metered" not in router.get("/v1/models").text:
        router.serve("metered", "stable")
    _, secret = create_key(router.database_url, ["serve"], limits=Limits(requests=6, user_requests=2))
    headers = {"authorization": f"Bearer {secret}"}

    def ask(user: str) -> httpx.Response:
        body = {"model": "flytewheel/metered", "messages": [{"role": "user", "content": "?"}], "user": user}
        return guarded.ask("nobody", "POST", "/v1/chat/completions", json=body | {"max_tokens": 2}, headers=headers)

    wait_until(lambda: guarded.ask("nobody", "GET", "/v1/models", headers=headers).status_code == 200, what="key known")
    first, second, third = ask("ada"), ask("ada"), ask("ada")
    assert [answer.status_code for answer in (first, second, third)] == [200, 200, 429]
    assert "the user has used its 2 requests" in third.json()["error"]["message"]
    assert ask("grace").status_code == 200
    assert "x-ratelimit-remaining-requests" in first.headers
    last = [ask("alan") for _ in range(3)][-1]
    assert last.status_code == 429
    assert "the key has used its 6 requests" in last.json()["error"]["message"]
    assert int(last.headers["retry-after"]) >= 1


def test_an_open_loopback_is_asked_for_by_name_and_said(make_router: Callable[[], LiveRouter]) -> None:
    router = make_router()
    router.environ["FLYTEWHEEL_INSECURE_LOOPBACK"] = "1"
    router.start()
    router.serve("open", "stable")
    body = {"model": "flytewheel/open", "messages": [{"role": "user", "content": "?"}], "max_tokens": 2}

    def ask(**headers: str) -> int:
        url = router.url + "/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=60).status_code

    assert ask() == 200
    assert ask(authorization="Bearer sk-anything") == 200
    assert ask(host="evil.example") == 401
    assert ask(origin="http://evil.example") == 401
    assert httpx.get(router.url + "/metrics", trust_env=False).status_code == 200
    assert httpx.put(router.url + "/models/open/champion", json={"version": "v1"}).status_code == 401
    assert httpx.get(router.url + "/experiments", headers={"authorization": f"Bearer {ADMIN_KEY}"}).status_code == 200
    assert "every program of this machine may chat" in (router.home / "router.log").read_text()
    router.stop()


def test_an_open_router_for_other_machines_is_refused() -> None:
    program = (
        "from router.access.opening import check_openness; from flytewheel.settings import read_settings;"
        "check_openness(read_settings({'FLYTEWHEEL_INSECURE_LOOPBACK': '1'}), '0.0.0.0')"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "SettingsError: --insecure-loopback lets everybody chat who reaches this router" in run.stderr
