"""Answers through the shipped protocol, read as bytes: what the quick way writes, and what it leaves to uvicorn."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import pytest

from router.asgi import FOLLOWS
from router.server import Server, bind, make_config

Messages = list[dict[str, Any]]


def start(headers: list[tuple[bytes, bytes]], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def exchange(messages: Messages, request: bytes = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", asked: int = 1) -> bytes:
    """All that comes back on one connection for `asked` requests that are sent at once."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    def talk(port: int) -> bytes:
        got = b""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(request * asked)
            client.settimeout(1.0)
            try:
                while part := client.recv(65536):
                    got += part
            except TimeoutError:
                pass
        return got

    async def main() -> bytes:
        listener = bind("127.0.0.1", 0)
        server = Server(make_config(app))
        serving = asyncio.create_task(server.serve_on(listener))
        await server.wait_started()
        try:
            return await asyncio.to_thread(talk, listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving

    return asyncio.run(main())


def test_a_whole_answer_and_the_next_one_on_its_connection() -> None:
    got = exchange([start([(b"content-length", b"2"), (b"x-a", b"1")]), body(b"ok")], asked=2)
    first, rest = got[: len(got) // 2], got[len(got) // 2 :]
    assert first == rest
    head, _, data = first.partition(b"\r\n\r\n")
    assert data == b"ok"
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert {b"content-length: 2", b"x-a: 1"} <= set(lines)
    assert sum(line.startswith(b"date: ") for line in lines) == 1


def test_a_stream_is_cut_as_it_was_sent() -> None:
    got = exchange(
        [start([(b"content-type", b"text/event-stream")]), body(b"a" * 17, True), body(b"", True), body(b"b")]
    )
    assert b"transfer-encoding: chunked\r\n" in got
    assert got.endswith(b"\r\n\r\n11\r\n" + b"a" * 17 + b"\r\n1\r\nb\r\n0\r\n\r\n")


def test_who_asks_for_the_end_gets_it() -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    got = exchange([start([(b"content-length", b"2")]), body(b"ok")], request)
    assert got.count(b"connection: close\r\n") == 1
    assert got.endswith(b"\r\n\r\nok")


def test_head_has_no_body() -> None:
    got = exchange([start([(b"content-length", b"2")]), body(b"ok")], b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert got.endswith(b"\r\n\r\n")
    assert b"content-length: 2" in got


@pytest.mark.parametrize(
    "header",
    [(b"x-a", b"1\r\nset-cookie: b"), (b"x-a", b"1\nx: y"), (b"x-a\r\nx", b"1"), (b"x-a", b"\r"), (b"x-a", b"\0")],
)
def test_a_header_cannot_bring_another(header: tuple[bytes, bytes]) -> None:
    got = exchange([start([(b"content-length", b"2"), header]), body(b"ok")])
    assert got == b""  # uvicorn refuses it, and ends the connection


@pytest.mark.parametrize(
    "messages",
    [
        [start([(b"content-length", b"3")]), body(b"ok")],
        [start([(b"content-length", b"1")]), body(b"ok")],
        [body(b"ok")],
    ],
)
def test_an_answer_that_contradicts_itself_ends_the_connection_or_is_a_500(messages: Messages) -> None:
    got = exchange(messages, asked=2)
    assert got.count(b"HTTP/1.1 ") <= 2
    assert b"okHTTP" not in got


def test_names_in_capitals_and_connection_headers_are_uvicorns_to_write() -> None:
    got = exchange([start([(b"Content-Length", b"2"), (b"Connection", b"close")]), body(b"ok")], asked=2)
    assert got.count(b"HTTP/1.1 200 OK") == 1
    assert got.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    ("headers", "bodies"),
    [
        ([(b"content-length", b"2")], [body(b"ok")]),
        ([], [body(b"a", True), body(b"b", True), body(b"")]),
        ([], [body(b"", True), body(b"ab")]),
        ([(b"content-length", b"2")], [body(b"o", True), body(b"k")]),
        ([(b"content-length", b"0")], [body(b"")]),
    ],
)
def test_a_head_that_waits_for_its_body_comes_before_it(headers: list[tuple[bytes, bytes]], bodies: Messages) -> None:
    """The same bytes as without the mark, also where the body goes uvicorn's way; one after the other."""
    marked = exchange([start(headers) | {FOLLOWS: True}, *bodies], asked=2)
    plain = exchange([start(headers), *bodies], asked=2)
    assert re.sub(rb"date: [^\r]+", b"", marked) == re.sub(rb"date: [^\r]+", b"", plain)
    assert marked.count(b"HTTP/1.1 200 OK\r\n") == 2
