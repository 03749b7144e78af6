"""The router in front of a vLLM that is not ours: a strict stand-in over the adapters' real folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from flytewheel.errors import ModelServerError
from router.backends.served import fetch_model
from tests.router.live import NOW, LiveRouter, wait_until
from tests.router.spelling_model import write_spelling_model
from tests.servers.loopback import running
from tests.servers.vllm import BASE, VllmStandIn, write_adapter


@pytest.fixture(scope="module")
def server() -> Iterator[VllmStandIn]:
    with running(VllmStandIn(key="Bearer k-1")) as server:
        yield server


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where vLLM's machine sees our folder of models."""
    return tmp_path_factory.mktemp("vllm") / "mounted"


@pytest.fixture(scope="module")
def router(make_router: Callable[[], LiveRouter], server: VllmStandIn, theirs: Path) -> LiveRouter:
    router = make_router()
    router.environ |= {
        "FLYTEWHEEL_BACKEND": "vllm",
        "FLYTEWHEEL_BACKEND_URL": server.url,
        "FLYTEWHEEL_BACKEND_KEY": "k-1",
        "FLYTEWHEEL_BACKEND_SPARES": "0",
        "FLYTEWHEEL_BACKEND_FOLDER": str(theirs),
    }
    theirs.symlink_to(router.home / "models", target_is_directory=True)
    return router.start()


def register(router: LiveRouter, name: str, word: str, *, kept: str = "adapter") -> str:
    folder = router.home / f"{name}-{word}"
    if kept == "nothing":
        folder.mkdir()
        files = {"model-F16.gguf": write_spelling_model(folder / "model-F16.gguf", word)}
    else:
        files = {f"{kept}/{path.name}": path for path in write_adapter(folder, word).iterdir()}
    return router.registry.register(name, files, facts={}, key=f"{name}-{word}", now=NOW).version


def put(router: LiveRouter, name: str, version: str) -> httpx.Response:
    return router.send("PUT", f"/models/{name}/champion", {"version": version})


def said(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


def test_an_adapter_is_loaded_from_where_vllm_sees_it_and_answers(
    router: LiveRouter, server: VllmStandIn, theirs: Path
) -> None:
    version = register(router, "plain", "stable")
    assert put(router, "plain", version).status_code == 200
    name = f"flytewheel/plain@{version}"
    assert server.adapters == {name: f"{theirs}/plain/{version}/adapter"}
    answer = router.ask("plain")
    assert (said(answer), answer.json()["model"]) == ("stable", name)
    stored = router.interaction(answer.headers["x-flytewheel-interaction"])
    manifest = router.registry.show("plain", version)
    assert stored["model_digest"] == manifest.files["adapter/adapter_model.safetensors"].sha256
    streamed = router.ask("plain", stream=True)
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert router.interaction(streamed.headers["x-flytewheel-interaction"])["response"] == "stable"
    body = {"model": "flytewheel/plain", "prompt": "x", "user": "ada"}
    assert router.post("/v1/completions", json=body).json()["choices"][0]["text"] == "stable"
    assert server.faults == []


def test_the_bare_base_is_served_as_it_is_there_and_an_adapter_beside_it(
    router: LiveRouter, server: VllmStandIn
) -> None:
    base, adapter = register(router, "both", "any", kept="nothing"), register(router, "both", "candy")
    assert put(router, "both", base).status_code == 200
    assert said(router.ask("both")) == "base"
    assert router.launch("both", base, adapter, share=1.0).status_code == 201
    assert said(router.ask("both")) == "candy"
    del server.adapters[f"flytewheel/both@{adapter}"]  # vLLM was started anew
    answer = router.ask("both")
    assert (said(answer), answer.headers["x-flytewheel-fallback"]) == ("base", "control")
    wait_until(lambda: said(router.ask("both")) == "candy", what="the adapter is loaded again")
    assert BASE not in server.adapters


def test_a_stream_that_is_cut_leaves_an_unfinished_answer(router: LiveRouter, server: VllmStandIn) -> None:
    assert put(router, "cut", register(router, "cut", "stable")).status_code == 200
    server.broken_chats = 1
    answer = router.ask("cut", stream=True)
    assert "broke off" in answer.text.splitlines()[-2]
    stored = router.interaction(answer.headers["x-flytewheel-interaction"])
    assert (stored["completed"], stored["response"]) == (False, "st")


def test_a_version_that_nobody_needs_is_unloaded(router: LiveRouter, server: VllmStandIn) -> None:
    server.adapters["somebody-else"] = "/elsewhere"
    first, second = register(router, "moved", "stable"), register(router, "moved", "candy")
    for version in (first, second):
        assert put(router, "moved", version).status_code == 200
    wait_until(lambda: f"flytewheel/moved@{first}" not in server.adapters, what="the old adapter is unloaded")
    assert f"flytewheel/moved@{second}" in server.adapters
    assert server.adapters.pop("somebody-else") == "/elsewhere"


def test_full_weights_are_refused_with_the_next_step(router: LiveRouter, tmp_path: Path) -> None:
    version = register(router, "whole", "stable", kept="weights")
    answer = put(router, "whole", version)
    assert answer.status_code == 502
    assert "holds full weights, and vLLM is given adapters only" in answer.json()["error"]["message"]
    with pytest.raises(ModelServerError, match="serve it by Ollama or llama"):
        fetch_model(router.registry, tmp_path, "whole", version, kind="vllm")


def test_a_server_that_allows_no_loading_is_said_and_the_champion_stays(
    router: LiveRouter, server: VllmStandIn
) -> None:
    first, second = register(router, "kept", "stable"), register(router, "kept", "candy")
    assert put(router, "kept", first).status_code == 200
    server.allowed = False
    answer = put(router, "kept", second)
    server.allowed = True
    assert answer.status_code == 502
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in answer.json()["error"]["message"]
    assert router.ask("kept").headers["x-flytewheel-version"] == first
