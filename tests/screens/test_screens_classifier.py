"""The classifier's client against a real server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flytewheel.errors import EndpointError
from flytewheel.recipe import EndpointSpec
from flytewheel.screens.classifier import open_classifier

Answer = tuple[int, dict[str, str], bytes]


class Endpoint:
    """A classifier whose answers a test states; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[int, list[str]], Answer] = score_by_length
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with endpoint._lock:
                    endpoint.asked.append(body)
                    endpoint.headers.append(dict(self.headers))
                    turn = len(endpoint.asked)
                status, headers, answer = endpoint.answer(turn, body["input"])
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/moderations"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def say(body: object, status: int = 200, **headers: str) -> Answer:
    return status, headers, json.dumps(body).encode()


def score_by_length(turn: int, texts: list[str]) -> Answer:
    return say({"scores": [min(len(text), 100) / 100 for text in texts]})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    yield server
    server.close()


def test_plain_scores_in_the_order_of_the_texts(endpoint: Endpoint) -> None:
    texts = [("x" * (n % 50)) or "none" for n in range(150)]
    classify = open_classifier(EndpointSpec(url=endpoint.url, model="guard", concurrency=3), batch=8)
    assert classify(texts) == [len(text) / 100 for text in texts]
    sent = [text for body in endpoint.asked for text in body["input"]]
    assert sorted(sent) == sorted(set(texts))  # equal texts once
    assert {body["model"] for body in endpoint.asked} == {"guard"}
    assert max(len(body["input"]) for body in endpoint.asked) == 8
    assert classify([]) == []


def test_the_moderation_apis_answers(endpoint: Endpoint) -> None:
    results = [
        {"flagged": False, "category_scores": {"hate": 0.1, "violence": 0.4}},
        {"flagged": True, "category_scores": {"hate": 0.2}},
        {"flagged": True},
        {"flagged": False, "categories": {"hate": False}},
    ]
    endpoint.answer = lambda turn, texts: say({"id": "m", "results": results})
    assert open_classifier(EndpointSpec(url=endpoint.url))(["a", "b", "c", "d"]) == [0.4, 1.0, 1.0, 0.0]
    assert "model" not in endpoint.asked[0]


def test_the_key_comes_from_the_environment(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EndpointSpec(url=endpoint.url, api_key_env="GUARD_KEY")
    monkeypatch.delenv("GUARD_KEY", raising=False)
    with pytest.raises(EndpointError, match="GUARD_KEY, which is not set"):
        open_classifier(spec)
    monkeypatch.setenv("GUARD_KEY", "k-123")
    open_classifier(spec)(["a"])
    assert endpoint.headers[0]["Authorization"] == "Bearer k-123"


def test_a_busy_server_is_asked_again(endpoint: Endpoint) -> None:
    waits: list[float] = []
    turns = {1: say({}, 503), 2: say({}, 429, **{"Retry-After": "7"}), 3: say({}, 500)}
    endpoint.answer = lambda turn, texts: turns.get(turn) or score_by_length(turn, texts)
    assert open_classifier(EndpointSpec(url=endpoint.url), pause=waits.append)(["abcd"]) == [0.04]
    assert waits == [0.5, 7.0, 2.0]


def test_one_that_stays_away_is_named_once(endpoint: Endpoint) -> None:
    waits: list[float] = []
    endpoint.answer = lambda turn, texts: say({}, 502)
    with pytest.raises(EndpointError, match=r"no answer in 3 tries, last HTTP 502; start it") as caught:
        open_classifier(EndpointSpec(url=endpoint.url), tries=3, pause=waits.append)(["a"])
    assert "\n" not in str(caught.value)
    assert len(endpoint.asked) == 3
    assert len(waits) == 2


def test_a_port_where_nobody_listens() -> None:
    server = Endpoint()
    server.close()
    with pytest.raises(EndpointError, match=r"no answer in 2 tries, last ConnectError"):
        open_classifier(EndpointSpec(url=server.url), tries=2, pause=lambda wait_s: None)(["a"])


def test_a_refusal_is_not_asked_again(endpoint: Endpoint) -> None:
    endpoint.answer = lambda turn, texts: say({"error": "bad key"}, 401)
    with pytest.raises(EndpointError, match="HTTP 401; check its address, model and key"):
        open_classifier(EndpointSpec(url=endpoint.url))(["a"])
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"scores": [NaN]}',
        b'{"scores": [1.5]}',
        b'{"scores": ["0.5"]}',
        b'{"scores": [true]}',
        b'{"scores": null}',
        b'{"results": [{}]}',
        b'{"results": [{"flagged": "no"}]}',
        b'{"results": [{"flagged": false, "category_scores": {"hate": null}}]}',
        b"\xff\xfe",
    ],
)
def test_nonsense_is_no_score(endpoint: Endpoint, body: bytes) -> None:
    endpoint.answer = lambda turn, texts: (200, {}, body)
    with pytest.raises(EndpointError, match=r"expected results\[\]") as caught:
        open_classifier(EndpointSpec(url=endpoint.url))(["a"])
    assert "\n" not in str(caught.value)


def test_another_number_of_scores(endpoint: Endpoint) -> None:
    endpoint.answer = lambda turn, texts: say({"scores": [0.1]})
    with pytest.raises(EndpointError, match="expected 2 scores for 2 texts, got 1"):
        open_classifier(EndpointSpec(url=endpoint.url))(["a", "b"])


def test_a_lone_surrogate_is_sent_as_a_question_mark(endpoint: Endpoint) -> None:
    assert open_classifier(EndpointSpec(url=endpoint.url))(["a\ud800"]) == [0.02]
    assert endpoint.asked[0]["input"] == ["a?"]
