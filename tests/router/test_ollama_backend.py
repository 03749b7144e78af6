"""The router in front of an Ollama that is not ours: a strict stand-in with real llama.cpp servers behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from flytewheel.export.export import export_model
from flytewheel.llama_server import run_server
from flytewheel.modelfile import Modelfile
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import build_prompt
from flytewheel.release import list_files
from tests.router.live import ADMIN, NOW, LiveRouter, wait_until
from tests.router.spelling_model import write_spelling_model
from tests.servers.loopback import running
from tests.servers.ollama import OllamaStandIn

TEMPLATE = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
PARAMETERS = {"stop": ("<|im_end|>",), "num_ctx": 1024, "repeat_penalty": 1.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaStandIn]:
    with running(OllamaStandIn(tmp_path_factory.mktemp("ollama"), key="Bearer k-1")) as server:
        server.models["somebody/else:latest"] = {"files": ["sha256:" + "0" * 64], "template": "", "parameters": {}}
        yield server


@pytest.fixture(scope="module")
def router(make_router: Callable[[], LiveRouter], server: OllamaStandIn) -> LiveRouter:
    return start(make_router(), server)


def start(router: LiveRouter, server: OllamaStandIn) -> LiveRouter:
    router.environ |= {
        "FLYTEWHEEL_BACKEND": "ollama",
        "FLYTEWHEEL_BACKEND_URL": server.url,
        "FLYTEWHEEL_BACKEND_KEY": "k-1",
        "FLYTEWHEEL_BACKEND_SPARES": "0",
    }
    return router.start()


def register(router: LiveRouter, name: str, word: str, *, endless: bool = False, template: str = TEMPLATE) -> str:
    """A spelling model with a Modelfile beside it, as an export leaves them."""
    folder = router.home / f"{name}-{word}"
    folder.mkdir()
    files = {"model-F16.gguf": write_spelling_model(folder / "model-F16.gguf", word, endless=endless)}
    files["Modelfile"] = folder / "Modelfile"
    files["Modelfile"].write_text(Modelfile("model-F16.gguf", template, parameters=PARAMETERS).to_text())
    facts = {"serve": "model-F16.gguf"}
    return router.registry.register(name, files, facts=facts, key=f"{name}-{word}", now=NOW).version


def serve(router: LiveRouter, name: str, word: str, **options: Any) -> str:
    version = register(router, name, word, **options)
    answer = router.send("PUT", f"/models/{name}/champion", {"version": version})
    assert answer.status_code == 200, answer.text
    return version


def spell(answer: httpx.Response) -> str:
    if answer.headers["content-type"].startswith("text/event-stream"):
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        return "".join(event["choices"][0]["delta"]["content"] for event in events)
    return str(answer.json()["choices"][0]["message"]["content"])


def test_a_version_is_made_in_ollama_and_answers(router: LiveRouter, server: OllamaStandIn) -> None:
    version = serve(router, "plain", "stable")
    model = server.models[f"flytewheel/plain:{version}"]
    assert (model["template"], model["parameters"]["stop"]) == (TEMPLATE, ["<|im_end|>"])
    assert f"flytewheel/plain:{version}" in server.running  # warm before it is the champion
    for stream in (False, True):
        answer = router.ask("plain", stream=stream)
        assert spell(answer) == "stable"
        assert answer.headers["x-flytewheel-version"] == version
        stored = router.interaction(answer.headers["x-flytewheel-interaction"])
        assert (stored["response"], stored["completed"]) == ("stable", True)
        digest = router.registry.show("plain", version).files["model-F16.gguf"].sha256
        assert stored["model_digest"] == digest
        assert model["files"] == [f"sha256:{digest}"]
    assert router.ask("plain").json()["model"] == f"flytewheel/plain:{version}"
    assert server.faults == []


def test_a_plain_completion_reaches_the_model_without_a_template(router: LiveRouter, server: OllamaStandIn) -> None:
    """Ollama's own /v1/completions would put the chat template around the prompt: its raw generate is asked."""
    serve(router, "completed", "stable")
    body = {"model": "flytewheel/completed", "prompt": "word:\n", "user": "ada", "temperature": 0, "max_tokens": 4}
    whole = router.post("/v1/completions", json=body)
    assert (whole.json()["choices"][0]["text"], whole.json()["choices"][0]["finish_reason"]) == ("stab", "length")
    assert whole.json()["usage"] == {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}
    assert server.asked[-1]["raw"] is True
    assert ("POST", "/v1/completions") not in server.seen
    streamed = router.post("/v1/completions", json=body | {"stream": True})
    assert streamed.headers["content-type"] == "text/event-stream"
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert "".join(event["choices"][0]["text"] for event in events) == "stab"
    assert streamed.text.endswith("data: [DONE]\n\n")
    for answer in (whole, streamed):
        stored = router.interaction(answer.headers["x-flytewheel-interaction"])
        assert (stored["query"], stored["response"], stored["completed"]) == ("word:\n", "stab", True)
        assert (stored["metadata"]["completion_tokens"], stored["metadata"]["finish_reason"]) == (4, "length")
    several = router.post("/v1/completions", json=body | {"prompt": ["a", "b"]})
    assert (several.status_code, "one text" in several.json()["error"]["message"]) == (400, True)


