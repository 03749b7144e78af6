"""A line for each request: whole, as JSON, and with nothing in it that is nobody's business."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flytewheel.settings import read_settings
from router.loglines import Blanks, Lines
from tests.router.keeper.adapters import serve
from tests.router.live import API_KEY, LiveRouter, wait_until
from tests.servers.loopback import running
from tests.servers.vllm import VllmStandIn

SAID = "a question that is nobody's business"


@pytest.fixture(scope="module")
def router(make_router: Callable[[], LiveRouter]) -> Iterator[LiveRouter]:
    with running(VllmStandIn()) as server:
        router = make_router()
        router.environ |= {
            "FLYTEWHEEL_BACKEND": "vllm",
            "FLYTEWHEEL_BACKEND_URL": server.url,
            "FLYTEWHEEL_ACCESS_LOG": "true",
            "FLYTEWHEEL_WORKERS": "1",
        }
        router.start()
        serve(router, "logged", "stable")
        yield router
        router.stop()


def read_lines(home: Path) -> list[dict[str, Any]]:
    """The lines about requests; every one of them is JSON by itself."""
    lines = (home / "router.log").read_text().splitlines()
    return [json.loads(line) for line in lines if '"logger": "router.requests"' in line]


def find(router: LiveRouter, **facts: Any) -> dict[str, Any]:
    """The line that has these facts, waited for: it is written after the answer."""

    def look() -> dict[str, Any] | None:
        found = [line for line in read_lines(router.home) if facts.items() <= line.items()]
        return found[0] if found else None

    line: dict[str, Any] = wait_until(look, what=f"a line with {facts}")
    return line


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_told_with_what_it_is_about(router: LiveRouter, stream: bool) -> None:
    answer = router.ask("logged", messages=[{"role": "user", "content": SAID}], stream=stream)
    line = find(router, interaction=answer.headers["x-flytewheel-interaction"])
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/chat/completions", 200)
    assert (line["level"], line["complete"], line["bytes"]) == ("info", True, len(answer.content))
    assert line["version"] == answer.headers["x-flytewheel-version"]
    assert line["arm"] == "champion"
    assert line["key"]
    assert 0 < line["first_token_ms"] <= line["latency_ms"]


def test_what_is_refused_passed_on_or_nobodys_is_told_too(router: LiveRouter) -> None:
    assert router.get("/v1/models?token=0123456789abcdef0123").status_code == 200
    assert find(router, path="/v1/models")["status"] == 200
    assert router.post("/v1/chat/completions", content=b"no JSON").status_code == 400
    refused = find(router, status=400)
    assert (refused["interaction"], refused["version"]) == (None, None)
    headers = {"authorization": "Bearer fw_nobodys0123456789abcdef"}
    assert router.get("/v1/models", headers=headers).status_code == 401
    assert find(router, status=401)["key"] is None
    path = "/%0a%e2%80%a8" + "y" * 500
    assert router.get(path).status_code in (400, 401, 404)
    assert find(router, path=("/\n\u2028" + "y" * 500)[:200])["version"] is None
    log = (router.home / "router.log").read_text()
    for secret in (SAID, API_KEY, "0123456789abcdef", "nobodys0123", "no JSON"):
        assert secret not in log


def test_a_client_that_leaves_is_told_from_an_end(router: LiveRouter) -> None:
    body = {"model": "flytewheel/logged", "messages": [{"role": "user", "content": "?"}], "stream": True}
    with router.client.stream("POST", router.url + "/v1/chat/completions", json=body) as answer:
        interaction = answer.headers["x-flytewheel-interaction"]
    line = find(router, interaction=interaction)
    assert line["status"] == 200
    assert isinstance(line["complete"], bool)  # whether it left in time is up to the two of them


def test_it_is_off_unless_asked_for_and_a_line_stays_cheap() -> None:
    assert not read_settings({}).access_log
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines("text", Blanks(["a-known-secret"])))
    record = logging.LogRecord("router.requests", logging.INFO, "", 1, "request", (), None)
    record.facts = {"path": "/v1/a-known-secret", "status": None, "bytes": 3}
    began = time.process_time()
    for _ in range(1000):
        handler.handle(record)
    assert time.process_time() - began < 1.0
    told = json.loads(stream.getvalue().splitlines()[0])
    assert (told["path"], told["status"], told["bytes"]) == ("/v1/[secret]", None, 3)
