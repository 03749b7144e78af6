"""The reference API over HTTP, on a real router: the names of the notes, the control API's decisions."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from flytewheel.drift.looks import look
from flytewheel.experiment.assign import choose_arm
from tests.drift.test_requests import Cluster
from tests.drift.test_triggers import NOW, RECIPE
from tests.router.live import ASSIGNMENT_KEY, LiveRouter

SPLIT = {"share": 0.5}


@pytest.fixture(scope="module")
def model(router: LiveRouter) -> tuple[str, str, str]:
    """A model's name, its champion and another version."""
    name = f"ref-{uuid.uuid4().hex[:8]}"
    return name, router.serve(name, "left"), router.register(name, "right")


def create(router: LiveRouter, model: tuple[str, str, str], **more: Any) -> httpx.Response:
    name, _, treatment = model
    return router.send("POST", "/api/experiments", {"name": name, "treatment": treatment} | SPLIT | more)


def test_an_experiment_is_created_started_counted_and_stopped(router: LiveRouter, model: tuple[str, str, str]) -> None:
    name, champion, treatment = model
    created = create(router, model, key=f"{name}-whole", description="left or right")
    assert created.status_code == 201, created.text
    shown = created.json()["experiment"]
    assert (shown["state"], shown["control"], shown["treatment"]) == ("draft", champion, treatment)
    assert create(router, model, key=f"{name}-whole", description="left or right").status_code == 200
    at = f"/api/experiments/{shown['id']}"
    assert router.get(at + "/results").json()["reason"] == "no winner yet: the experiment has not started"
    assert router.ask(name).headers.get("x-flytewheel-experiment") is None  # a draft meets nobody

    started = router.send("POST", at + "/start")
    assert started.status_code == 200, started.text
    assert started.json()["experiment"]["state"] == "running"
    assert router.send("POST", at + "/start").json()["created"] is False

    counts = {"control": 0, "treatment": 0}
    for number in range(12):
        user = f"user-{number}"
        groups = router.get(f"/api/users/{user}/experiment-group", params={"name": name}).json()
        (group,) = groups["groups"]
        answer = router.ask(name, user)
        assert answer.headers["x-flytewheel-arm"] == group["variant"]
        assert answer.headers["x-flytewheel-version"] == group["version"]
        assert group["propensity"] == 0.5
        expected = choose_arm(ASSIGNMENT_KEY.encode(), shown["id"], user, 0.5)
        assert group["variant"] == expected.arm
        counts[group["variant"]] += 1
        router.interaction(answer.headers["x-flytewheel-interaction"])
        if number < 4:
            proof = {
                "interaction_id": answer.headers["x-flytewheel-interaction"],
                "receipt": answer.headers["x-flytewheel-receipt"],
            }
            assert router.post("/api/feedback", json=proof | {"feedback_type": "thumbs_up"}).status_code == 201

    results = router.get(at + "/results").json()
    assert {one["variant"]: one["impressions"] for one in results["variants"]} == counts
    assert sum(one["conversions"] for one in results["variants"]) == 4
    assert all(one["latency_ms"]["p95"] > 0 for one in results["variants"] if one["impressions"])
    assert (results["winner"], results["reason"]) == (None, "no winner yet: burn-in: fewer than 50 users in an arm")

    stopped = router.send("POST", at + "/stop", {"reason": "seen enough"})
    assert (stopped.json()["state"], stopped.json()["reason"]) == ("stopped", "seen enough")
    again = router.send("POST", at + "/start")
    assert again.status_code == 409
    assert "has stopped (seen enough)" in again.json()["error"]["message"]
    listed = router.get("/api/experiments", params={"name": name}).json()["experiments"]
    assert [one["state"] for one in listed] == ["stopped"]
    assert router.get(f"/users/ada/experiment-group?name={name}").json() == {"user_id": "ada", "groups": []}


