"""The client of vLLM's LoRA endpoints against a server that checks every byte, and a real one where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flytewheel.errors import ModelServerError
from flytewheel.vllm import Vllm, VllmModel
from tests.conftest import find_real_server
from tests.servers.loopback import running
from tests.servers.vllm import BASE, VllmStandIn, write_adapter

NAME = "flytewheel/demo@v1.202647.1"


@pytest.fixture(params=[True, False], ids=["newer", "older"])
def server(request: pytest.FixtureRequest) -> Iterator[VllmStandIn]:
    with running(VllmStandIn(newer=request.param)) as server:
        yield server


@pytest.fixture
def client(server: VllmStandIn) -> Iterator[Vllm]:
    with Vllm(server.url, timeout_s=20.0) as client:
        yield client


def test_an_adapter_is_loaded_once_listed_and_unloaded(client: Vllm, server: VllmStandIn, tmp_path: Path) -> None:
    path = str(write_adapter(tmp_path / "one", "stable"))
    client.load_adapter(NAME, path)
    client.load_adapter(NAME, path)  # nothing to do
    assert [request for request in server.seen if request[0] == "POST"] == [("POST", "/v1/load_lora_adapter")]
    assert client.list_models() == [VllmModel(BASE, None, "/models/base"), VllmModel(NAME, BASE, path)]
    assert client.find_base() == BASE
    assert client.unload_adapter(NAME) is True
    assert client.unload_adapter(NAME) is False
    assert client.list_models() == [VllmModel(BASE, None, "/models/base")]
    assert server.faults == []


def test_an_adapter_of_the_same_name_is_replaced(client: Vllm, server: VllmStandIn, tmp_path: Path) -> None:
    """In place where the server can; an older one, which refuses the field, forgets and loads."""
    client.load_adapter(NAME, str(write_adapter(tmp_path / "one", "stable")))
    second = str(write_adapter(tmp_path / "two", "candy"))
    client.load_adapter(NAME, second)
    assert server.adapters == {NAME: second}
    unloaded = ("POST", "/v1/unload_lora_adapter") in server.seen
    assert unloaded is not server.newer


def test_a_server_that_allows_no_loading_says_how_to_start_it(tmp_path: Path) -> None:
    with running(VllmStandIn(allowed=False)) as server, Vllm(server.url) as client:
        for call in (lambda: client.load_adapter(NAME, str(tmp_path)), lambda: client.unload_adapter(NAME)):
            with pytest.raises(ModelServerError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora"):
                call()


def test_a_folder_that_vllm_does_not_see(client: Vllm, tmp_path: Path) -> None:
    with pytest.raises(ModelServerError, match=r"sees no adapter in .*nowhere .*FLYTEWHEEL_BACKEND_FOLDER says where"):
        client.load_adapter(NAME, str(tmp_path / "nowhere"))


def test_a_rank_that_is_too_large(client: Vllm, tmp_path: Path) -> None:
    with pytest.raises(ModelServerError, match=r"LoRA rank 64 is greater .*start it with --max-lora-rank"):
        client.load_adapter(NAME, str(write_adapter(tmp_path / "one", "x", rank=64)))


def test_the_base_is_not_replaced_by_an_adapter(client: Vllm, server: VllmStandIn, tmp_path: Path) -> None:
    with pytest.raises(ModelServerError, match="serves its base as org/base-1b; give the adapter another name"):
        client.load_adapter(BASE, str(write_adapter(tmp_path / "one", "x")))
    assert server.seen == [("GET", "/v1/models")]


def test_a_server_that_says_it_loaded_and_did_not(client: Vllm, server: VllmStandIn, tmp_path: Path) -> None:
    server.forgets = True
    with pytest.raises(ModelServerError, match=r"said that it loaded .*, and does not list it"):
        client.load_adapter(NAME, str(write_adapter(tmp_path / "one", "x")))


@pytest.mark.parametrize(
    ("step", "what", "said"),
    [
        ("GET /v1/models", "drop", "broke off /v1/models"),
        ("GET /v1/models", (401, {"error": "Unauthorized"}), "refuses the key"),
        ("GET /v1/models", (200, {"object": "list"}), "lists no models under /v1/models"),
        ("GET /v1/models", (200, "hello"), "that is no vLLM"),
        ("POST /v1/load_lora_adapter", (500, "oops"), r"refused /v1/load_lora_adapter \(500\): oops"),
        ("POST /v1/load_lora_adapter", "drop", "broke off /v1/load_lora_adapter"),
    ],
)
def test_each_step_can_fail_and_says_so_in_one_line(
    client: Vllm, server: VllmStandIn, tmp_path: Path, step: str, what: object, said: str
) -> None:
    server.plan[step] = what
    path = str(write_adapter(tmp_path / "one", "x"))
    with pytest.raises(ModelServerError, match=said) as raised:
        client.load_adapter(NAME, path)
    assert "\n" not in str(raised.value)
    server.plan.clear()
    client.load_adapter(NAME, path)
    assert server.adapters == {NAME: path}
    assert server.faults == []


def test_a_key_goes_along(tmp_path: Path) -> None:
    with running(VllmStandIn(key="Bearer k-1")) as server:
        with Vllm(server.url, key="k-1") as client:
            assert client.find_base() == BASE
        with Vllm(server.url) as client, pytest.raises(ModelServerError, match="FLYTEWHEEL_BACKEND_KEY"):
            client.find_base()


def test_against_a_real_vllm() -> None:
    """`REAL_VLLM_URL=http://…:8000 VLLM_TEST_ADAPTER=/path/on/its/machine pytest tests/test_vllm.py`."""
    url = find_real_server("REAL_VLLM_URL")
    path = os.environ.get("VLLM_TEST_ADAPTER")
    if not path:
        pytest.skip("$VLLM_TEST_ADAPTER is not set: the path of an adapter on vLLM's machine")
    with Vllm(url) as client:
        client.load_adapter("flytewheel/test@v0", path)
        try:
            client.load_adapter("flytewheel/test@v0", path)
            body = {"model": "flytewheel/test@v0", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
            assert client.ask("POST", "/v1/chat/completions", body).status_code == 200
        finally:
            assert client.unload_adapter("flytewheel/test@v0")