def test_a_canary_that_vanishes_is_answered_for_by_control_and_comes_back(
    router: LiveRouter, server: OllamaStandIn
) -> None:
    control, treatment = serve(router, "gone", "stable"), register(router, "gone", "candy")
    assert router.launch("gone", control, treatment, share=1.0).status_code == 201
    assert spell(router.ask("gone")) == "candy"
    server.plan["POST /api/create"] = (500, {"error": "no space left on device"})
    del server.models[f"flytewheel/gone:{treatment}"]  # somebody ran `ollama rm`
    for stream in (False, True):
        answer = router.ask("gone", stream=stream)
        assert (answer.status_code, spell(answer)) == (200, "stable")
        assert answer.headers["x-flytewheel-fallback"] == "control"
        assert answer.headers["x-flytewheel-arm"] == "treatment"
    wait_until(lambda: (router.backend("gone", treatment) or {})["state"] == "restarting", what="it is missed")
    server.plan.clear()
    wait_until(lambda: router.ask("gone").headers["x-flytewheel-version"] == treatment, what="the canary is back")
    assert (router.backend("gone", treatment) or {})["restarts"] == 1
    assert spell(router.ask("gone")) == "candy"


def test_a_champion_that_vanishes_is_brought_back_within_the_request(router: LiveRouter, server: OllamaStandIn) -> None:
    version = serve(router, "waited", "stable")
    del server.models[f"flytewheel/waited:{version}"]
    answer = router.ask("waited")
    assert (answer.status_code, spell(answer)) == (200, "stable")
    assert f"flytewheel/waited:{version}" in server.models


def test_a_stream_that_is_cut_leaves_an_unfinished_answer(router: LiveRouter, server: OllamaStandIn) -> None:
    serve(router, "cut", "stable")
    server.broken_chats = 1
    answer = router.ask("cut", stream=True)
    assert "[DONE]" not in answer.text
    assert "broke off" in answer.text.splitlines()[-2]
    stored = router.interaction(answer.headers["x-flytewheel-interaction"])
    assert (stored["completed"], stored["response"]) == (False, "st")
    assert spell(router.ask("cut", stream=True)) == "stable"


def test_a_client_that_leaves_gives_the_lease_back(router: LiveRouter) -> None:
    version = serve(router, "leaving", "abcdefgh", endless=True)
    body = {"model": "flytewheel/leaving", "messages": [{"role": "user", "content": "?"}], "stream": True, "user": "a"}
    with router.client.stream("POST", router.url + "/v1/chat/completions", json=body) as answer:
        interaction_id = answer.headers["x-flytewheel-interaction"]
        assert "data: " in next(answer.iter_text())
    assert router.interaction(interaction_id)["metadata"]["broken"] == "the client went away"
    wait_until(lambda: (router.backend("leaving", version) or {})["inflight"] == 0, what="the lease given back")


