"""Backends that fail, over real HTTP: the control answers for a treatment wherever no byte has left us, in bounded
time, and a stream that has begun ends with a word that it broke.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from flytewheel.experiment.experiments import Experiment
from router.backends.backend import Backend, Status
from router.backends.breaker import BreakerRule
from router.backends.limit import LimitRule
from router.backends.rules import Rules
from router.backends.view import BackendView
from tests.router.hot_path import DIGEST, HotPath
from tests.router.live import wait_until
from tests.servers.raw import RawServer, Script, chunked, plain, reset, serving

ANSWER = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"theirs"}}]}'
EVENTS = [b'data: {"choices":[{"index":0,"delta":{"content":"theirs"}}]}\n\n', b"data: [DONE]\n\n"]
OURS = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"ours"}}]}'
CANARY = Experiment("exp-failing", "demo", "running", "v1", "v2", 1.0)
NEVER = BreakerRule(failures=10**9, least=10**9)
QUICK = Rules(connect_s=0.5, first_token_s=0.3, chunk_s=0.3, answer_s=1.0, breaker=NEVER)


async def answer_as_control(request: web.Request) -> web.StreamResponse:
    if b'"stream":true' in await request.read():
        return web.Response(body=b'data: {"choices":[{"index":0,"delta":{"content":"ours"}}]}\n\ndata: [DONE]\n\n')
    return web.Response(body=OURS, content_type="application/json")


@pytest.fixture
def hot(database_url: str, tmp_path: Path) -> Iterator[HotPath]:
    with HotPath(database_url, tmp_path, answer_as_control, CANARY) as hot:
        yield hot


def put(hot: HotPath, version: str, url: str, rules: Rules = QUICK, **changes: Any) -> Backend:
    """Has a version served at `url` from now on, with a clean record."""
    view = hot.state.pool
    assert isinstance(view, BackendView)
    done: list[Backend] = []

    def apply() -> None:
        view.rules = rules
        serial = max(backend.model.serial for backend in view.all()) + 1
        status = Status(serial, "demo", version, DIGEST, "ready", url=url, alias="inner", generation=1)
        view.apply(replace(status, **changes))
        found = view.get("demo", version)
        assert found is not None
        done.append(found)

    hot._loop.call_soon_threadsafe(apply)
    wait_until(lambda: done, what=f"{version} is put")
    return done[0]


def say(data: bytes, *, cut: int | None = None, then: Callable[[socket.socket], None] | None = None) -> Script:
    """Sends `data` up to `cut`; then what `then` does, or an end."""

    def script(connection: socket.socket, request: bytes) -> None:
        connection.sendall(data[:cut])
        if then is not None:
            then(connection)
        elif cut is not None:
            connection.shutdown(socket.SHUT_RDWR)

    return script


def hang(server: RawServer) -> Callable[[socket.socket], None]:
    def wait(connection: socket.socket) -> None:
        server.closing.wait(20)

    return wait


def check_fallback(answer: httpx.Response) -> None:
    assert (answer.status_code, "ours" in answer.text) == (200, True), answer.text
    assert answer.headers["x-flytewheel-arm"] == "treatment"  # charged
    assert answer.headers["x-flytewheel-version"] == "v1"
    assert answer.headers["x-flytewheel-fallback"] == "control"


REFUSALS = {
    "500": (plain(b'{"error":{"message":"out of memory"}}', status="500 E"), "answered 500: out of memory"),
    "500 with a client's words": (
        plain(b'{"error":{"message":"tensors must be contiguous, CUDA is required"}}', status="500 E"),
        "answered 500: tensors must be contiguous",
    ),
    "503": (plain(b"busy", status="503 E"), "answered 503: busy"),
    "429": (plain(b'{"error":"slow down"}', status="429 E"), r"too much to do \(429\): slow down"),
    "401": (plain(b"{}", status="401 E"), r"refuses our key or account \(401\)"),
    "404": (plain(b'{"error":{"message":"no such model"}}', status="404 E"), "broke off|unknown to its server"),
    "302": (
        plain(b"", status="302 Found", headers="location: http://169.254.169.254/latest/meta-data/\r\n"),
        "answered 302; redirects of a backend are not followed",
    ),
    "307": (plain(b"", status="307 T", headers="location: /v1/elsewhere\r\n"), "answered 307; redirects"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off"),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", "broke off"),
    "bad chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n", "broke off"),
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_treatment_that_fails_is_answered_for_by_control(hot: HotPath, kind: str, stream: bool) -> None:
    data, cause = REFUSALS[kind]
    with serving(say(data, then=lambda connection: connection.shutdown(socket.SHUT_RDWR))) as server:
        put(hot, "v2", server.url)
        answer = hot.ask({"stream": stream, "user": "ada"})
        check_fallback(answer)
        assert not {"location", "retry-after"} & set(answer.headers)
        assert len(server.requests) == 1  # a redirect was not followed, not even on the same server
        assert re.search(cause, hot.interaction(answer)["metadata"]["fallback"])


@pytest.mark.parametrize("stream", [False, True])
def test_cut_at_each_byte_it_is_whole_or_answered_for_or_said_to_be_broken(hot: HotPath, stream: bool) -> None:
    data = chunked(EVENTS) if stream else plain(ANSWER)
    head = data.index(b"\r\n\r\n") + 4
    with serving(say(data)) as server:
        put(hot, "v2", server.url)
        seen = set()
        for cut in range(len(data)):
            server.script = say(data, cut=cut, then=reset if cut % 2 else None)
            answer = hot.ask({"stream": stream, "user": "ada"})
            assert answer.status_code == 200
            if "x-flytewheel-fallback" in answer.headers:
                seen.add("fallback")
                check_fallback(answer)
            elif "broke off" in answer.text:
                seen.add("broken")
                assert cut > head  # no byte of an answer was there before
                assert stream
                assert answer.text.count("theirs") <= 1
                assert "ours" not in answer.text  # never two models in one answer
            else:
                seen.add("whole")  # only what ends a stream for HTTP was missing, not for its reader
                assert answer.text.endswith("data: [DONE]\n\n")
        assert seen == ({"fallback", "broken"} if stream else {"fallback"})
        server.script = say(data)
        whole = hot.ask({"stream": stream, "user": "ada"})
        assert (whole.headers["x-flytewheel-version"], whole.content) == ("v2", b"".join(EVENTS) if stream else ANSWER)


@pytest.mark.parametrize(("stream", "cut"), [(True, 0), (True, 60), (False, 0), (False, 90)])
def test_silence_ends_in_bounded_time(hot: HotPath, stream: bool, cut: int) -> None:
    """Nothing, half a head, or a head without an answer: a stream may wait 0.3 s, a whole answer 1 s."""
    data = chunked(EVENTS) if stream else plain(ANSWER)
    with serving(say(data)) as server:
        server.script = say(data, cut=cut, then=hang(server))
        put(hot, "v2", server.url)
        began = time.monotonic()
        check_fallback(hot.ask({"stream": stream, "user": "ada"}))
        assert time.monotonic() - began < 15  # the other rule and the client would wait 30


def test_silence_in_the_middle_and_an_answer_without_end_are_ended(hot: HotPath) -> None:
    first = chunked(EVENTS)[: -len(b"0\r\n\r\n")]

    def trickle(connection: socket.socket) -> None:
        while not server.closing.wait(0.05):
            connection.sendall(b"4\r\n: .\n\r\n")

    with serving(say(first)) as server:
        silence, endless = say(first[:-30], then=hang(server)), say(first[:-30], then=trickle)
        for script, rules in (
            (silence, replace(QUICK, answer_s=30.0)),  # ended by the pause between chunks
            (endless, replace(QUICK, chunk_s=30.0)),  # ended by the time for a whole answer
        ):
            put(hot, "v2", server.url, rules)
            server.script = script
            began = time.monotonic()
            answer = hot.ask({"stream": True, "user": "ada"})
            assert "broke off" in answer.text
            assert hot.interaction(answer)["completed"] is False
            assert time.monotonic() - began < 15  # the other rule and the client would wait 30


def test_an_open_breaker_keeps_users_from_waiting_and_they_stay_charged(hot: HotPath) -> None:
    rule = BreakerRule(failures=3, pause_s=2.0)
    with serving(say(b"")) as server:
        server.script = say(b"", then=hang(server))
        backend = put(hot, "v2", server.url, replace(QUICK, breaker=rule))
        for _ in range(3):
            check_fallback(hot.ask({"user": "ada", "stream": True}))
        asked = len(server.requests)
        assert (asked, backend.breaker.opened) == (3, 1)
        check_fallback(hot.ask({"user": "ada", "stream": True}))
        if backend.breaker.opened == 1:  # else this machine was slow, and a trial has come between
            assert len(server.requests) == asked
        server.script = say(chunked(EVENTS))
        wait_until(lambda: backend.breaker.state == "half-open", what="the pause is over")
        answer = hot.ask({"user": "ada", "stream": True})
        assert (answer.headers["x-flytewheel-version"], backend.breaker.state) == ("v2", "closed")


def test_streams_that_break_open_it_too_and_a_client_that_leaves_does_not(hot: HotPath) -> None:
    rule = replace(QUICK, breaker=BreakerRule(failures=2, pause_s=60))
    data = chunked(EVENTS)
    with serving(say(data, cut=-20)) as server:
        backend = put(hot, "v2", server.url, rule)
        for _ in range(2):
            assert "broke off" in hot.ask({"user": "ada", "stream": True}).text
        wait_until(lambda: backend.breaker.state == "open", what="two broken streams open it")
        server.script = say(data, cut=-20, then=hang(server))
        backend = put(hot, "v2", server.url, replace(rule, chunk_s=30.0, answer_s=30.0))
        for _ in range(4):
            body = {"model": "flytewheel/demo", "messages": [{"role": "user", "content": "?"}], "user": "ada"}
            with hot.client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
                assert "theirs" in next(answer.iter_text())
        wait_until(lambda: backend.inflight == 0, what="the leases are given back")
        assert backend.breaker.state == "closed"


def test_a_backend_that_asks_for_time_is_given_it_and_the_client_is_told(hot: HotPath) -> None:
    data = plain(b'{"error":{"message":"quota"}}', status="429 E", headers="retry-after: 7\r\n")
    with serving(say(data)) as server:
        backend = put(hot, "v1", server.url, replace(QUICK, breaker=BreakerRule()))
        put(hot, "v2", server.url, replace(QUICK, breaker=BreakerRule()))
        for asked in (2, 2):  # v2 and v1 once each, and then nobody for 7 s
            answer = hot.ask({"user": "ada"})
            assert (answer.status_code, len(server.requests)) == (503, asked)
            assert answer.json()["error"]["code"] == "backend_unavailable"
            assert 1 <= int(answer.headers["retry-after"]) <= 7
        assert 2 < backend.breaker.wait_s <= 7


def test_beyond_the_limit_a_request_is_refused_at_once(hot: HotPath) -> None:
    with serving(say(b"")) as server:
        server.script = say(b"", then=hang(server))
        limited = replace(QUICK, answer_s=60.0, limit=LimitRule(first=1, least=1))
        backend, _ = put(hot, "v1", server.url, limited), put(hot, "v2", server.url, limited)
        backend.acquire()  # one runs
        try:
            canary = hot.state.pool.get("demo", "v2")
            assert canary is not None
            canary.acquire()
            began = time.monotonic()
            answer = hot.ask({"user": "ada"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "no room beside 1 running requests" in answer.json()["error"]["message"]
            assert (time.monotonic() - began < 20, server.requests) == (True, [])  # an answer may take 60 s
        finally:
            backend.release()


def test_control_is_asked_a_second_time_and_no_more(hot: HotPath) -> None:
    tries: list[int] = []

    def script(connection: socket.socket, request: bytes) -> None:
        tries.append(1)
        (connection.sendall(plain(ANSWER)) if len(tries) == 2 else reset(connection))

    with serving(script) as server:
        for version in ("v1", "v2"):
            put(hot, version, server.url)
        put(hot, "v2", "http://127.0.0.1:1")  # nobody listens
        hot.state.pool.get("demo", "v1").noticed_failure = _there  # type: ignore[method-assign, union-attr]
        answer = hot.ask({"user": "ada"})
        assert (answer.status_code, json.loads(answer.content)["choices"][0]["message"]["content"]) == (200, "theirs")
        assert len(tries) == 2
        tries[:] = [0, 0]
        assert hot.ask({"user": "ada"}).status_code == 503
        assert len(tries) == 4


def test_a_client_that_leaves_while_a_trial_fails_takes_no_ticket_along(hot: HotPath) -> None:
    """The trial breaks off, and while it is looked at, the client goes: the next one must be admitted all the same."""
    rule = replace(QUICK, breaker=BreakerRule(failures=1, pause_s=0.1, longest_pause_s=0.1))
    with serving(lambda connection, request: reset(connection)) as server:
        backend = put(hot, "v1", server.url, rule)
        put(hot, "v2", "http://127.0.0.1:1")
        backend.noticed_failure = _there  # type: ignore[method-assign]
        assert hot.ask({"user": "ada"}).status_code == 503
        wait_until(lambda: backend.breaker.state == "half-open", what="the pause is over")
        looking = threading.Event()
        backend.noticed_failure = lambda: _look_on(looking)  # type: ignore[method-assign]
        with pytest.raises(httpx.TimeoutException):
            hot.ask({"user": "ada"}, timeout=0.5)
        assert looking.is_set()
        wait_until(lambda: backend.breaker.opened == 2, what="the trial counts as failed")
        server.script = say(plain(ANSWER))
        wait_until(lambda: hot.ask({"user": "ada"}).status_code == 200, what="it is tried again")


def test_a_control_that_stays_silent_is_not_asked_a_second_time(hot: HotPath) -> None:
    with serving(say(b"")) as server:
        server.script = say(b"", then=hang(server))
        put(hot, "v1", server.url)
        put(hot, "v2", "http://127.0.0.1:1")
        answer = hot.ask({"user": "ada", "stream": True})
        assert (answer.status_code, len(server.requests)) == (503, 1)
        assert "broke off (SocketTimeoutError)" in answer.json()["error"]["message"]


async def _look_on(looking: threading.Event) -> None:
    looking.set()
    await asyncio.sleep(30)


async def _there() -> None:
    """The keeper looked and found it there."""
