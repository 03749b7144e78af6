"""The client of backends against real sockets that answer as servers do on their worst days."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import pytest

from router.asgi import DONE
from router.backends.connector import Connector
from router.proxy.upstream import Client, Upstream

Found = TypeVar("Found")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=2, sock_read=10)


def run(serve: Serve, ask: Callable[[Client, aiohttp.ClientSession, str], Awaitable[Found]]) -> tuple[Found, int]:
    """Runs `ask` against a server; returns what it gave, and how many connections there were."""
    met = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async def main() -> tuple[Found, int]:
        server = await asyncio.start_server(count, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, aiohttp.ClientSession(connector=Connector()) as session:
            found = await asyncio.wait_for(ask(Client(), session, f"http://127.0.0.1:{port}/v1/x?a=b"), 30)
        return found, met

    return asyncio.run(main())


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


async def post(client: Client, session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    upstream = await client.post(session, url, b"{}", {}, TIMEOUT)
    try:
        return upstream.status, await upstream.read()
    finally:
        upstream.close()


def answer(*parts: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)

    return serve


def test_requests_are_whole_and_share_a_connection() -> None:
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                seen.append(await read_request(reader))
            except asyncio.IncompleteReadError:
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nok")

    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> list[bytes]:
        bodies = []
        for body in (b"{}", b"x" * 3_000_000):
            upstream = await client.post(session, url, body, {"authorization": "Bearer k"}, TIMEOUT)
            assert [value for name, value in upstream.raw_headers if name.lower() == b"x-a"] == [b"1", b"2"]
            assert upstream.find_header(b"x-a") == "1"
            bodies.append(await upstream.read())
            upstream.close()
        return bodies

    assert run(serve, ask) == ([b"ok", b"ok"], 1)
    head = seen[0][0].lower().decode()
    assert head.startswith("post /v1/x?a=b http/1.1\r\nhost: 127.0.0.1:")
    lines = head.splitlines()
    for line in ("content-type: application/json", "accept-encoding: identity", "authorization: bearer k"):
        assert lines.count(line) == 1
    assert [len(body) for _, body in seen] == [2, 3_000_000]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", b"c\r\n0\r\n\r\n"), (200, b"abc")),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"), (200, b"a")),
        ((b"HTTP/1.0 200 OK\r\n\r\nuntil", b" the end"), (200, b"until the end")),
        ((b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",), (302, b"")),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), (204, b"")),
    ],
)
def test_answers_of_every_form_are_read_and_redirects_not_followed(
    parts: tuple[bytes, ...], expected: tuple[int, bytes]
) -> None:
    assert run(answer(*parts), post) == (expected, 1)


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"SSH-2.0-OpenSSH_9.2\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",),
        (b"HTTP/1.1 200 OK\r\n" + b"a: " + b"x" * 100_000 + b"\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\na: ", *[b"x" * 30_000] * 3),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"content-length: 0\r\n\r\n",),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",),
    ],
)
def test_an_answer_that_breaks_off_is_a_clients_error(parts: tuple[bytes, ...]) -> None:
    with pytest.raises((aiohttp.ClientError, OSError)):
        run(answer(*parts), post)


def test_nobody_there_is_an_error_and_not_a_wait() -> None:
    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.post(session, "http://127.0.0.1:9/", b"{}", {}, TIMEOUT)

    run(answer(), ask)


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    await reader.read()  # until the client goes


@pytest.mark.parametrize("timeout", [aiohttp.ClientTimeout(sock_read=1.0), aiohttp.ClientTimeout(total=1.0)])
def test_silence_and_slowness_end_in_a_timeout(timeout: aiohttp.ClientTimeout) -> None:
    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> bytes:
        upstream = await client.post(session, url, b"{}", {}, timeout)
        first = await upstream.read_some()
        with pytest.raises(TimeoutError):
            await upstream.read_some()
        assert upstream.broken
        upstream.close()
        return first

    assert run(_hold, ask)[0] == b"a"


def test_a_reader_that_takes_its_time_is_no_silence() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.sleep(1.3)
        writer.write(b"1\r\nb\r\n0\r\n\r\n")

    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> bytes:
        upstream = await client.post(session, url, b"{}", {}, aiohttp.ClientTimeout(sock_read=1.0))
        first = await upstream.read_some()
        await asyncio.sleep(1.7)  # a client who takes nothing
        upstream.wait_for_chunks(1.0)
        rest = await upstream.read()
        upstream.close()
        return first + rest

    assert run(serve, ask)[0] == b"ab"


def test_a_line_break_in_a_configured_header_is_refused() -> None:
    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(ValueError, match=r"(?i)line break|newline|control"):
            await client.post(session, url, b"{}", {"x-key": "a\r\nx-other: b"}, TIMEOUT)

    run(answer(), ask)


def serve_all(*answers: bytes) -> Serve:
    """Answers one request after the other on a connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in answers:
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                return
            writer.write(each)
            await writer.drain()
        await reader.read()

    return serve


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    "first",
    [
        PLAIN + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        PLAIN + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    ],
)
def test_what_nobody_asked_for_is_no_answer_to_the_next_request(first: bytes) -> None:
    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> list[tuple[int, bytes]]:
        return [await post(client, session, url), await post(client, session, url)]

    found, connections = run(serve_all(first), ask)
    assert found == [(200, b"ok"), (200, b"ok")]
    assert connections == 2


