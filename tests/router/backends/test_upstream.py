"""A version that is served elsewhere: signed like every other, and only then asked; champion, canary and control."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel.cli import main
from flytewheel.llama_server import run_server
from registry.keys import make_signing_key
from registry.signing import KeySeal
from registry.versions import Registry
from tests.router.live import NOW, LiveRouter, wait_until
from tests.router.spelling_model import write_spelling_model
from tests.servers.raw import RawServer, plain, serving

ANSWER = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"theirs"}}],"x":1}'


def answer(connection: socket.socket, request: bytes) -> None:
    connection.sendall(plain(b'{"data": []}' if request.startswith(b"GET /v1/models ") else ANSWER))


@pytest.fixture
def server() -> Iterator[RawServer]:
    with serving(answer) as server:
        yield server


@pytest.fixture(scope="module")
def router(make_router: Callable[[], LiveRouter]) -> LiveRouter:
    router = make_router()
    router.environ |= {"EXAMPLE_KEY": "k-1"}
    return router.start()


def write_form(folder: Path, at: str, **changes: Any) -> Path:
    form = {"url": f"{at}/v1", "model": "example-large", "api_key_env": "EXAMPLE_KEY", "allow": ["127.0.0.1"]}
    path = folder / "upstream.json"
    path.write_text(json.dumps(form | {"headers": {"x-project": "oncall"}} | changes))
    return path


def register(router: LiveRouter, name: str, file: Path, registry: Registry | None = None) -> str:
    facts = {"kind": "upstream"}
    made = (registry or router.registry).register(
        name, {"upstream.json": file}, facts=facts, key=file.read_text(), now=NOW
    )
    return made.version


def put(router: LiveRouter, name: str, version: str) -> Any:
    return router.send("PUT", f"/models/{name}/champion", {"version": version})


def test_it_is_signed_by_the_command_and_answers_as_a_champion(
    router: LiveRouter, server: RawServer, tmp_path: Path
) -> None:
    environ = {**{key: "" for key in router.environ}, **router.environ}
    form = write_form(tmp_path, server.url)
    assert router.registry.names() is not None  # the home has a signing key by now
    done = CliRunner().invoke(main, ["backends", "sign", "elsewhere", str(form), "--json"], env=environ)
    assert done.exit_code == 0, done.output
    version = json.loads(done.stdout)["version"]
    assert put(router, "elsewhere", version).status_code == 200
    found = router.ask("elsewhere")
    assert (found.status_code, found.content) == (200, ANSWER)
    assert found.headers["x-flytewheel-version"] == version
    warm, asked = server.requests[-2:]
    for request in (warm, asked):
        head, _, body = request.partition(b"\r\n\r\n")
        assert b"authorization: Bearer k-1" in head or b"Authorization: Bearer k-1" in head
        assert b"x-project: oncall" in head
        assert json.loads(body)["model"] == "example-large"
    assert b"traceparent" not in asked
    stored = router.interaction(found.headers["x-flytewheel-interaction"])
    assert stored["response"] == "theirs"
    shown = CliRunner().invoke(main, ["backends", "show", "elsewhere"], env=environ)
    assert f'url: "{server.url}/v1"' in shown.stdout
    assert "k-1" not in shown.stdout + (router.home / "router.log").read_text()


def test_what_is_unsigned_changed_or_signed_by_a_stranger_is_never_asked(
    router: LiveRouter, server: RawServer, tmp_path: Path
) -> None:
    before = router.serve("guarded", "stable")
    stranger = make_signing_key()
    theirs = KeySeal(signing_key=lambda: stranger, trusted=lambda: [stranger.public])
    for number, seal in enumerate((None, theirs)):
        form = write_form(tmp_path, server.url, headers={"x-number": str(number)})
        refused = put(router, "guarded", register(router, "guarded", form, Registry(router.store, seal=seal)))
        assert refused.status_code == 404, refused.text
        assert "sign" in refused.json()["error"]["message"]
    form = write_form(tmp_path, server.url, headers={"x-number": "2"})
    version = register(router, "guarded", form)
    blob = router.registry.show("guarded", version).files["upstream.json"].sha256
    router.store.put_bytes(f"blobs/sha256/{blob}", form.read_bytes().replace(b"example-large", b"example-other"))
    refused = put(router, "guarded", version)
    assert refused.status_code in (404, 502, 503), refused.text
    assert server.requests == []
    assert router.ask("guarded").headers["x-flytewheel-version"] == before


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"allow": ["10.0.0.0/8"]}, "is blocked: 127.0.0.1 is not an address that this server may have"),
        ({"url": "https://169.254.169.254/v1", "allow": []}, "hands out a machine's credentials"),
        ({"url": "https://[fd00:ec2::254]/v1", "allow": ["fd00::/8"]}, "hands out a machine's credentials"),
        ({"url": "http://2130706433:1/v1"}, "is not reachable"),
        ({"api_key_env": "NOT_SET_ANYWHERE"}, "its key in $NOT_SET_ANYWHERE is not set"),
        ({"url": "file:///etc/passwd"}, "expected http(s)://host"),
        ({"surprise": 1}, "surprise: Extra inputs"),
    ],
)
def test_what_may_not_be_asked_is_said_and_the_champion_stays(
    router: LiveRouter, server: RawServer, tmp_path: Path, changes: dict[str, Any], cause: str
) -> None:
    name = f"said-{abs(hash(cause + str(changes)))}"
    before = router.serve(name, "stable")
    refused = put(router, name, register(router, name, write_form(tmp_path, server.url, **changes)))
    assert refused.status_code == 502, refused.text
    assert cause in refused.json()["error"]["message"]
    assert server.connections == 0
    assert router.ask(name).headers["x-flytewheel-version"] == before


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (plain(b"", status="302 F", headers="location: http://169.254.169.254/\r\n"), "answers 302; redirects are not"),
        (plain(b"{}", status="401 U"), "refuses the key (401)"),
        (plain(b"{}", status="503 S"), "answers 503"),
        (plain(b"{}"), "does not answer a first prompt, so it gets no traffic"),
    ],
)
def test_one_that_fails_its_first_prompt_gets_no_traffic(
    router: LiveRouter, server: RawServer, tmp_path: Path, said: bytes, cause: str
) -> None:
    server.script = lambda connection, request: connection.sendall(said)
    version = register(router, f"cold-{len(said)}", write_form(tmp_path, server.url))
    refused = put(router, f"cold-{len(said)}", version)
    assert (refused.status_code, cause in refused.json()["error"]["message"]) == (502, True), refused.text


def test_a_canary_elsewhere_beside_a_real_llama_cpp_falls_back_and_comes_back(
    router: LiveRouter, tmp_path: Path
) -> None:
    """Both ways: it takes the traffic, dies, is answered for, and takes it again; its breaker says so meanwhile."""
    control = router.serve("mixed", "stable")
    file = write_spelling_model(tmp_path / "candy.gguf", "candy")

    def said() -> tuple[str, str | None]:
        found = router.ask("mixed")
        assert found.status_code == 200
        return found.json()["choices"][0]["message"]["content"], found.headers.get("x-flytewheel-fallback")

    with run_server(file, alias="example-large", threads=1, slot_tokens=1024) as url:
        version = register(router, "mixed", write_form(tmp_path, url))
        assert router.launch("mixed", control, version, share=1.0).status_code == 201
        assert said() == ("candy", None)
    for _ in range(3):
        assert said() == ("stable", "control")
    wait_until(lambda: (router.backend("mixed", version) or {})["state"] == "restarting", what="it is missed")
    port = int(url.rpartition(":")[2])
    with serving(answer, port=port):
        wait_until(lambda: said() == ("theirs", None), what="it is found again")
