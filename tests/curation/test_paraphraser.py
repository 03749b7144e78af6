"""The paraphraser against a real server on loopback: what is taken, what is not, retries, and kept answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.paraphraser import choose_text, open_paraphraser
from flytewheel.endpoint import ATTEMPTS
from flytewheel.errors import EndpointError
from flytewheel.recipe import EndpointSpec

QUERY = "How do I restart the Kafka broker on node 17 with `systemctl restart kafka`?"
REWORDED = "On node 17, what is the way to restart the Kafka broker with `systemctl restart kafka`?"


class Endpoint:
    """A model's HTTP interface whose answers a test writes; it keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str, int], tuple[int, Any]] = lambda query, count: (200, f"Put otherwise: {query}")
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.meeting: threading.Barrier | None = None
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                query = body["messages"][-1]["content"]
                with endpoint._lock:
                    count = sum(each["messages"][-1]["content"] == query for each in endpoint.asked)
                    endpoint.asked.append({**body, "path": self.path})
                    endpoint.headers.append(dict(self.headers))
                    endpoint.at_once += 1
                    endpoint.most_at_once = max(endpoint.most_at_once, endpoint.at_once)
                if endpoint.meeting is not None:
                    endpoint.meeting.wait(timeout=20)
                status, answer = endpoint.answer(query, count)
                if isinstance(answer, str):
                    answer = {"choices": [{"message": {"role": "assistant", "content": answer}}]}
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                with endpoint._lock:
                    endpoint.at_once -= 1
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "7")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spec(self, **more: Any) -> EndpointSpec:
        return EndpointSpec(**{"url": self.url, "model": "small", "timeout_s": 20.0, **more})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint()
    yield found
    found.close()


def test_rewords_in_order_each_query_once(endpoint: Endpoint) -> None:
    endpoint.meeting = threading.Barrier(4)  # holds each request until four are there
    queries = [f"how does shard {number} fail over?" for number in range(8)]
    paraphrase = open_paraphraser(endpoint.spec(), seed=7)
    assert paraphrase([*queries, queries[0]]) == [
        *(f"Put otherwise: {query}" for query in queries),
        f"Put otherwise: {queries[0]}",
    ]
    assert (len(endpoint.asked), endpoint.most_at_once) == (8, 4)
    body = endpoint.asked[0]
    assert (body["path"], body["model"], body["seed"], body["stream"]) == ("/v1/chat/completions", "small", 7, False)
    assert body["messages"][0]["role"] == "system"
    assert paraphrase([]) == []


def test_kept_answers_are_not_asked_again(endpoint: Endpoint, tmp_path: Path) -> None:
    queries = ["why does the queue grow?", "is it bad?", "", "why does the queue grow?"]
    first = open_paraphraser(endpoint.spec(), seed=7, cache=tmp_path)(queries)
    assert first == ["Put otherwise: why does the queue grow?", "Put otherwise: is it bad?", None, first[0]]
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    endpoint.answer = lambda query, count: (200, f"In other words: {query}")
    assert open_paraphraser(endpoint.spec(), seed=7, cache=tmp_path)(queries) == first
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept
    assert len(endpoint.asked) == 2
    for other in (open_paraphraser(endpoint.spec(), seed=8, cache=tmp_path),
                  open_paraphraser(endpoint.spec(model="large"), seed=7, cache=tmp_path)):  # fmt: skip
        assert other(queries)[0] == "In other words: why does the queue grow?"


def test_kept_answers_need_no_endpoint(endpoint: Endpoint, tmp_path: Path) -> None:
    spec = endpoint.spec()
    first = open_paraphraser(spec, seed=7, cache=tmp_path)(["is it bad?"])
    away = EndpointSpec(url="http://127.0.0.1:9/v1", model="small")
    assert open_paraphraser(away, seed=7, cache=tmp_path)(["is it bad?"]) == first


def test_busy_endpoint_is_asked_again(endpoint: Endpoint) -> None:
    def answer(query: str, count: int) -> tuple[int, Any]:
        return [(429, {}), (503, {}), (500, b"oops"), (200, "Is that bad?")][count]

    endpoint.answer = answer
    waits: list[float] = []
    assert open_paraphraser(endpoint.spec(), seed=7, pause=waits.append)(["is it bad?"]) == ["Is that bad?"]
    assert waits == [7.0, 1.0, 2.0]  # as it asked, then by doubling