def test_a_session_and_a_client_share_connections() -> None:
    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> list[bytes]:
        found = []
        for _ in range(2):
            found.append((await post(client, session, url))[1])
            async with session.post(url, data=b"{}") as answer:
                found.append(await answer.read())
        return found

    assert run(serve_all(PLAIN, PLAIN, PLAIN, PLAIN), ask) == ([b"ok"] * 4, 1)


def test_a_request_that_is_given_up_at_once_is_not_sent() -> None:
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.append(data)
            writer.write(PLAIN)

    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> bytes:
        await post(client, session, url)  # there is a connection
        connector = session.connector
        assert isinstance(connector, Connector)
        ((key, _),) = connector._conns.items()
        pipe = connector.take(key)
        assert pipe is not None
        upstream = Upstream(connector, key, pipe, set(), TIMEOUT)
        pipe.ask(b"never", upstream)
        upstream.close()
        return (await post(client, session, url))[1]

    assert run(serve, ask) == (b"ok", 2)
    assert not any(b"never" in data for data in seen)


def test_what_is_passed_on_comes_in_order_and_waits_for_who_is_slow() -> None:
    """8 MiB in chunks; the taker is slow at every third, and never holds more than the socket's buffers beside."""
    chunks = [bytes([number % 251]) * 65536 for number in range(128)]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in chunks:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> tuple[bytes, int]:
        upstream = await client.post(session, url, b"{}", {}, TIMEOUT)
        taken: list[bytes] = []
        busy = most = 0

        async def slowly() -> None:
            nonlocal busy
            busy += 1
            assert busy == 1
            await asyncio.sleep(0.002)
            busy -= 1

        def take(chunk: bytes) -> Awaitable[None]:
            nonlocal most
            assert not busy
            taken.append(chunk)
            most = max(most, len(chunk))
            return slowly() if len(taken) % 3 == 0 else DONE

        await upstream.pass_on(take)
        assert not upstream.broken
        upstream.close()
        return b"".join(taken), most

    (body, most), _ = run(serve, ask)
    assert body == b"".join(chunks)
    assert most < 1 << 20


def test_a_stream_that_breaks_off_is_passed_on_up_to_there() -> None:
    async def ask(client: Client, session: aiohttp.ClientSession, url: str) -> list[bytes]:
        upstream = await client.post(session, url, b"{}", {}, TIMEOUT)
        taken: list[bytes] = []

        def take(chunk: bytes) -> Awaitable[None]:
            taken.append(chunk)
            return DONE

        with pytest.raises(aiohttp.ClientPayloadError):
            await upstream.pass_on(take)
        assert upstream.broken
        upstream.close()
        return taken

    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    found, _ = run(answer(head + b"1\r\na\r\n", b"1\r\nb\r\n"), ask)
    assert b"".join(found) == b"ab"
