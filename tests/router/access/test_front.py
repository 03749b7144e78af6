from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from flytewheel.api_keys import ApiKey, Limits, hash_secret, new_secret
from router.access.callers import ADMIN, FEEDBACK, PROOF, PUBLIC, READ, SERVE, caller_of
from router.access.keys import Keys
from router.access.needs import needs, read_need
from router.access.origins import Origins
from router.access.rates import Rates
from router.front import Front
from router.loglines import INTERACTION, Blanks, Lines
from tests.router.access.serving import ADMIN_KEY, Seen, make_front, serve

SITE = "https://app.example"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def make_keys(**scopes: set[str]) -> tuple[Keys, dict[str, str]]:
    """Keys by name, each with its secret."""
    secrets = {name: new_secret() for name in scopes}
    keys = Keys(ADMIN_KEY.encode())
    keys.replace(
        ApiKey(name, name, hash_secret(secrets[name]), frozenset(given), name, NOW, limits=LIMITS.get(name, Limits()))
        for name, given in scopes.items()
    )
    return keys, {**secrets, "root": ADMIN_KEY}


LIMITS = {"limited": Limits(requests=2)}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def make_app(keys: Keys) -> Front:
    """A front door before FastAPI, with one route of each kind, and one that says nothing."""
    app = FastAPI()
    for scope in (SERVE, FEEDBACK, READ, ADMIN, PUBLIC, PROOF):

        def answer() -> str:
            return "served"

        app.add_api_route(f"/{scope}", answer, methods=["GET"], dependencies=[needs(scope)])
    app.add_api_route("/forgotten", lambda: "served", methods=["GET", "POST"])
    app.add_api_route("/twice", lambda: "served", dependencies=[needs(READ), needs(ADMIN)])
    app.add_api_route("/items/{item}", lambda item: item, dependencies=[needs(READ)])

    @app.post("/json", dependencies=[needs(READ)])
    def take(body: dict[str, Any]) -> int:
        return len(body)

    front = Front(app, door=keys, meter=Rates(None, b"k"), app=app, origins=Origins([SITE]), body_limit=1000)
    front.declare("/docs", PUBLIC)
    return front


def ask(front: Front, method: str, path: str, **options: Any) -> httpx.Response:
    with serve(front) as port:
        return httpx.request(method, f"http://127.0.0.1:{port}{path}", trust_env=False, **options)


@pytest.fixture(scope="module")
def door() -> Any:
    keys, secrets = make_keys(
        serve={SERVE}, feedback={FEEDBACK}, read={READ}, admin={ADMIN}, none=set(), two={SERVE, READ}
    )
    with serve(make_app(keys)) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client, secrets


ROLES: dict[str, set[str]] = {
    "nobody": set(),
    "none": set(),
    "serve": {SERVE},
    "feedback": {FEEDBACK},
    "read": {READ},
    "admin": {ADMIN},
    "two": {SERVE, READ},
    "root": {SERVE, FEEDBACK, READ, ADMIN},
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("scope", [SERVE, FEEDBACK, READ, ADMIN, PUBLIC, PROOF])
def test_a_role_reaches_what_its_scopes_say_and_nothing_else(door: Any, role: str, scope: str) -> None:
    client, secrets = door
    answer = client.get(f"/{scope}", headers=bearer(secrets[role]) if role != "nobody" else {})
    if scope in ROLES[role] or scope in (PUBLIC, PROOF):
        assert answer.json() == "served"
    else:
        assert answer.status_code == (401 if role == "nobody" else 403)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", ["/forgotten", "/twice", "/redoc", "/openapi.json"])
@pytest.mark.parametrize("role", ["nobody", "read", "root"])
def test_a_route_without_a_scope_is_closed_to_everybody(door: Any, path: str, role: str) -> None:
    client, secrets = door
    answer = client.get(path, headers=bearer(secrets[role]) if role != "nobody" else {})
    assert answer.status_code == 403
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/serve/", 404),  # no redirect either
        ("GET", "//serve", 404),
        ("GET", "/SERVE", 404),
        ("DELETE", "/serve", 405),
        ("TRACE", "/serve", 405),
        ("GET", "/items/a%00b", 400),
        ("GET", "/items/a%0d%0ab", 400),
        ("GET", "/items/x?q=%00", 400),
        ("GET", "/items/%ff%fe", 200),
        ("GET", "/items/..%2f..%2fserve", 404),
    ],
)
def test_other_paths_and_methods_end_at_the_door(door: Any, method: str, path: str, status: int) -> None:
    client, secrets = door
    answer = client.request(method, path, headers=bearer(secrets["root"]))
    assert answer.status_code == status, answer.text
    if status != 200:
        assert "error" in answer.json()
    if status == 405:
        assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{}", 200),
        (b"{", 400),
        (b"[" * 100_000, 413),
        (b"[" * 600, 400),
        (b'{"a":"\\u0000"}', 422),
        (b'{"a":"\\\\u0000"}', 200),
        (b'{"a":"\\ud800"}', 400),
        (b'{"a":NaN}', 400),
        (b"\xff", 400),
        (b" " * 1001, 413),
    ],
)
def test_what_fastapi_gets_was_screened(door: Any, content: bytes, status: int) -> None:
    client, secrets = door
    for body in (content, iter([content])):
        answer = client.post(
            "/json", content=body, headers={**bearer(secrets["read"]), "content-type": "application/json"}
        )
        assert answer.status_code == status, answer.text


