from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import httpx
import psycopg
import pytest

from tests.router.live import ADMIN, LiveRouter


@pytest.fixture(scope="module")
def name(router: LiveRouter) -> str:
    router.serve("rated", "stable")
    return "rated"


def rate(router: LiveRouter, answer: httpx.Response, **body: Any) -> httpx.Response:
    proof = {
        "interaction_id": answer.headers["x-flytewheel-interaction"],
        "receipt": answer.headers["x-flytewheel-receipt"],
    }
    sent = {key: value for key, value in (proof | body).items() if value is not None}
    return router.post("/v1/feedback", json=sent)


def test_feedback_at_once_is_stored_once(router: LiveRouter, name: str) -> None:
    answer = router.ask(name, "rater")
    first = rate(router, answer, feedback_type="thumbs_up")
    assert (first.status_code, first.json()["status"]) == (201, "stored")
    again = rate(router, answer, feedback_type="thumbs_up")
    assert again.json() == {"status": "duplicate", "event_id": first.json()["event_id"]}
    other = rate(router, answer, feedback_type="correction", corrected_response="steady", correction_type="style")
    assert other.json()["status"] == "stored"
    rows = router.rows(
        "SELECT feedback_type, user_id, source FROM feedback_events WHERE interaction_id = %s ORDER BY 1",
        answer.headers["x-flytewheel-interaction"],
    )
    assert rows == [("correction", "rater", name), ("thumbs_up", "rater", name)]


def test_feedback_before_its_interaction_is_written_waits_for_it(router: LiveRouter, name: str) -> None:
    with ThreadPoolExecutor(1) as thread:
        with psycopg.connect(router.database_url) as connection:
            connection.execute("LOCK TABLE interactions IN EXCLUSIVE MODE")  # who writes waits, who reads does not
            answer = router.ask(name)
            rating = thread.submit(rate, router, answer, feedback_type="thumbs_up")
            assert not wait([rating], timeout=0.5).done
        assert rating.result(timeout=20).json()["status"] == "stored"


def test_the_same_feedback_sent_at_once_is_stored_once(router: LiveRouter, name: str) -> None:
    for _ in range(5):
        answer = router.ask(name)
        with ThreadPoolExecutor(6) as threads:
            sent = list(threads.map(lambda _, answer=answer: rate(router, answer, feedback_type="thumbs_up"), range(6)))
        assert sorted(each.json().get("status", each.text) for each in sent) == ["duplicate"] * 5 + ["stored"]


def test_the_clients_own_id_decides(router: LiveRouter, name: str) -> None:
    answer = router.ask(name)
    event = {"event_id": f"mine-{answer.headers['x-flytewheel-interaction']}", "feedback_type": "rating"}
    assert rate(router, answer, rating=4, **event).json()["status"] == "stored"
    assert rate(router, answer, rating=4, **event).json()["status"] == "duplicate"
    conflict = rate(router, answer, rating=2, **event)
    assert conflict.status_code == 409
    assert "conflict" in conflict.json()["error"]["message"]


def test_only_the_holder_of_the_receipt_may_rate(router: LiveRouter, name: str) -> None:
    mine, other = router.ask(name), router.ask(name)
    forged = rate(router, mine, feedback_type="thumbs_down", receipt=other.headers["x-flytewheel-receipt"])
    assert forged.status_code == 403
    assert rate(router, mine, feedback_type="thumbs_down", receipt="é").status_code == 403
    event = {"interaction_id": mine.headers["x-flytewheel-interaction"], "feedback_type": "thumbs_down"}
    assert router.post("/v1/feedback", json=event).status_code == 401
    assert router.post("/v1/feedback", json=event, headers=ADMIN).status_code == 201
    unknown = {"interaction_id": "none", "feedback_type": "thumbs_down"}
    assert router.post("/v1/feedback", json=unknown, headers=ADMIN).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"feedback_type": "applause"}, 422),
        ({"feedback_type": "rating"}, 422),
        ({"feedback_type": "rating", "rating": 6}, 422),
        ({"feedback_type": "thumbs_up", "rating": 3}, 422),
        ({"feedback_type": "correction"}, 422),
        ({"feedback_type": "correction", "corrected_response": "a\0b"}, 422),
        ({"feedback_type": "accepted", "metadata": {"seconds": "soon"}}, 422),
        ({"feedback_type": "thumbs_up", "thumb": 1}, 422),
        ({"feedback_type": "rating", "rating": True}, 422),
        ({"feedback_type": "thumbs_up", "event_id": "a\0b"}, 422),
        ({"feedback_type": "thumbs_up", "timestamp": "9999-12-31T23:59:59-12:00"}, 422),
    ],
)
def test_an_invalid_event_is_refused_in_one_line(
    router: LiveRouter, name: str, body: dict[str, Any], status: int
) -> None:
    answer = rate(router, router.ask(name), **body)
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.json()["error"]["message"]


def test_bodies_that_are_no_json_or_too_large_are_refused(router: LiveRouter) -> None:
    assert router.post("/v1/feedback", content=b"").json()["error"]["message"] == "body: Field required"
    assert router.post("/v1/feedback", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    large = b'{"interaction_id": "' + b"x" * (5 << 20) + b'"}'
    for content in (large, iter([large])):
        assert router.post("/v1/feedback", content=content).status_code == 413


def test_events_are_counted(router: LiveRouter, name: str) -> None:
    rate(router, router.ask(name), feedback_type="abandonment")
    assert 'feedback_events_total{feedback_type="abandonment",user_tier="none"}' in router.get("/metrics").text
