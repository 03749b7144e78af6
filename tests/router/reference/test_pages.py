"""OpenAPI is whole, and its pages show it without a network."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flytewheel.settings import read_settings
from router.access.callers import PUBLIC
from router.app import create_app
from router.feedback.room import PATHS
from router.front import Front
from router.paths import OLLAMA_PATHS
from router.protocols import PROTOCOLS
from router.reference.described import list_operations
from tests.browser import TIMEOUT_MS, open_browser
from tests.router.live import LiveRouter

# Pages, Prometheus's text, and what of Ollama is only there to be refused with the next step.
_REFUSED = [f"/api/{verb}" for verb in ("pull", "push", "create", "copy", "delete")]
HIDDEN = ("/ui", "/docs", "/redoc", "/openapi.json", "/metrics", *_REFUSED)


@pytest.fixture(scope="module")
def front(router: LiveRouter) -> Front:
    """The application itself, with the bare endpoints that it registers when it starts."""
    made = create_app(read_settings(router.environ))
    for path in (*PROTOCOLS, *PATHS):
        made.add(path, ("POST",), PUBLIC, made)
    return made


@pytest.fixture(scope="module")
def schema(router: LiveRouter) -> dict[str, Any]:
    found: dict[str, Any] = router.get("/openapi.json").json()
    return found


def test_every_path_that_is_served_is_described(schema: dict[str, Any], front: Front) -> None:
    described = {(method.upper(), path) for method, path, _ in list_operations(schema)}
    served = {(method, path.replace(":path}", "}")) for method, path, _ in front.routes() if method not in ("HEAD",)}
    missing = {(method, path) for method, path in served - described if not path.startswith(HIDDEN) and path != "/"}
    assert not missing
    assert {("POST", path) for path in PROTOCOLS} <= described
    assert {("POST", "/v1/feedback"), ("POST", "/api/feedback")} <= described


def test_every_refusal_has_our_shape_and_every_key_its_lock(schema: dict[str, Any]) -> None:
    for method, path, operation in list_operations(schema):
        assert "HTTPValidationError" not in str(operation), path
        refused = operation["responses"]["default"]["content"]["application/json"]["schema"]
        shape = "OllamaRefusal" if path in OLLAMA_PATHS else "Refusal"
        assert refused == {"$ref": f"#/components/schemas/{shape}"}, (method, path)
    assert schema["paths"]["/api/retraining/trigger"]["post"]["security"] == [{"admin key": []}]
    assert schema["paths"]["/v1/chat/completions"]["post"]["security"] == [{"serve key": []}]
    names = [operation["operationId"] for _, _, operation in list_operations(schema)]
    assert len(names) == len(set(names))
    for reference in re.findall(r"#/components/schemas/(\w+)", str(schema)):
        assert reference in schema["components"]["schemas"], reference


def test_every_status_of_what_is_said_again_is_described(schema: dict[str, Any]) -> None:
    """What was asked before is answered by another status than the first time; so is a router that is not ready."""
    again = {
        ("post", "/experiments"): {"200", "201"},
        ("post", "/api/experiments"): {"200", "201"},
        ("post", "/api/learning/trigger"): {"200", "202"},
        ("post", "/api/retraining/trigger"): {"200", "202"},
        ("get", "/readyz"): {"200", "503"},
    }
    for (method, path), statuses in again.items():
        responses = schema["paths"][path][method]["responses"]
        assert statuses <= set(responses), path
        first, second = (responses[status]["content"]["application/json"]["schema"] for status in sorted(statuses))
        assert {key: value for key, value in first.items() if key != "title"} == {
            key: value for key, value in second.items() if key != "title"
        }, path
    refused = schema["paths"]["/v1/feedback"]["post"]["responses"]
    for status in ("401", "403", "404", "409", "422"):  # a batch whose items are all refused alike has their status
        assert "FeedbackBatchResult" in str(refused[status]), status


def test_examples_are_there_for_what_people_send(schema: dict[str, Any]) -> None:
    for path in ("/v1/chat/completions", "/api/chat"):
        body = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert set(body["schema"]["required"]) <= set(body["example"])
    kinds = schema["components"]["schemas"]
    for kind in ("ExperimentBody", "TurnBody"):
        (example,) = kinds[kind]["examples"]
        assert set(kinds[kind]["required"]) <= set(example) <= set(kinds[kind]["properties"])


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_loads_nothing_from_elsewhere(router: LiveRouter, page: str) -> None:
    answer = router.get(page)
    assert answer.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert links
    for link in links:
        assert link.startswith("/docs/assets/"), link
        assert len(router.get(link).content) > 1000
    assert "connect-src 'self'" in answer.headers["content-security-policy"]
    assert router.get("/docs/assets/..%2F__init__.py").status_code == 404


@pytest.mark.parametrize(
    ("page", "shown"), [("/docs", "/api/retraining/trigger"), ("/redoc", "Small turns: buffer size")]
)
def test_a_browser_that_reaches_nobody_else_shows_the_calls(router: LiveRouter, page: str, shown: str) -> None:
    with open_browser() as browser:
        opened = browser.new_page()
        loaded: list[str] = []
        errors: list[str] = []
        opened.on("requestfinished", lambda request: loaded.append(request.url))
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(router.url + page)
        opened.get_by_text(shown).first.wait_for(timeout=TIMEOUT_MS, state="attached")
    # ReDoc asks a CDN for its maker's logo; the page's policy lets it go nowhere.
    assert not [url for url in loaded if not url.startswith((router.url, "data:", "blob:"))]
    assert not errors
