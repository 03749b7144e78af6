"""Requests over the Unix socket reach an application as they came, and answers come back as they were."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from router.passing import PassedOn, PassingOn

Message = dict[str, Any]
HEADERS = [(b"host", b"x"), (b"x-odd", bytes(range(128, 256))), (b"cookie", b"a"), (b"cookie", b"b")]


def make_scope(path: str = "/models", **changes: Any) -> Message:
    scope = {"type": "http", "method": "PUT", "scheme": "https", "http_version": "1.1", "path": path, "root_path": ""}
    told = {"raw_path": b"/mod%C3%A9ls", "query_string": b"a=%00&b", "headers": HEADERS, "client": ("10.0.0.7", 4)}
    return scope | told | changes


async def pass_on(app: Any, path: Path, sent: list[Message], scope: Message) -> list[Message]:
    """Runs one request through both sides; what the client got."""
    passed = PassedOn(app)
    await passed.listen(path)
    got: list[Message] = []
    left = list(sent)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        return await asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        got.append(message)

    try:
        await asyncio.wait_for(PassingOn(path)(scope, receive, send), 10)
    finally:
        await passed.close(1.0)
    return got


def read(got: list[Message]) -> tuple[int, list[Any], bytes]:
    return got[0]["status"], got[0]["headers"], b"".join(message["body"] for message in got[1:])


def test_bytes_of_scope_body_and_answer_are_the_same_on_both_sides(tmp_path: Path) -> None:
    body = bytes(range(256)) * 5000
    seen: list[Message] = []

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        seen.append(scope)
        while True:
            message = await receive()
            seen.append(message)
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 207, "headers": HEADERS})
        for at in range(0, len(body), 100_001):
            await send({"type": "http.response.body", "body": body[at : at + 100_001], "more_body": True})
        await send({"type": "http.response.body"})

    parts = [body[:7], b"", body[7:]]
    sent = [{"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts]
    got = asyncio.run(pass_on(app, tmp_path / "s", sent, make_scope()))
    assert read(got) == (207, [list(pair) for pair in HEADERS], body)
    scope = make_scope()
    assert {key: seen[0][key] for key in scope} == scope
    assert b"".join(message["body"] for message in seen[1:]) == body


def test_a_client_that_goes_is_told_to_the_application(tmp_path: Path) -> None:
    seen: list[str] = []

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        seen.extend([(await receive())["type"], (await receive())["type"]])

    sent = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    asyncio.run(pass_on(app, tmp_path / "s", sent, make_scope()))
    assert seen == ["http.request", "http.disconnect"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_application_that_fails_is_a_502_or_an_answer_that_breaks_off(tmp_path: Path) -> None:
    async def fail(scope: Message, receive: Any, send: Any) -> None:
        raise ValueError("x")

    async def break_off(scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("x")

    sent = [{"type": "http.request", "body": b"", "more_body": False}]
    assert read(asyncio.run(pass_on(fail, tmp_path / "s", sent, make_scope())))[0] == 502
    got = asyncio.run(pass_on(break_off, tmp_path / "s", sent, make_scope()))
    assert [message.get("more_body") for message in got] == [None, True]  # never told to be whole


def test_without_a_keeper_a_worker_says_that_it_lives(tmp_path: Path) -> None:
    async def ask(path: str) -> tuple[int, list[Any], bytes]:
        got: list[Message] = []

        async def send(message: Message) -> None:
            got.append(message)

        async def receive() -> Message:
            raise AssertionError("nothing is read")

        await PassingOn(tmp_path / "none")(make_scope(path), receive, send)
        return read(got)

    status, _, body = asyncio.run(ask("/healthz"))
    assert (status, orjson.loads(body)["status"]) == (200, "degraded")
    assert asyncio.run(ask("/models"))[0] == 503