def test_endpoint_that_stays_away_is_one_line(endpoint: Endpoint) -> None:
    waits: list[float] = []
    away = EndpointSpec(url="http://127.0.0.1:9/v1", model="small", concurrency=1)
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:9/v1/chat/completions is not reachable") as caught:
        open_paraphraser(away, seed=7, pause=waits.append)(["is it bad?"])
    assert "\n" not in str(caught.value)
    assert waits == [0.5, 1.0, 2.0, 4.0]
    endpoint.answer = lambda query, count: (502, b"")
    with pytest.raises(EndpointError, match=f"answers 502 Bad Gateway after {ATTEMPTS} attempts; start it"):
        open_paraphraser(endpoint.spec(), seed=7, pause=waits.append)(["is it bad?"])
    endpoint.answer = lambda query, count: (401, {"error": "ann@example.com has no access"})
    with pytest.raises(EndpointError, match="refuses the key") as caught:
        open_paraphraser(endpoint.spec(), seed=7, pause=waits.append)(["is it bad?"])
    assert "example.com" not in str(caught.value)


def test_key_comes_from_the_environment(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REWORD_KEY", raising=False)
    with pytest.raises(EndpointError, match=r"expected its key in \$REWORD_KEY"):
        open_paraphraser(endpoint.spec(api_key_env="REWORD_KEY"), seed=7)
    monkeypatch.setenv("REWORD_KEY", "secret-1")
    open_paraphraser(endpoint.spec(api_key_env="REWORD_KEY"), seed=7)(["is it bad?"])
    assert endpoint.headers[0]["Authorization"] == "Bearer secret-1"


@pytest.mark.parametrize(
    "answer",
    [(400, {}), (413, b""), (200, b"not json"), (200, {}), (200, {"choices": []}), (200, [1]),
     (200, {"choices": [{"message": {"content": None}}]}), (200, {"choices": [{"message": {"content": [1]}}]})],
)  # fmt: skip
def test_answers_without_text_are_none(endpoint: Endpoint, tmp_path: Path, answer: tuple[int, Any]) -> None:
    endpoint.answer = lambda query, count: answer
    assert open_paraphraser(endpoint.spec(), seed=7, cache=tmp_path)(["is it bad?"]) == [None]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (QUERY, REWORDED),
        (QUERY, f'"{REWORDED}"'),
        (QUERY, f"  {REWORDED}\n"),
        ("Why does Redis evict keys?", "What makes Redis evict keys?"),
        ("Is <EMAIL_1> allowed to log in?", "May <EMAIL_1> log in?"),
        ("I've two pods, why?", "What is the reason that there are two pods for me?"),
        ("Wie starte ich den Dienst neu?", "Auf welche Weise starte ich den Dienst neu?"),
        ("see https://wiki.example.com/a_b. What now?", "What is next, given https://wiki.example.com/a_b?"),
        ("line one\nline two?", "the first line\nand line two?"),
    ],
)
def test_usable_answers(query: str, answer: str) -> None:
    assert choose_text(query, answer) == answer.strip().strip('"')


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (QUERY, ""),
        (QUERY, '""'),
        (QUERY, QUERY),
        (QUERY, QUERY.upper()),
        ("is it bad?", "It is bad?"),
        ("is it bad?", "I would be very curious to find out whether that is bad."),
        (QUERY, REWORDED.replace("17", "71")),
        (QUERY, REWORDED.replace("17", "")),
        (QUERY, REWORDED.replace("17", "17 or 18")),
        (QUERY, REWORDED.replace("systemctl restart", "service restart")),
        (QUERY, REWORDED.replace("Kafka", "message")),
        (QUERY, f"assistant: {REWORDED}"),
        (QUERY, f"<|im_start|>{REWORDED}"),
        (QUERY, f"Reworded message: {REWORDED}"),
        (QUERY, f"Sure!\n{REWORDED}"),
        ('What does "exit code 137" mean?', "What is the meaning of exit code 137?"),
        ("see https://wiki.example.com/a for the steps", "the steps are at https://wiki.example.com/b"),
        ("where are the steps?", "are the steps at https://evil.example?"),
        ("Is <EMAIL_1> allowed to log in?", "Is the user allowed to log in?"),
        ("run kubectl with --force please", "could you run kubectl by force?"),
        ("what is in /etc/hosts here?", "what does the hosts file contain?"),
        ("set max_connections higher?", "should the maximum of connections be raised?"),
        ("does the OOMKiller log it?", "does the killer log it?"),
        ("is v1.2.3 out?", "has the version been released?"),
        ("raise it by 5%?", "raise it by 5?"),
        ("is -3 valid?", "would 3 be valid?"),
    ],
)
def test_useless_answers(query: str, answer: str) -> None:
    assert choose_text(query, answer) is None


@pytest.mark.parametrize("piece", ["a_", "a-", "a.", "A1", "/a", "1,", "'a", '"', "--a", "a b ", "\n\n", "`"])
def test_no_text_takes_long(piece: str) -> None:
    start = time.process_time()
    choose_text(piece * 20_000 + "!", "b" + piece * 20_000)
    assert time.process_time() - start < 2
