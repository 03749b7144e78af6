"""Those who waited for a backend that was away are let in one after the other; whoever meets a full one without an
outage is refused at once.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.backends.backend import Backend
from router.backends.breaker import BreakerRule
from router.backends.limit import LimitRule
from router.backends.line import GivenError, Line
from router.backends.rules import Rules
from tests.router.backends.test_failing import ANSWER, CANARY, answer_as_control, hang, put, say
from tests.router.hot_path import HotPath
from tests.router.live import wait_until
from tests.servers.raw import plain, serving

CROWD = 12
NARROW = Rules(breaker=BreakerRule(), limit=LimitRule(first=2, least=2, target_s=20.0))


@pytest.fixture
def hot(database_url: str, tmp_path: Path) -> Iterator[HotPath]:
    with HotPath(database_url, tmp_path, answer_as_control, CANARY) as hot:
        yield hot


def change(hot: HotPath, backend: Backend, **changes: Any) -> None:
    """What the keeper says next of a backend."""
    hot._loop.call_soon_threadsafe(backend.apply, replace(backend.model, **changes))


def lose(hot: HotPath, *backends: Backend) -> None:
    """The servers of these have gone, as far as is known."""
    for backend in backends:
        change(hot, backend, state="restarting")
    wait_until(lambda: {backend.state for backend in backends} == {"restarting"}, what="they are known to be away")


class Crowd:
    """Requests at once, from threads of their own."""

    def __init__(self, hot: HotPath, count: int) -> None:
        self._pool = ThreadPoolExecutor(count)
        self._asked = [self._pool.submit(hot.ask, {"user": f"user-{number}"}) for number in range(count)]

    def answers(self) -> list[httpx.Response]:
        with self._pool:
            return [asked.result(60) for asked in self._asked]


def test_a_crowd_that_waited_is_let_in_as_there_is_room_and_nobody_is_refused(hot: HotPath) -> None:
    running, most, lock = [0], [0], threading.Lock()

    def answer(connection: socket.socket, request: bytes) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)  # so that they would meet, were they not held apart
        with lock:
            running[0] -= 1
        connection.sendall(plain(ANSWER))

    with serving(answer) as server:
        backend = put(hot, "v1", server.url, NARROW)
        lose(hot, backend, put(hot, "v2", server.url, NARROW))
        crowd = Crowd(hot, CROWD)
        wait_until(lambda: backend._awaited == CROWD, what="everybody waits for it")
        assert server.requests == []
        change(hot, backend, state="ready", generation=2)
        assert [one.status_code for one in crowd.answers()] == [200] * CROWD
        assert most[0] <= 3  # the limit of two, which grows by one where two at a time go well
        wait_until(lambda: backend.inflight == 0, what="every place is given back")


def test_who_the_line_does_not_serve_in_time_is_told(hot: HotPath) -> None:
    rules = replace(NARROW, answer_s=3.0, limit=replace(NARROW.limit, target_s=0.5))
    with serving(say(b"")) as server:
        server.script = say(b"", then=hang(server))
        backend = put(hot, "v1", server.url, rules)
        lose(hot, backend, put(hot, "v2", server.url, rules))
        crowd = Crowd(hot, 5)
        wait_until(lambda: backend._awaited == 5, what="everybody waits for it")
        change(hot, backend, state="ready", generation=2)
        wait_until(lambda: len(server.requests) == 2, what="two are sent")
        wait_until(lambda: not backend._line, what="the line is closed")
        began = time.monotonic()
        late = hot.ask({"user": "late"})  # the outage is over: it is full now, and says so at once
        assert (late.status_code, time.monotonic() - began < 0.4) == (503, True)
        told = crowd.answers()
    full = [one for one in told if "no room beside 2 running requests" in one.text]
    assert len(full) == 3
    assert all(one.status_code == 503 and one.headers["retry-after"] for one in told)


def test_an_outage_that_goes_on_is_named(hot: HotPath) -> None:
    backend = put(hot, "v1", "http://127.0.0.1:1", NARROW)
    lose(hot, backend, put(hot, "v2", "http://127.0.0.1:1", NARROW))
    hot.state.backend_wait_s = 0.2
    answer = hot.ask({"user": "ada"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "v1 is restarting, and did not come back within 0.2 s" in answer.json()["error"]["message"]
    assert backend.inflight == 0


def test_a_client_that_leaves_gives_its_place_to_the_next() -> None:
    async def run() -> None:
        line = Line(10.0, time.monotonic)
        assert not await line.wait()  # closed as long as nothing came back
        line.open()
        first, second, third = (asyncio.create_task(line.wait()) for _ in range(3))
        await asyncio.sleep(0)
        assert len(line) == 3
        first.cancel()  # before its turn
        await asyncio.wait({first})
        assert line.give()
        second.cancel()  # as its turn comes
        await asyncio.wait({second})
        assert second.cancelled() or isinstance(second.exception(), GivenError)
        assert line.give()
        assert await third
        assert not line.give()

    asyncio.run(run())
