"""Backends behind TLS: real handshakes with certificates that are good, and with every kind that is not."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flytewheel.addresses import AddressRule, read_networks
from flytewheel.authorities import trust_authorities
from flytewheel.errors import ModelServerError, RouterError, SettingsError
from flytewheel.ollama import Ollama
from flytewheel.settings import read_settings
from router.backends.breaker import BreakerRule
from router.backends.kinds import serve_by_settings
from router.backends.pool import BackendPool
from router.backends.rules import Rules
from router.backends.served import ServedModel
from tests.router.backends.test_failing import CANARY, QUICK, answer_as_control, check_fallback, put
from tests.router.hot_path import HotPath
from tests.router.live import ROOT
from tests.servers.certificates import Certificate, make_certificate
from tests.servers.raw import RawServer, plain, serving

ANSWER = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"theirs"}}]}'
BAD = {
    "self-signed": (r"self-signed certificate"),
    "wrong host": (r"IP address mismatch|not valid for"),
    "expired": (r"certificate has expired"),
    "not yet valid": (r"certificate is not yet valid"),
    "another's authority": (r"unable to get local issuer"),
}


@dataclass(frozen=True)
class Authority:
    """The test's own authority, and a certificate of each kind."""

    itself: Certificate
    good: Certificate
    bad: dict[str, Certificate]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("certificates")
    ours, other = make_certificate(folder, "ours"), make_certificate(folder, "other")
    bad = {
        "self-signed": make_certificate(folder, "alone"),
        "wrong host": make_certificate(folder, "elsewhere", by=ours, host="10.1.2.3"),
        "expired": make_certificate(folder, "expired", by=ours, days=(-9, -1)),
        "not yet valid": make_certificate(folder, "early", by=ours, days=(1, 9)),
        "another's authority": make_certificate(folder, "others", by=other),
    }
    return Authority(ours, make_certificate(folder, "good", by=ours), bad)


def answer(connection: socket.socket, request: bytes) -> None:
    connection.sendall(plain(b'{"data": [], "models": []}' if request.startswith(b"GET ") else ANSWER))


@pytest.fixture
def hot(database_url: str, tmp_path: Path, authority: Authority) -> Iterator[HotPath]:
    """The chat path of a worker that trusts the test's authority."""
    rules = replace(QUICK, tls=trust_authorities(authority.itself.chain))
    with HotPath(database_url, tmp_path, answer_as_control, CANARY, rules) as hot:
        yield hot


def load(server: RawServer, folder: Path, ca: Path | None) -> str:
    """Loads a version that is served there, by the settings of a router; what it says of it."""
    form = {"url": f"{server.url}/v1", "model": "m", "allow": ["127.0.0.1"]}
    file = folder / "upstream.json"
    file.write_text(json.dumps(form))
    settings = read_settings({"FLYTEWHEEL_HOME": str(folder)} | ({"FLYTEWHEEL_BACKEND_CA": str(ca)} if ca else {}))

    async def run() -> str:
        def fetch(name: str, version: str) -> ServedModel:
            return ServedModel(name, version, "digest", None, upstream=file)

        pool = BackendPool(fetch, serve_by_settings(settings, folder), Rules.of_settings(settings))
        try:
            return (await pool.ensure("demo", "v1")).state
        except RouterError as error:
            return str(error)
        finally:
            await pool.close()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_certificate_gets_no_version_loaded_and_is_named(authority: Authority, tmp_path: Path, kind: str) -> None:
    with serving(answer, tls=authority.bad[kind].serve()) as server:
        said = load(server, tmp_path, authority.itself.chain)
        assert server.requests == []  # neither the prompt nor the key was sent
    assert re.search(f"is not who it says it is: .*({BAD[kind]})", said)
    assert "FLYTEWHEEL_BACKEND_CA" in said
    assert "\n" not in said


def test_a_private_authority_is_believed_where_the_setting_names_it_and_nowhere_else(
    authority: Authority, tmp_path: Path
) -> None:
    with serving(answer, tls=authority.good.serve()) as server:
        assert load(server, tmp_path, authority.itself.chain) == "ready"
        assert server.requests
        asked = len(server.requests)
        assert "unable to get local issuer certificate" in load(server, tmp_path, None)
        assert len(server.requests) == asked


@pytest.mark.parametrize("kind", BAD)
def test_one_that_goes_bad_while_it_serves_is_answered_for_and_its_breaker_counts(
    hot: HotPath, authority: Authority, kind: str
) -> None:
    rules = replace(QUICK, connect_s=5.0, breaker=BreakerRule(failures=2, pause_s=60))
    with serving(answer, tls=authority.bad[kind].serve()) as server:
        backend = put(hot, "v2", server.url, rules, allow=("127.0.0.1",), own=False)
        for _ in range(2):
            found = hot.ask({"user": "ada"})
            check_fallback(found)
            assert "its certificate is refused" in hot.interaction(found)["metadata"]["fallback"]
        assert (backend.breaker.state, server.requests) == ("open", [])
        tried = server.connections
        check_fallback(hot.ask({"user": "ada"}))
        assert server.connections == tried  # not asked any more


def test_a_good_one_serves_over_tls_by_the_same_path(hot: HotPath, authority: Authority) -> None:
    with serving(answer, tls=authority.good.serve()) as server:
        put(hot, "v2", server.url, replace(QUICK, connect_s=5.0), allow=("127.0.0.1",), own=False)
        found = hot.ask({"user": "ada"})
        assert (found.status_code, found.content, found.headers["x-flytewheel-version"]) == (200, ANSWER, "v2")


def test_the_blocking_clients_believe_the_same(authority: Authority) -> None:
    rule = AddressRule(read_networks(["loopback"], "test"))
    tls = trust_authorities(authority.itself.chain)
    with serving(answer, tls=authority.good.serve()) as server:
        with Ollama(server.url, rule=rule, tls=tls) as client:
            assert client.list_models() == []
        with Ollama(server.url, rule=rule) as client, pytest.raises(ModelServerError, match="CERTIFICATE_VERIFY"):
            client.list_models()
    with (
        serving(answer, tls=authority.bad["wrong host"].serve()) as server,
        Ollama(server.url, rule=rule, tls=tls) as client,
        pytest.raises(ModelServerError, match="mismatch"),
    ):
        client.list_models()


def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("nothing")
    for name, said in (("text.pem", "expected certificates as PEM"), ("none.pem", "No such file")):
        with pytest.raises(SettingsError, match=said):
            trust_authorities(tmp_path / name)
    told = {name: "x" * 40 for name in ("s3_access_key", "s3_secret_key", "admin_key", "assignment_key")}
    told |= {"database_url": "postgresql://x@127.0.0.1:9/x", "s3_url": "http://127.0.0.1:9"}
    told |= {"home": str(tmp_path), "backend_ca": str(tmp_path / "none.pem")}
    environ = {"PATH": "/usr/bin"} | {f"FLYTEWHEEL_{name.upper()}": value for name, value in told.items()}
    command = [sys.executable, "-m", "router", "--port", "1"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0, done.stderr.count("\n")) == (True, 1), done.stderr
    assert "FLYTEWHEEL_BACKEND_CA" in done.stderr
