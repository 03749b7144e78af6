from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from flytewheel.experiment.experiments import Experiment
from router.receipts import ReceiptBook
from tests.router.hot_path import DIGEST, HotPath
from tests.router.live import ADMIN, ASSIGNMENT_KEY, wait_until

PLAIN = (
    b'{"id":"c1","object":"chat.completion","created":1.0,"model":"inner","future_field":[1e5,123456789012345678901],'
    b'"choices":[{"index":0,"finish_reason":"stop","logprobs":{"content":[{"token":"\\u00e9","logprob":-0.10,"bytes":[195'
    b',169]}]},"message":{"role":"assistant","content":"\\u00e9"}},{"index":1,"finish_reason":"surprise","message":'
    b'{"role":"assistant","content":"second"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
)
TOOL = (
    b'{"choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":'
    b'[{"id":"t","type":"function","function":{"name":"look","arguments":"{}"}}]}}]}'
)
EVENTS = [
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n',
    b'data: {"choices":[{"index":1,"delta":{"content":"other"}}]}\n\n: a comment\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"gr\xc3',
    b'\xa4","refusal":null}}],"x":1.0}\r\n\r\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t"}]},"finish_reason":"odd_reason"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":5}}\n\n',
    b"data: [DONE]\n\n",
]
EXPERIMENT = Experiment("exp-hot", "demo", "running", "v1", "v2", 0.5)
ENDLESS = threading.Event()


async def answer(request: web.Request) -> web.StreamResponse:
    """By what the body asks for: a stream, a stream without end, a refusal, a tool's call, or PLAIN."""
    body = await request.read()
    if b'"endless"' in body or b'"silent"' in body:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while b'"silent"' not in body:
            await response.write(EVENTS[2] + EVENTS[3])
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()
    if b'"stream":true' in body:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8", "x-own": "kept"})
        await response.prepare(request)
        for event in EVENTS:
            await response.write(event)
            await asyncio.sleep(0.005)
        return response
    if b'"wrong"' in body:
        return web.Response(status=422, body=b'{"error":{"message":"no","odd":1.0}}', content_type="application/json")
    found = TOOL if b'"tools"' in body else PLAIN
    return web.Response(body=found, headers={"content-type": "application/json", "x-own": "kept", "server": "theirs"})


@pytest.fixture
def hot(database_url: str, tmp_path: Path) -> Iterator[HotPath]:
    with HotPath(database_url, tmp_path, answer) as hot:
        yield hot


@pytest.fixture
def split(database_url: str, tmp_path: Path) -> Iterator[HotPath]:
    with HotPath(database_url, tmp_path, answer, EXPERIMENT) as hot:
        yield hot


def test_a_request_reaches_the_backend_byte_for_byte_and_so_does_its_answer(hot: HotPath) -> None:
    body = (
        b'{ "messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png,AA"}},'
        b'{"type":"text","text":"\\u00e9 \\"model\\":"}]}],\n"model" : "flytewheel/demo","temperature":1.0,"top_p":1e0,'
        b'"seed":123456789012345678901234567890,"n":2,"logprobs":true,"never_heard_of":{"model":"x"},"n":2}'
    )
    answered = hot.ask(content=body, headers={"authorization": "Bearer sk-client", "x-other": "client"})
    assert answered.status_code == 200
    assert answered.content == PLAIN
    headers, seen = hot.seen[0]
    assert seen == body.replace(b'"flytewheel/demo"', b'"inner-v1"')
    assert headers["x-secret"] == "of-the-backend"
    assert "authorization" not in headers  # the client's key is ours to check, not theirs to see
    assert "x-other" not in headers
    assert answered.headers["x-own"] == "kept"
    assert "theirs" not in answered.headers.get_list("server")
    stored = hot.interaction(answered)
    assert (stored["query"], stored["response"], stored["completed"]) == ('é "model":', "é", True)
    assert (stored["model_digest"], stored["metadata"]["finish_reason"]) == (DIGEST, "stop")


def test_a_stream_passes_byte_for_byte_as_it_comes(hot: HotPath) -> None:
    chunks = []
    with hot.client.stream(
        "POST",
        "/v1/chat/completions",
        content=b'{"model":"flytewheel/demo","messages":[{"role":"user","content":"?"}],"stream":true}',
    ) as answered:
        assert answered.headers["content-type"] == "text/event-stream; charset=utf-8"
        chunks = [(chunk, time.perf_counter()) for chunk in answered.iter_raw()]
    assert b"".join(chunk for chunk, _ in chunks) == b"".join(EVENTS)
    assert chunks[-1][1] - chunks[0][1] > 0.015  # not held back: they were sent over 30 ms
    stored = hot.interaction(answered)
    assert (stored["response"], stored["completed"]) == ("grä", True)
    assert stored["metadata"]["finish_reason"] == "odd_reason"
    assert stored["metadata"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    ("messages", "query"),
    [
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}], "[no text]"),
        ([{"role": "system", "content": "x"}], "[no text]"),
        (
            [
                {"role": "user", "content": "look"},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "t"}]},
                {"role": "tool", "tool_call_id": "t", "content": "7"},
            ],
            "look",
        ),
    ],
)
def test_odd_messages_are_served_and_remembered_as_far_as_they_go(
    hot: HotPath, messages: list[dict[str, Any]], query: str
) -> None:
    answered = hot.ask({"messages": messages, "tools": [{"type": "function"}]})
    assert answered.content == TOOL
    stored = hot.interaction(answered)
    assert (stored["query"], stored["response"], stored["metadata"]["finish_reason"]) == (query, "", "tool_calls")
    assert stored["metadata"].get("no_text", False) is (query == "[no text]")


