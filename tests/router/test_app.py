from __future__ import annotations

import subprocess
import sys

from tests.router.live import ROOT, LiveRouter


def test_pages_answer(router: LiveRouter) -> None:
    assert router.get("/docs").status_code == 200
    paths = router.get("/openapi.json").json()["paths"]
    assert {"/v1/feedback", "/v1/models", "/experiments", "/models/{name}/champion", "/healthz"} <= set(paths)
    assert "flytewheel_requests_total" in router.get("/metrics").text


def test_health_names_each_backend(router: LiveRouter) -> None:
    version = router.serve("healthy", "stable")
    health = router.get("/healthz").json()
    assert health["backends"][f"healthy@{version}"] == "ready"
    assert health["trouble"] is None
    assert (health["log"]["shed"], health["log"]["failing"]) == (0, None)


def test_every_refusal_has_openais_shape(router: LiveRouter) -> None:
    for answer in (router.get("/nowhere"), router.get("/v1/chat/completions"), router.get("/v1/feedback")):
        assert answer.status_code in (404, 405)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_router_without_its_settings_ends_with_one_line_and_code_2() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "router", "--port", "1"], cwd=ROOT, env={}, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: the router needs FLYTEWHEEL_DATABASE_URL")
    assert run.stderr.count("\n") == 1
