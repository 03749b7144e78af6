"""Where a connection may go: real sockets, names that answer differently each time, and every spelling of loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from flytewheel.addresses import AddressRule, read_networks
from flytewheel.errors import ModelServerError
from flytewheel.ollama import Ollama
from flytewheel.vllm import Vllm
from router.backends.backend import Status
from router.backends.connections import Connections
from router.backends.rules import Rules
from router.proxy.upstream import Client
from tests.servers.raw import RawServer, plain, serving

TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=2)


class Names(AbstractResolver):
    """Answers with the next list of addresses each time, and with the last one from then on."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is open."""


def answer_once(connection: socket.socket, request: bytes) -> None:
    connection.sendall(plain(b"{}", headers="connection: close\r\n"))
    connection.shutdown(socket.SHUT_WR)


@pytest.fixture
def server() -> Iterator[RawServer]:
    with serving(answer_once) as server:
        yield server


def status(url: str, *, allow: tuple[str, ...] = (), own: bool = False) -> Status:
    return Status(1, "demo", "v1", url=url, own=own, allow=allow, generation=1)


def get(
    url: str, *, times: int = 1, names: Names | None = None, allow: tuple[str, ...] = (), own: bool = False
) -> list[Any]:
    """The status of each request, or the error that it ended with; the names are asked anew for each."""

    async def run() -> list[Any]:
        connections = Connections(Rules(connect_s=2.0), resolver=names)
        found: list[Any] = []
        try:
            session = connections.open(status(url, allow=allow, own=own))
            for _ in range(times):
                try:
                    async with session.get(url + "/v1/models", allow_redirects=False) as answer:
                        await answer.read()
                        found.append(answer.status)
                except (aiohttp.ClientError, ValueError, OSError) as error:
                    found.append(str(error))
                assert isinstance(session.connector, aiohttp.TCPConnector)
                session.connector.clear_dns_cache()
        finally:
            await connections.close()
        return found

    return asyncio.run(run())


def test_a_name_that_answers_with_another_address_later_is_refused_then(server: RawServer) -> None:
    port = int(server.url.rpartition(":")[2])
    with serving(answer_once, host="127.0.0.2", port=port) as other:
        for second in ("127.0.0.2", "169.254.169.254", "::1", "0.0.0.0", "::ffff:127.0.0.2"):
            names = Names(["127.0.0.1"], [second])
            first, then = get(f"http://rebinding.example:{port}", times=2, names=names, allow=("127.0.0.1",))
            assert (first, names.asked) == (200, 2)
            assert "is not an address that this server may have" in then or "hands out a machine's credentials" in then
        assert other.connections == 0
        assert get(f"http://x.example:{port}", names=Names(["127.0.0.2"]), allow=("loopback",)) == [200]  # it could be


def test_of_several_addresses_only_allowed_ones_are_tried(server: RawServer) -> None:
    port = server.url.rpartition(":")[2]
    names = Names(["169.254.169.254", "10.255.255.1", "127.0.0.1"])
    assert get(f"http://mixed.example:{port}", names=names, allow=("127.0.0.1",)) == [200]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "localhost", "2130706433", "127.1", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]", "0"],
)
def test_no_spelling_of_loopback_is_reached_unless_allowed(server: RawServer, host: str) -> None:
    port = server.url.rpartition(":")[2]
    (found,) = get(f"http://{host}:{port}")
    assert isinstance(found, str)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("host", "answers"),
    [
        ("rebound.example", ["127.0.0.1"]),
        ("rebound.example", ["169.254.169.254"]),
        ("rebound.example", ["::ffff:127.0.0.1"]),
        ("rebound.example", ["::ffff:169.254.169.254"]),
        ("rebound.example", ["64:ff9b::7f00:1"]),
        ("2130706433", None),
        ("0177.0.0.1", None),
        ("0x7f.1", None),
        ("[::ffff:127.0.0.1]", None),
        ("[::ffff:a9fe:a9fe]", None),
    ],
)
def test_a_prompt_goes_nowhere_that_was_public_only_when_it_was_checked(
    server: RawServer, host: str, answers: list[str] | None
) -> None:
    """The chat path itself. The name was public when somebody looked: what counts is what it says when we connect."""
    port = server.url.rpartition(":")[2]

    async def run() -> None:
        names = None if answers is None else Names(["8.8.8.8"], answers)
        if names is not None:
            (found,) = await names.resolve(host)
            AddressRule().check(found["host"])
        connections = Connections(Rules(connect_s=2.0), resolver=names)
        try:
            session = connections.open(status(f"http://{host}:{port}"))
            with pytest.raises((aiohttp.ClientError, OSError, ValueError)):
                await Client().post(session, f"http://{host}:{port}/v1/chat/completions", b"{}", {}, TIMEOUT)
        finally:
            await connections.close()

    asyncio.run(run())
    assert server.connections == 0


def test_a_redirect_is_an_answer_and_nobody_is_asked_where_it_leads(server: RawServer) -> None:
    with serving(answer_once) as other:
        leads = f"location: {other.url}/v1/chat/completions\r\n"
        server.script = lambda connection, request: connection.sendall(plain(b"", status="307 T", headers=leads))

        async def run() -> int:
            connections = Connections(Rules(connect_s=2.0))
            try:
                session = connections.open(status(server.url, allow=("loopback",)))
                url = server.url + "/v1/chat/completions"
                found = await Client().post(session, url, b"{}", {"authorization": "Bearer k"}, TIMEOUT)
                await found.read()
                found.close()
                return found.status
            finally:
                await connections.close()

        assert asyncio.run(run()) == 307
        assert other.connections == 0


def test_a_process_of_ours_is_asked_on_loopback_and_nowhere_else(server: RawServer) -> None:
    assert get(server.url, own=True) == [200]
    (found,) = get("http://elsewhere.example:80", names=Names(["8.8.8.8"]), own=True)
    assert "8.8.8.8 is not an address that this server may have" in found


def test_the_environments_proxies_are_not_asked(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer_once) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert get(server.url, allow=("loopback",)) == [200]
        assert proxy.connections == 0


@pytest.mark.parametrize("kind", [Ollama, Vllm])
def test_the_blocking_clients_keep_to_the_same_rule(server: RawServer, kind: Any) -> None:
    server.script = lambda connection, request: connection.sendall(plain(b'{"data": [], "models": []}'))
    port = server.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        with (
            kind(f"http://{host}:{port}", rule=AddressRule()) as client,
            pytest.raises(ModelServerError, match=r"is not asked: .* is not an address that this server may have"),
        ):
            client.list_models()
    assert server.connections == 0
    with kind(f"http://localhost:{port}", rule=AddressRule(read_networks(["loopback"], "test"))) as client:
        assert client.list_models() == []
    assert f"host: localhost:{port}".encode() in server.requests[0].lower()  # the name, not the address
    server.script = lambda connection, request: connection.sendall(
        plain(b"", status="302 Found", headers="location: http://169.254.169.254/\r\n")
    )
    with (
        kind(server.url, rule=AddressRule(read_networks(["loopback"], "test"))) as client,
        pytest.raises(ModelServerError, match="302"),
    ):
        client.list_models()
