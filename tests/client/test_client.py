"""What the clients send, against transports that fail; tests/router/test_client.py has a real router."""

from __future__ import annotations

import random
from typing import Any

import httpx
import orjson
import pytest

from flytewheel.client import Answer, Client, RefusedError, UnreachableError
from flytewheel.client.answers import Proofs
from flytewheel.client.events import MOST_BYTES, MOST_EVENTS, Retry, split_batches
from flytewheel.errors import RouterError

ANSWER = Answer("i-1", "r-1")


def script(*steps: int | type[Exception]) -> tuple[httpx.MockTransport, list[dict[str, Any]]]:
    """A transport that fails step by step, then stores; and what was sent over it."""
    sent: list[dict[str, Any]] = []
    left = list(steps)

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(orjson.loads(request.content))
        step = left.pop(0) if left else 201
        if isinstance(step, type):
            raise step("away", request=request)
        if step >= 400:
            return httpx.Response(step, json={"error": {"message": f"said {step}"}})
        return httpx.Response(step, json={"status": "stored", "event_id": sent[-1].get("event_id")})

    return httpx.MockTransport(handle), sent


def client(transport: httpx.MockTransport, waits: list[float] | None = None, **options: Any) -> Client:
    pause = (waits if waits is not None else []).append
    return Client("http://router", transport=transport, pause=pause, chance=random.Random(1), **options)


def test_the_same_event_is_sent_again_until_it_is_taken() -> None:
    transport, sent = script(httpx.ConnectError, httpx.ReadTimeout, 503, 429)
    waits: list[float] = []
    result = client(transport, waits).feedback(ANSWER, "thumbs_up", comment="good")
    assert result.status == "stored"
    assert len(sent) == 5
    assert all(each == sent[0] for each in sent)  # id and time too
    assert sent[0] | {"event_id": "", "timestamp": ""} == {
        "interaction_id": "i-1", "receipt": "r-1", "feedback_type": "thumbs_up", "comment": "good",
        "event_id": "", "timestamp": "",
    }  # fmt: skip
    assert all(0.1 * 2**place <= wait <= 0.2 * 2**place for place, wait in enumerate(waits))


def test_what_is_refused_is_not_sent_again() -> None:
    for status in (401, 403, 404, 409, 413, 422):
        transport, sent = script(status)
        with pytest.raises(RefusedError, match=f"said {status}") as refused:
            client(transport).feedback(ANSWER, "thumbs_up")
        assert refused.value.status == status
        assert len(sent) == 1


def test_it_gives_up_in_one_line() -> None:
    transport, sent = script(*[httpx.ConnectError] * 9)
    with pytest.raises(UnreachableError, match="no attempt of 3 reached the router: ConnectError"):
        client(transport, retry=Retry(attempts=3)).feedback(ANSWER, "thumbs_up")
    assert len(sent) == 3


def test_a_router_says_how_long_to_wait() -> None:
    assert Retry().wait_s(0, "3", random.Random()) == 3.0
    assert Retry(longest_s=2).wait_s(0, "3", random.Random()) == 2.0
    assert Retry().wait_s(0, "Wed, 21 Oct 2026 07:28:00 GMT", random.Random(1)) < 0.2


def test_receipts_are_kept_by_id_the_latest_ones() -> None:
    proofs = Proofs(2)
    for number in range(3):
        proofs.keep(Answer(f"i-{number}", f"r-{number}"))
    assert [proofs.find(f"i-{number}")[1] for number in range(3)] == [None, "r-1", "r-2"]
    with pytest.raises(RouterError, match="x-flytewheel-receipt"):
        client(script()[0]).keep({"content-type": "text/html"})


def test_batches_keep_within_the_limits() -> None:
    small = list(split_batches([{"n": number} for number in range(2 * MOST_EVENTS + 1)]))
    assert [count for count, _ in small] == [MOST_EVENTS, MOST_EVENTS, 1]
    large = list(split_batches([{"text": "x" * (MOST_BYTES // 2)}] * 4))
    assert [count for count, _ in large] == [1, 1, 1, 1]
    assert sum(len(orjson.loads(body)["events"]) for _, body in small) == 2 * MOST_EVENTS + 1
    assert list(split_batches([])) == []


def test_a_stream_is_not_for_chat() -> None:
    with pytest.raises(RefusedError, match="keep"):
        client(script()[0]).chat("flytewheel/x", "hi", stream=True)