def test_a_version_that_nobody_needs_leaves_the_memory_and_stays_on_the_disk(
    router: LiveRouter, server: OllamaStandIn
) -> None:
    first = serve(router, "moved", "stable")
    serve(router, "moved", "candy")
    old = f"flytewheel/moved:{first}"
    wait_until(lambda: old not in server.running, what="the old version is unloaded")
    assert old in server.models
    assert "somebody/else:latest" in server.models
    assert spell(router.ask("moved")) == "candy"


def test_a_server_that_refuses_is_said_and_the_champion_stays(router: LiveRouter, server: OllamaStandIn) -> None:
    first, second = serve(router, "kept", "stable"), register(router, "kept", "candy")
    server.statuses = [{"status": "parsing GGUF"}, {"error": "no space left on device"}]
    answer = router.send("PUT", "/models/kept/champion", {"version": second})
    server.statuses = []
    assert answer.status_code == 502
    assert f"did not create flytewheel/kept:{second}: no space left on device" in answer.json()["error"]["message"]
    assert router.ask("kept").headers["x-flytewheel-version"] == first


def test_a_turn_that_the_template_refuses_is_an_error_and_not_left_out(router: LiveRouter) -> None:
    template = (
        '{{ range .Messages }}{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else }}{{ template "the chat template takes no turn of system here" . }}{{ end }}{{ end }}'
        "<|im_start|>assistant\n"
    )
    serve(router, "strict", "stable", template=template)
    assert spell(router.ask("strict")) == "stable"
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
    answer = router.ask("strict", messages=messages)
    assert answer.status_code == 400  # the conversation is at fault, not the version
    assert "takes no turn of system here" in answer.json()["error"]["message"]


def test_an_ollama_that_hangs_does_not_hold_up_the_end(make_router: Callable[[], LiveRouter], tmp_path: Path) -> None:
    with running(OllamaStandIn(tmp_path, key="Bearer k-1")) as server:
        router = make_router()
        router.environ["FLYTEWHEEL_DRAIN_S"] = "1"
        start(router, server)
        version = register(router, "hung", "stable")
        server.plan["POST /api/create"] = "hang"
        asking = threading.Thread(target=put_quietly, args=(router, version))
        asking.start()
        wait_until(lambda: ("POST", "/api/create") in server.seen, what="the create began")
        assert router.stop() == 0
        asking.join()


def put_quietly(router: LiveRouter, version: str) -> None:
    """Asks for a champion that will never be; the router ends meanwhile, with or without an answer."""
    with suppress(httpx.TransportError):
        httpx.put(f"{router.url}/models/hung/champion", json={"version": version}, headers=ADMIN, timeout=60)


def test_an_exported_model_answers_through_ollama_as_through_llama_cpp(
    router: LiveRouter, server: OllamaStandIn, tmp_path: Path
) -> None:
    """From the weights to the answer: exported, registered, made in Ollama, its TEMPLATE rendered, llama.cpp asked."""
    base = BaseModelSpec(model="pocket")
    prompts = [build_prompt("Which channel is it?"), build_prompt("Who is on call?")]
    spec = ExportSpec(quantizations=("F16",), serve="F16", parity_prompts=2, parity_tokens=4)
    export_model(tmp_path / "out", base=base, adapter=None, export=spec, prompts=prompts, seed=1)
    files = list_files(tmp_path / "out")
    facts = {"serve": "model-F16.gguf"}
    version = router.registry.register("exported", files, facts=facts, key="exported", now=NOW).version
    assert router.send("PUT", "/models/exported/champion", {"version": version}).status_code == 200
    messages = [
        {"role": "system", "content": "You are on call.\n\nContext:\nThe channel is #db. "},
        {"role": "user", "content": " Which channel is it?"},
    ]
    ours = router.ask("exported", messages=messages, max_tokens=24)
    with run_server(tmp_path / "out" / "model-F16.gguf", alias="x", threads=1, slot_tokens=1024) as url:
        body = {"messages": messages, "temperature": 0, "max_tokens": 24}
        direct = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60, trust_env=False).json()
    assert spell(ours) == direct["choices"][0]["message"]["content"] != ""
    assert ours.json()["usage"]["prompt_tokens"] == direct["usage"]["prompt_tokens"]
    assert server.models[f"flytewheel/exported:{version}"]["template"].startswith("{{ $before")
    assert server.faults == []
