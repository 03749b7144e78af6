from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from flytewheel.feedback.rewards import score
from flytewheel.recipe import FeedbackSpec
from flytewheel.records import FeedbackEvent
from router.receipts import ReceiptBook
from tests.router.live import ADMIN, ASSIGNMENT_KEY, LiveRouter, wait_until


@pytest.fixture(scope="module")
def name(router: LiveRouter) -> str:
    router.serve("rated", "stable")
    return "rated"


def interaction_of(answer: httpx.Response) -> str:
    return answer.headers["x-flytewheel-interaction"]


def proof(answer: httpx.Response) -> dict[str, str]:
    return {"interaction_id": interaction_of(answer), "receipt": answer.headers["x-flytewheel-receipt"]}


def rate(router: LiveRouter, answer: httpx.Response, **body: Any) -> httpx.Response:
    sent = {key: value for key, value in (proof(answer) | body).items() if value is not None}
    return router.post("/v1/feedback", json=sent)


def find_events(router: LiveRouter, answer: httpx.Response) -> list[tuple[Any, ...]]:
    query = "SELECT feedback_type, user_id FROM feedback_events WHERE interaction_id = %s"
    return router.rows(query, interaction_of(answer))


def expired_receipt(answer: httpx.Response) -> str:
    key = ASSIGNMENT_KEY.encode()
    fresh = ReceiptBook(key).read(*proof(answer).values(), time.time())
    return ReceiptBook(key, lifetime_s=0).sign(fresh)


@contextmanager
def away(router: LiveRouter) -> Iterator[None]:
    """The router's database takes no connections, and has ended those that there were."""
    server, _, database = router.database_url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false".encode())
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))
            yield
        finally:
            connection.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true".encode())


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


def test_feedback_before_its_interaction_is_written_is_kept(router: LiveRouter, name: str) -> None:
    with psycopg.connect(router.database_url) as connection:
        connection.execute("LOCK TABLE interactions IN EXCLUSIVE MODE")  # who writes waits, who reads does not
        answer = router.ask(name, "early")
        said = rate(router, answer, feedback_type="thumbs_up")
        assert (said.status_code, said.json()["status"]) == (201, "stored")
    stored = wait_until(lambda: find_events(router, answer), what="the event behind its interaction")
    assert stored == [("thumbs_up", "early")]


def test_feedback_while_the_database_is_away_is_kept(make_router: Callable[[], LiveRouter]) -> None:
    router = make_router().start()
    router.serve("away", "stable")
    answers = [router.ask("away", f"u{number}") for number in range(4)]
    wait_until(lambda: router.rows("SELECT count(*) FROM interactions") == [(4,)], what="four interactions")
    with away(router):
        late = router.ask("away", "late")
        for answer in (*answers, late):
            said = rate(router, answer, feedback_type="thumbs_up", event_id=f"e-{interaction_of(answer)}")
            assert (said.status_code, said.json()["status"]) == (201, "stored"), said.text
        # A client that did not hear that comes again; its event waits where no database can be asked.
        repeated = rate(router, late, feedback_type="thumbs_up", event_id=f"e-{interaction_of(late)}")
        assert (repeated.status_code, repeated.json()["status"]) == (200, "duplicate"), repeated.text
        other = rate(router, late, feedback_type="thumbs_down", event_id=f"e-{interaction_of(late)}")
        assert other.status_code in (409, 503), other.text
        keyed = {"interaction_id": interaction_of(late), "feedback_type": "thumbs_up"}
        assert router.post("/v1/feedback", json=keyed, headers=ADMIN).status_code == 503
    count = "SELECT count(*), count(DISTINCT interaction_id) FROM feedback_events"
    wait_until(lambda: router.rows(count) == [(5, 5)], what="five events once")
    again = rate(router, late, feedback_type="thumbs_up", event_id=f"e-{interaction_of(late)}")
    assert again.json()["status"] == "duplicate" or again.status_code == 409
    assert router.rows(count) == [(5, 5)]


def test_a_storm_of_the_same_feedback_is_stored_once(router: LiveRouter, name: str) -> None:
    """Twenty clients, each with connections of its own: once without an id, once with one, once with two bodies."""
    with ThreadPoolExecutor(20) as threads:
        for event in ({"feedback_type": "thumbs_up"}, {"feedback_type": "thumbs_up", "event_id": uuid.uuid4().hex}):
            answer = router.ask(name)
            sent = list(threads.map(lambda _, a=answer, e=event: rate(router, a, **e), range(20)))
            assert sorted(each.json()["status"] for each in sent) == ["duplicate"] * 19 + ["stored"]
        answer = router.ask(name)
        event_id = uuid.uuid4().hex
        said = list(
            threads.map(
                lambda turn: rate(router, answer, feedback_type="rating", rating=1 + turn % 2, event_id=event_id),
                range(20),
            )
        )
        codes = Counter(each.status_code for each in said)
        assert codes == {201: 1, 200: 9, 409: 10}
        assert len(find_events(router, answer)) == 1