def test_a_wrong_key_is_refused_before_its_body_is_read(door: Any) -> None:
    client, _ = door
    answer = client.post("/json", content=b"[" * 900, headers=bearer("fw_wrong"))
    assert answer.status_code == 401
    assert "mistyped" in answer.json()["error"]["message"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_endpoints_find_caller_and_headers() -> None:
    keys, secrets = make_keys(app={SERVE})
    seen = Seen()
    answer = ask(make_front(seen, keys=keys), "POST", "/chat", headers=bearer(secrets["app"]), content=b"hi")
    assert answer.text == "POST /chat 2 app"
    assert caller_of({}).key_id is None


def test_a_limited_key_is_told_what_is_left_and_then_to_wait() -> None:
    keys, secrets = make_keys(limited={SERVE}, free={SERVE})
    with serve(make_front(Seen(), keys=keys)) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        answers = [client.post("/chat", headers=bearer(secrets["limited"])) for _ in range(3)]
        free = client.post("/chat", headers=bearer(secrets["free"]))
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert not [name for name in free.headers if name.startswith("x-ratelimit")]


# -- origins


@pytest.mark.parametrize("path", ["/serve", "/feedback", "/proof"])
def test_a_listed_origin_may_chat_and_react(door: Any, path: str) -> None:
    client, secrets = door
    asked = {"origin": SITE, "access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    preflight = client.options(path, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == SITE
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    answer = client.get(path, headers={**bearer(secrets["root"]), "origin": SITE})
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "x-flytewheel-receipt" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in answer.headers
    refused = client.get(path, headers={"origin": SITE, **bearer("fw_wrong")})
    assert refused.headers["access-control-allow-origin"] == SITE  # else the script sees no reason


@pytest.mark.parametrize("path", ["/read", "/admin", "/public", "/forgotten", "/nowhere", "/items/x"])
def test_what_reads_or_changes_the_router_answers_no_site(door: Any, path: str) -> None:
    client, secrets = door
    asked = {"origin": SITE, "access-control-request-method": "GET"}
    for answer in (client.options(path, headers=asked), client.get(path, headers={**bearer(secrets["root"]), **asked})):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.options(path, headers=asked).status_code in (404, 405)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://app.example", "https://app.example:444", "https://app.example.evil", "null", "*",
     "https://APP.example", "https://sub.app.example"],
)  # fmt: skip
def test_other_origins_get_no_word(door: Any, origin: str) -> None:
    client, secrets = door
    asked = {"origin": origin, "access-control-request-method": "GET"}
    for answer in (
        client.options("/serve", headers=asked),
        client.get("/serve", headers=bearer(secrets["root"]) | asked),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_scope_that_does_not_exist_is_a_mistake_in_the_code() -> None:
    with pytest.raises(ValueError, match="scope 'sevre'"):
        needs("sevre")
    assert read_need([]) is None
    assert read_need([needs(READ), needs(ADMIN)]) is None


def test_what_an_endpoint_throws_is_logged_with_its_key_and_without_a_secret() -> None:
    keys, secrets = make_keys(app={SERVE})
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(Lines("json", Blanks([ADMIN_KEY])))
    logger = logging.getLogger("uvicorn.error")
    front = make_front(Seen(), keys=keys)

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        scope[INTERACTION] = "abc123"
        raise RuntimeError(f"{ADMIN_KEY} and {scope['headers']} and postgresql://me:{'pw' * 5}@db")

    front.add("/fail", ("POST",), SERVE, fail)
    logger.addHandler(handler)
    try:
        assert ask(front, "POST", "/fail?key=" + ADMIN_KEY, headers=bearer(secrets["app"])).status_code == 500
    finally:
        logger.removeHandler(handler)
    (line,) = [json.loads(each) for each in said.getvalue().splitlines()]
    assert (line["key"], line["interaction"], line["level"]) == ("app", "abc123", "error")
    assert "RuntimeError" in line["exception"]
    for secret in (ADMIN_KEY, secrets["app"], "pwpw"):
        assert secret not in said.getvalue()