def test_looking_a_user_up_logs_nothing(router: LiveRouter, model: tuple[str, str, str]) -> None:
    before = router.rows("SELECT count(*) FROM interactions")
    assert router.get("/api/users/a%2Fb%20ü/experiment-group").json()["user_id"] == "a/b ü"
    assert router.get(f"/api/users/{'x' * 201}/experiment-group").status_code == 422
    assert router.get("/api/users/a%00b/experiment-group").status_code in (400, 422)
    assert router.rows("SELECT count(*) FROM interactions") == before


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"treatment": None}, 422, "treatment: "),
        ({"share": 0}, 422, "share: "),
        ({"shares": 0.1}, 422, "shares: Extra inputs"),
        ({"name": "nobody", "control": None}, 409, "no model 'nobody' with a champion"),
        ({"description": "\0"}, 422, "the body holds the character NUL"),
    ],
)
def test_a_body_that_cannot_be_is_refused_in_one_line(
    router: LiveRouter, model: tuple[str, str, str], changes: dict[str, Any], status: int, said: str
) -> None:
    answer = create(router, model, **changes)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"].startswith(said)


def test_what_nobody_knows_is_not_found(router: LiveRouter) -> None:
    for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/start"), ("POST", "/stop")):
        answer = router.send(method, f"/api/experiments/exp-none{path}")
        assert answer.status_code == 404, path
        assert "list them with GET /api/experiments" in answer.json()["error"]["message"]
    assert router.get("/api/experiments/a%00b").status_code in (400, 422)


def test_a_trigger_is_a_request_that_a_look_starts_once(router: LiveRouter) -> None:
    asked = {"name": "demo", "reason": "new runbooks", "force": True, "id": uuid.uuid4().hex}
    first = router.send("POST", "/api/retraining/trigger", asked)
    assert (first.status_code, first.json()["created"]) == (202, True)
    assert router.send("POST", "/api/retraining/trigger", asked).status_code == 200
    other = router.send("POST", "/api/retraining/trigger", asked | {"name": "other"})
    assert (other.status_code, "take another id" in other.text) == (409, True)

    def standing() -> dict[str, Any]:
        (model,) = router.get("/api/retraining/status", params={"name": "demo"}).json()["models"]
        return dict(model)

    assert [one["state"] for one in standing()["requests"]] == ["requested"]
    cluster = Cluster()
    for _ in range(2):
        look(router.database_url, RECIPE, now=NOW, launch=cluster.launch)
    assert len(cluster.started) == 1
    told = standing()
    assert (told["requests"][0]["state"], told["requests"][0]["asked_by"]) == ("launched", "admin")
    assert told["requests"][0]["execution"] in cluster.started
    assert told["totals_by_cause"] == {"by hand": 1}
    assert told["in_progress"] is False


def test_a_small_turn_is_asked_for_and_shown_beside_the_buffer(router: LiveRouter) -> None:
    asked = {"name": "small-demo", "reason": "try"}
    header = {"idempotency-key": uuid.uuid4().hex}
    admin = {"authorization": "Bearer admin-key-of-the-tests"} | header
    for status in (202, 200):
        answer = router.client.post(router.url + "/api/learning/trigger", json=asked, headers=admin)
        assert answer.status_code == status
    (model,) = router.get("/api/learning/status", params={"name": "small-demo"}).json()["models"]
    assert [one["mode"] for one in model["requests"]] == ["incremental"]
    assert (model["buffer_size"], model["buffer_interactions"], model["total_updates"]) == (1000, 0, 0)
    assert model["error_trend"] == {"direction": "unknown", "validation_losses": []}


def test_changing_wants_the_admin_key_and_reading_a_key(router: LiveRouter, model: tuple[str, str, str]) -> None:
    body = {"name": model[0], "treatment": model[2]}
    turn = {"name": "demo", "reason": "x"}
    for path, content in (
        ("/api/experiments", body),
        ("/api/experiments/e/start", None),
        ("/api/experiments/e/stop", None),
        ("/api/retraining/trigger", turn),
        ("/api/learning/trigger", turn),
    ):
        assert router.post(path, json=content).status_code == 403, path
    with httpx.Client(trust_env=False) as nobody:
        for path in ("/api/experiments", "/api/users/ada/experiment-group", "/api/learning/status", "/metrics"):
            assert nobody.get(router.url + path).status_code == 401, path
