"""A small part of `benchmarks.hostile` and `benchmarks.fuzzed`: no request makes the router fail."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.fuzzed import fuzz
from benchmarks.hostile import attack, find_faults, send_all
from benchmarks.hostile_bodies import make_requests
from benchmarks.hostile_targets import Target
from tests.router.access.conftest import Guarded
from tests.router.access.serving import Seen, exchange, make_front, serve
from tests.router.access.smuggling import SECOND, SMUGGLED
from tests.router.live import ADMIN_KEY


def test_malformed_requests_are_refused_and_nobody_else_notices(guarded: Guarded) -> None:
    assert guarded.router.process is not None
    outcome = attack(guarded.router, 700)
    assert outcome.failures == []
    assert outcome.unhealthy == []
    assert outcome.healthy > 0
    assert outcome.statuses[200] > 0
    assert sum(outcome.statuses[status] for status in (400, 401, 403, 404, 422)) > 400
    assert guarded.router.process.poll() is None
    assert list(find_faults((guarded.router.home / "router.log").read_text())) == []


@pytest.mark.parametrize("key", [ADMIN_KEY, None], ids=["root", "nobody"])
def test_schemathesis_meets_no_server_error(guarded: Guarded, key: str | None) -> None:
    found = fuzz(guarded.router, examples=1, key=key, phases="fuzzing")
    assert not found.failed, found.said[-6000:]
    assert found.operations > 20


@pytest.mark.parametrize("name", ["CL.TE", "TE.CL", "TE twice", "CL twice", "chunk longer than its size"])
def test_a_smuggled_request_reaches_neither_endpoint_nor_model(guarded: Guarded, name: str) -> None:
    key = guarded.headers["serve"]["authorization"].encode()
    sent = SMUGGLED[name].replace(b"/echo", b"/v1/models").replace(b"host: a", b"host: a\r\nauthorization: " + key)
    answer, closed = exchange(guarded.router.port, sent, timeout_s=5)
    assert closed
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert b'"data"' not in answer
    assert SECOND not in answer


def test_the_attack_finds_a_server_that_fails() -> None:
    """Else a generator of tame requests would pass for a strong router."""

    async def broken(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("always")

    front = make_front(Seen())
    front.add("/broken", ("POST",), "public", broken)
    with serve(front) as port:
        requests = make_requests([Target("POST", "/broken", {"a": 1})], [b"x"], 1, 40)
        outcome = asyncio.run(send_all(port, requests))
    assert outcome.statuses[500] == len(outcome.failures) > 20