def test_votes_of_one_reader_all_stand_and_the_last_counts(router: LiveRouter, name: str) -> None:
    answer = router.ask(name)
    for place, kind in enumerate(("thumbs_up", "thumbs_down", "thumbs_up")):
        at = datetime.now(UTC) + timedelta(milliseconds=place)
        assert rate(router, answer, feedback_type=kind, timestamp=at.isoformat()).json()["status"] == "stored"
    bodies = router.rows("SELECT body FROM feedback_events WHERE interaction_id = %s", interaction_of(answer))
    events = [FeedbackEvent.model_validate(body) for (body,) in bodies]
    assert len(events) == 3
    assert score(events, FeedbackSpec()).explicit == 1.0


def test_a_wrong_clock_is_not_believed(router: LiveRouter, name: str) -> None:
    answer = router.ask(name)
    for at in ("1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z"):
        assert rate(router, answer, feedback_type="thumbs_up", timestamp=at, event_id="c" + at).status_code == 201
        assert rate(router, answer, feedback_type="thumbs_up", timestamp=at, event_id="c" + at).status_code == 200
    times = router.rows('SELECT "timestamp" FROM feedback_events WHERE interaction_id = %s', interaction_of(answer))
    assert all(abs(at - datetime.now(UTC)) < timedelta(minutes=5) for (at,) in times)


def test_a_batch_is_taken_item_by_item(router: LiveRouter, name: str) -> None:
    mine, other = router.ask(name, "b1"), router.ask(name, "b2")
    events = [
        {**proof(mine), "feedback_type": "thumbs_up", "event_id": uuid.uuid4().hex},
        {**proof(mine), "interaction_id": interaction_of(other), "feedback_type": "thumbs_up"},
        {"feedback_type": "thumbs_up"},
        {**proof(other), "feedback_type": "rating", "rating": 5},
        {**proof(other), "feedback_type": "rating"},
        {"interaction_id": interaction_of(other), "feedback_type": "thumbs_up"},
        7,
    ]
    events.append(events[0])
    answer = router.post("/v1/feedback", json={"events": events})
    assert answer.status_code == 200
    said = answer.json()
    assert (said["accepted"], said["refused"]) == (3, 5)
    assert [each.get("code", each["status"]) for each in said["results"]] == [
        "stored", 403, 422, "stored", 422, 401, 422, "duplicate",
    ]  # fmt: skip
    assert all("\n" not in each.get("message", "") for each in said["results"])
    again = router.post("/v1/feedback", json={"events": events[:1]}).json()
    assert again["results"][0]["status"] == "duplicate"


def test_a_batch_of_which_nothing_is_taken_is_refused(router: LiveRouter, name: str) -> None:
    event = {"interaction_id": "x", "feedback_type": "thumbs_up"}
    assert router.post("/v1/feedback", json={"events": [event, event]}).status_code == 401
    assert router.post("/v1/feedback", json={"events": [event, {}]}).status_code == 422
    assert router.post("/v1/feedback", json={"events": [event]}, headers=ADMIN).status_code == 404
    assert router.post("/v1/feedback", json={"events": []}).status_code == 422
    assert router.post("/v1/feedback", json={"events": [event] * 1001}).status_code == 413


def test_what_a_client_saw_becomes_signals_once(router: LiveRouter, name: str) -> None:
    answer = router.ask(name, "reader", messages=[{"role": "user", "content": "How do I restart billing?"}])
    seen = [
        {"n": 0, "t": 0, "e": "shown"},
        {"n": 1, "t": 1500, "e": "accepted"},
        {"n": 2, "t": 12000, "e": "copy"},
        {"n": 3, "t": 13000, "e": "citation"},
        {"n": 4, "t": 20000, "e": "follow_up", "text": "how can I restart the billing"},
    ]
    view = {**proof(answer), "characters": 50, "language": "en", "session_ms": 0, "observed": seen}
    early = router.post("/v1/feedback", json={**view, "observed": seen[:2]})
    assert (early.status_code, early.json()) == (200, {"status": "nothing", "signals": []})
    first = router.post("/v1/feedback", json={**view, "observed": seen[:3]})
    assert (first.status_code, first.json()["status"]) == (201, "stored")
    shuffled = router.post("/v1/feedback", json={**view, "observed": [*seen[::-1], *seen]})
    assert {(each["feedback_type"], each["status"]) for each in shuffled.json()["signals"]} == {
        ("accepted", "duplicate"), ("copied", "duplicate"), ("read_time", "duplicate"),
        ("citation_click", "stored"), ("reformulation", "stored"),
    }  # fmt: skip
    again = router.post("/v1/feedback", json={"events": [view, view]})
    assert [each["status"] for each in again.json()["results"]] == ["duplicate", "duplicate"]
    assert len(find_events(router, answer)) == 5