@pytest.mark.parametrize("prompt", ["a", ["a", "b"], [1, 2, 3], [[1], [2]]])
def test_completions_take_every_form_of_a_prompt(hot: HotPath, prompt: Any) -> None:
    answered = hot.ask({"prompt": prompt}, path="/v1/completions")
    assert answered.status_code == 200
    assert json.loads(hot.seen[0][1])["prompt"] == prompt
    assert hot.interaction(answered)["query"] in ("a", "[no text]")


def test_a_backends_refusal_passes_as_it_is_and_brings_nothing_to_rate(hot: HotPath) -> None:
    answered = hot.ask({"wrong": 1})
    assert (answered.status_code, answered.content) == (422, b'{"error":{"message":"no","odd":1.0}}')
    assert answered.headers["x-flytewheel-version"] == "v1"
    assert len(answered.headers["x-flytewheel-interaction"]) == 32
    assert "x-flytewheel-receipt" not in answered.headers


def test_the_receipt_says_what_the_headers_say(split: HotPath) -> None:
    answered = split.ask({"user": "ada"})
    headers = answered.headers
    said = ReceiptBook(ASSIGNMENT_KEY.encode()).read(
        headers["x-flytewheel-interaction"], headers["x-flytewheel-receipt"], time.time()
    )
    assert (said.user, said.source, said.version) == ("ada", "demo", headers["x-flytewheel-version"])
    assert (said.arm, said.propensity, said.experiment_id) == (headers["x-flytewheel-arm"], 0.5, "exp-hot")


@pytest.mark.parametrize(
    ("wanted", "version"),
    [({"version": "v2"}, "v2"), ({"version": "v1"}, "v1"), ({"arm": "treatment"}, "v2"), ({"arm": "control"}, "v1")],
)
def test_staff_may_ask_for_a_version_and_no_analysis_counts_it(
    split: HotPath, wanted: dict[str, str], version: str
) -> None:
    asked = {f"x-flytewheel-want-{kind}": value for kind, value in wanted.items()}
    answered = split.ask({"user": "ada"}, headers=ADMIN | asked)
    headers = answered.headers
    assert (answered.status_code, headers["x-flytewheel-version"]) == (200, version)
    assert (headers["x-flytewheel-arm"], "x-flytewheel-experiment" in headers) == ("override", False)
    assert json.loads(split.seen[0][1])["model"] == f"inner-{version}"
    stored = split.interaction(answered)
    assert stored["metadata"]["override"] == {**wanted, "by": "admin"}
    assert (stored["model_version"], stored.keys() & {"arm", "experiment_id", "propensity"}) == (version, set())


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"x-flytewheel-want-version": "v2"}, 403, "scope 'admin'"),
        (ADMIN | {"x-flytewheel-want-version": "v9"}, 404, "loaded are: v1, v2"),
        (ADMIN | {"x-flytewheel-want-arm": "left"}, 400, "expected champion, control, treatment"),
        (ADMIN | {"x-flytewheel-want-arm": "control", "x-flytewheel-want-version": "v1"}, 400, "got both"),
    ],
)
def test_an_override_is_refused_with_the_next_step(
    split: HotPath, asked: dict[str, str], status: int, said: str
) -> None:
    answered = split.ask(headers=asked)
    assert answered.status_code == status
    assert said in answered.json()["error"]["message"]
    assert split.seen == []


@pytest.mark.parametrize("kind", ["endless", "silent"])
def test_a_client_that_goes_stops_the_backend(hot: HotPath, kind: str) -> None:
    """Also before the first byte: the backend is still thinking then."""
    body = json.dumps({"model": "flytewheel/demo", "messages": [], "stream": True, kind: 1} | {"messages": [{}]})
    body = body.replace("[{}]", '[{"role":"user","content":"?"}]')
    with socket.create_connection(("127.0.0.1", hot.port)) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body.encode())
        wait_until(lambda: hot.seen, what="the backend is asked")
        if kind == "endless":
            assert b"200 OK" in client.recv(4096)
        assert not hot.gone.is_set()
    assert hot.gone.wait(10)
    wait_until(lambda: hot.state.metrics.in_flight.value == 0, what="nothing is under way any more")


def test_an_address_is_one_unit_and_a_browser_gets_a_cookie(hot: HotPath) -> None:
    assert hot.ask().headers["x-flytewheel-unit"] == "address"
    first = hot.ask(headers={"sec-fetch-site": "same-origin"})
    assert first.headers["x-flytewheel-unit"] == "cookie"
    cookie = first.headers["set-cookie"].partition(";")[0]
    second = hot.ask(headers={"cookie": f"other=1; {cookie}"})
    assert (second.headers["x-flytewheel-unit"], "set-cookie" in second.headers) == ("cookie", False)
    assert hot.interaction(first)["user_id"] == hot.interaction(second)["user_id"]
