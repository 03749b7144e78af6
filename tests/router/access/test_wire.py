"""The shipped server settings against raw sockets: smuggling, oversized heads, slow clients."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

import pytest

from router.access.room import WireLimits
from tests.router.access.serving import Seen, drain, exchange, make_front, serve
from tests.router.access.smuggling import SMUGGLED

QUICK = WireLimits(head_s=1.0, body_s=1.0, body_rate=1024, stall_s=1.0, waiting=20, discarded=1 << 20)


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def port(seen: Seen) -> Iterator[int]:
    with serve(make_front(seen), QUICK) as port:
        yield port


@pytest.fixture(autouse=True)
def _fresh(seen: Seen) -> None:
    seen.requests.clear()
    seen.headers.clear()
    seen.streamed.clear()


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_two_servers_could_read_differently_is_at_most_one_request(port: int, seen: Seen, name: str) -> None:
    answer, closed = exchange(port, SMUGGLED[name], timeout_s=3)
    assert closed, answer
    served = [body for _, _, body in seen.requests if body is not None]  # None: broken off before it was a request
    assert not any("smuggled" in target for _, target, _ in seen.requests), seen.requests
    if served:
        assert len(served) == 1
        assert statuses(answer) == [200]
    else:
        assert statuses(answer) in ([400], [404], [405]), answer


def test_pipelined_requests_are_each_served_and_garbage_after_them_ends_the_connection(port: int, seen: Seen) -> None:
    answer, closed = exchange(
        port, b"GET /echo?1 HTTP/1.1\r\nhost: a\r\n\r\nGET /echo?2 HTTP/1.1\r\nhost: a\r\n\r\n", timeout_s=0.5
    )
    assert statuses(answer) == [200, 200]
    assert not closed
    answer, closed = exchange(port, b"GET /echo?3 HTTP/1.1\r\nhost: a\r\n\r\n\x00\x01garbage\r\n\r\n")
    assert closed
    assert set(statuses(answer)) <= {200, 400}
    assert len([target for _, target, _ in seen.requests if target == "/echo?3"]) <= 1


def test_chunks_with_extensions_are_a_body_and_trailers_are_no_headers(port: int, seen: Seen) -> None:
    sent = (
        b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5;name=value\r\nhello\r\n0\r\nauthorization: Bearer root-key-of-the-tests\r\nx-flytewheel-user: eve\r\n\r\n"
    )
    answer, _ = exchange(port, sent, timeout_s=0.5)
    assert answer.endswith(b"POST /echo 5 -")
    assert seen.requests == [("POST", "/echo", b"hello")]
    assert {name for name, _ in seen.headers[0]} == {b"host", b"transfer-encoding"}


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /echo?" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 101 + b"\r\n",
        b"GET /echo HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nhost: a\r\n" + b"".join(b"x%d: %s\r\n" % (n, b"y" * 1000) for n in range(50)) + b"\r\n",
        b"GET /echo HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 400_000,
        b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 101 + b"\r\n",
    ],
    ids=["target", "fields", "value", "sum", "without end", "trailers"],
)
def test_a_head_that_is_too_large_gets_431(port: int, seen: Seen, sent: bytes) -> None:
    answer, closed = exchange(port, sent)
    assert (statuses(answer), closed) == ([431], True), answer
    assert not [body for _, _, body in seen.requests if body is not None]


def test_a_head_within_its_limits_is_served_in_one_piece_or_in_many(port: int) -> None:
    head = (
        b"GET /echo HTTP/1.1\r\nhost: a\r\n" + b"".join(b"x%d: %s\r\n" % (n, b"y" * 300) for n in range(98)) + b"\r\n"
    )
    assert statuses(exchange(port, head, timeout_s=0.3)[0]) == [200]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for start in range(0, len(head), 1000):
            connection.sendall(head[start : start + 1000])
        assert statuses(drain(connection, 0.3)[0]) == [200]


class Client:
    """A healthy client, which asks while others are slow."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self) -> float:
        """Seconds until a fresh connection is answered."""
        started = time.monotonic()
        answer, _ = exchange(self.port, b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert statuses(answer) == [200], answer
        return time.monotonic() - started


@pytest.mark.parametrize(
    ("first", "more", "status"),
    [
        (b"", b"", []),
        (b"", b"\r\n", []),
        (b"GET /echo HTTP/1.1\r\nhost: a\r\n", b"", [408]),
        (b"GET /echo HTTP/1.1\r\nhost: a\r\n", b"x: y\r\n", [408]),
        (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n", b"z", [408]),
        (b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nz\r\n", [408]),
        (b"GET /echo HTTP/1.1\r\nhost: a\r\n\r\n", b"\r\n", [200]),
    ],
    ids=[
        "nothing",
        "empty lines",
        "half a head",
        "a header a time",
        "a byte a time",
        "a chunk a time",
        "lines after it",
    ],
)
def test_slow_clients_are_closed_and_others_go_on_being_answered(
    port: int, first: bytes, more: bytes, status: list[int]
) -> None:
    with ExitStack() as opened:
        slow = [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(15)]
        started, heard, took = _hear(port, slow, first, more)
    assert {tuple(statuses(each)) for each in heard} <= {tuple(status), (), (431,)}
    assert time.monotonic() - started > 0.9
    assert median(took) < 0.8  # who waits for the slow ones waits a second; a single one may meet a busy machine


def _hear(port: int, slow: list[socket.socket], first: bytes, more: bytes) -> tuple[float, list[bytes], list[float]]:
    """Is slow on every connection until all are closed: when it began, what they heard, how long others waited."""
    healthy, started, open_ones = Client(port), time.monotonic(), set(slow)
    for connection in slow:
        connection.sendall(first)
        connection.settimeout(0.001)
    heard = dict.fromkeys(slow, b"")
    took = []
    while open_ones and time.monotonic() - started < 30:
        took.append(healthy.ask())
        for connection in list(open_ones):
            try:
                connection.sendall(more)
                part = connection.recv(65536)
                heard[connection] += part
                if not part:
                    open_ones.discard(connection)
            except TimeoutError:
                pass
            except OSError:
                open_ones.discard(connection)
    assert not open_ones
    return started, list(heard.values()), took


def test_a_client_that_takes_nothing_of_its_answer_is_dropped(port: int, seen: Seen) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
        assert seen.streamed.wait(20), "the server still has it"
        got, closed = drain(connection, 1.0)
    assert closed
    assert len(got) < 100 << 20


def test_among_many_idle_connections_the_longest_idle_goes(seen: Seen) -> None:
    with serve(make_front(seen), WireLimits(head_s=60.0, waiting=20)) as port, ExitStack() as opened:
        idle = [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(30)]
        Client(port).ask()
        assert drain(idle[0], 5.0) == (b"", True)
        assert drain(idle[-1], 0.2) == (b"", False)


def test_a_body_that_is_refused_is_not_read_for_ever(port: int) -> None:
    head = b"POST /chat HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head)
        sent, started = 0, time.monotonic()
        try:
            while time.monotonic() - started < 10:
                connection.sendall(b"10000\r\n" + b"z" * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass
        assert time.monotonic() - started < 8


def test_an_endless_body_of_unknown_length_gets_413(seen: Seen) -> None:
    with serve(make_front(seen, body_limit=1 << 16)) as port:
        body = b"10000\r\n" + b"z" * 65536 + b"\r\n"
        answer, _ = exchange(
            port, b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + 2 * body, timeout_s=1
        )
        assert statuses(answer) == [413]
        announced = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 65537\r\n\r\n"
        assert statuses(exchange(port, announced, timeout_s=1)[0]) == [413]
        huge = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551615\r\n\r\n"
        assert statuses(exchange(port, huge, timeout_s=1)[0]) == [413]
        within = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n" + b"z" * 65536
        assert statuses(exchange(port, within, timeout_s=1)[0]) == [200]


def test_a_large_body_is_not_taken_for_the_head_of_the_next_request(port: int, seen: Seen) -> None:
    """In one piece with the heads of both: their own sizes count, not those of the pieces that they came in."""
    body = b"x" * 60_000
    first = b"POST /echo?1 HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    last = b"GET /echo?2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    answer, closed = exchange(port, first + first + last)
    assert statuses(answer) == [200, 200, 200]
    assert closed
    assert [len(found or b"") for _, _, found in seen.requests] == [len(body), len(body), 0]


def test_an_idle_connection_is_closed_and_one_that_is_used_stays(seen: Seen) -> None:
    request = b"GET /echo HTTP/1.1\r\nhost: a\r\n\r\n"

    def ask(connection: socket.socket) -> None:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"GET /echo 0 -"):
            part = connection.recv(4096)
            assert part, "it was closed"
            answer += part

    with serve(make_front(seen), idle_s=2) as at, socket.create_connection(("127.0.0.1", at), timeout=10) as used:
        with socket.create_connection(("127.0.0.1", at), timeout=10) as idle:
            ask(idle)
            began, closed = time.monotonic(), False
            while not closed:
                ask(used)
                _, closed = drain(idle, 0.3)
                assert time.monotonic() - began < 20
            assert time.monotonic() - began > 1.9
        ask(used)