def test_the_reference_apis_name_serves_too(router: LiveRouter, name: str) -> None:
    event = {**proof(router.ask(name)), "feedback_type": "thumbs_up"}
    assert router.post("/api/feedback", json=event).status_code == 201
    assert router.post("/v1/feedback", json=event).status_code == 200


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
    assert rate(router, mine, feedback_type="thumbs_down", receipt=expired_receipt(mine)).status_code == 403
    event = {"interaction_id": interaction_of(mine), "feedback_type": "thumbs_down"}
    assert router.post("/v1/feedback", json=event).status_code == 401
    header = {"x-flytewheel-receipt": mine.headers["x-flytewheel-receipt"]}
    assert router.post("/v1/feedback", json=event, headers=header).status_code == 201
    assert router.post("/v1/feedback", json=event, headers=ADMIN).status_code == 200
    unknown = {"interaction_id": "none", "feedback_type": "thumbs_down"}
    assert router.post("/v1/feedback", json=unknown, headers=ADMIN).status_code == 404
    assert router.post("/v1/feedback", json={**unknown, "interaction_id": "a\0"}, headers=ADMIN).status_code == 404


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
    for content in (b"", b"{", b"\xff", b'{"events":' + b"[" * 100_000):
        assert router.post("/v1/feedback", content=content).status_code == 400
    assert router.post("/v1/feedback", json=[]).status_code == 422
    large = b'{"interaction_id": "' + b"x" * (5 << 20) + b'"}'
    for content in (large, iter([large])):
        assert router.post("/v1/feedback", content=content).status_code == 413


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e999999999", "1" + "0" * 400, "NaN", "-Infinity", "1e-400"])
@pytest.mark.parametrize(
    "said",
    [
        '"feedback_type":"rating","rating":%s',
        '"feedback_type":"thumbs_up","metadata":{"seconds":%s}',
        '"feedback_type":"thumbs_up","metadata":{"a":[{"b":%s}]}',
        '"observed":[{"type":"copied","at_ms":%s}],"session_ms":%s',
    ],
    ids=["rating", "metadata", "deep", "view"],
)
def test_a_number_beyond_a_double_is_refused_or_stored_as_it_is(
    router: LiveRouter, rated: httpx.Response, said: str, number: str
) -> None:
    """What the client means by it nobody can say; in a batch its neighbours are taken all the same."""
    head = ",".join(f'"{key}":"{value}"' for key, value in proof(rated).items())
    item = f"{{{head},{said.replace('%s', number)}}}"
    good = f'{{{head},"feedback_type":"thumbs_up","event_id":"beside-{uuid.uuid4().hex}"}}'
    alone = router.post("/v1/feedback", content=item, headers={"content-type": "application/json"})
    assert alone.status_code in ((200, 201, 400, 422) if number == "1e-400" or "1000" in number else (400, 422))
    beside = router.post("/v1/feedback", content=f'{{"events":[{good},{item}]}}')
    assert beside.status_code in (200, 400), beside.text
    if beside.status_code == 200:
        assert beside.json()["results"][0]["status"] == "stored"


@pytest.fixture(scope="module")
def rated(router: LiveRouter, name: str) -> httpx.Response:
    answer = router.ask(name, "beyond")
    router.interaction(interaction_of(answer))
    return answer


def test_events_are_counted(router: LiveRouter, name: str) -> None:
    rate(router, router.ask(name), feedback_type="abandonment", metadata={"user_tier": "a tier of their own"})
    counted = router.get("/metrics").text
    assert 'feedback_events_total{feedback_type="abandonment",user_tier="other"}' in counted
    assert 'feedback_score_distribution_bucket{le="-0.5"}' in counted


def test_openapi_says_what_is_taken(router: LiveRouter) -> None:
    said = router.get("/openapi.json").json()
    for path in ("/v1/feedback", "/api/feedback"):
        body = said["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        names = [each["$ref"].rpartition("/")[2] for each in body["oneOf"]]
        assert all(name in said["components"]["schemas"] for name in names)
    assert "get" in said["paths"]["/v1/rewards"]
