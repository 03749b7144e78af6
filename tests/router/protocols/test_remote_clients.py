"""The official clients before backends that are not ours: an Ollama, natively, and a vLLM, translated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import ollama
import openai
import pytest

from tests.router.live import NOW, LiveRouter
from tests.router.protocols.clients import open_ollama, open_openai
from tests.router.protocols.streams import write_events
from tests.router.test_ollama_backend import serve as serve_by_ollama
from tests.router.test_ollama_backend import start as start_by_ollama
from tests.servers.loopback import running
from tests.servers.ollama import OllamaStandIn
from tests.servers.vllm import VllmStandIn, write_adapter

ASKED = [{"role": "user", "content": "Which word?"}]
GREEDY = {"temperature": 0}
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
SSE = "text/event-stream"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaStandIn]:
    with running(OllamaStandIn(tmp_path_factory.mktemp("ollama"), key="Bearer k-1")) as server:
        yield server


@pytest.fixture(scope="module")
def native(make_router: Callable[[], LiveRouter], theirs: OllamaStandIn) -> LiveRouter:
    """A router before an Ollama."""
    router = start_by_ollama(make_router(), theirs)
    serve_by_ollama(router, "demo", "stable")
    return router


@pytest.fixture(scope="module")
def vllm() -> Iterator[VllmStandIn]:
    with running(VllmStandIn()) as server:
        yield server


@pytest.fixture(scope="module")
def translated(make_router: Callable[[], LiveRouter], vllm: VllmStandIn) -> LiveRouter:
    """A router before a vLLM."""
    router = make_router()
    router.environ |= {"FLYTEWHEEL_BACKEND": "vllm", "FLYTEWHEEL_BACKEND_URL": vllm.url}
    router.start()
    files = {f"adapter/{path.name}": path for path in write_adapter(router.home / "stable", "stable").iterdir()}
    version = router.registry.register("demo", files, facts={}, key="demo", now=NOW).version
    assert router.send("PUT", "/models/demo/champion", {"version": version}).status_code == 200
    return router


def chat(router: LiveRouter, **body: Any) -> httpx.Response:
    return router.post("/api/chat", json={"model": "flytewheel/demo", "messages": ASKED, "user": "ada", **body})


@pytest.fixture
def recovering(translated: LiveRouter) -> Iterator[None]:
    """Hostile answers count as failures: good ones come between, so that nobody's breaker opens."""
    yield
    for _ in range(3):
        assert chat(translated).status_code == 200


def script(server: VllmStandIn, *events: Any, content_type: str = SSE) -> None:
    """The next answer is these events."""
    server.scripts.append((content_type, [write_events(events)]))


def test_an_ollama_is_asked_in_its_own_words(native: LiveRouter, theirs: OllamaStandIn) -> None:
    options = GREEDY | {"num_predict": 20, "num_ctx": 9, "top_k": 40, "tfs_z": 1.0}
    sent = {"messages": ASKED, "options": options, "think": False, "truncate": True, "x_unknown": [1, {"a": None}]}
    answer = chat(native, keep_alive=0, stream=False, **sent)
    assert answer.json()["message"]["content"] == "stable"
    assert answer.json()["created_at"] == "2026-11-28T09:00:00.123456789Z"  # untouched: no translation of ours
    asked = theirs.asked[-1]
    assert asked.pop("model") == f"flytewheel/demo:{answer.headers['x-flytewheel-version']}"
    del sent["options"]["num_ctx"]
    assert asked == {**sent, "user": "ada", "stream": False}
    with open_ollama(native) as client:
        parts = list(client.chat("flytewheel/demo", ASKED, options=GREEDY, stream=True, logprobs=True))
        assert [part.message.content for part in parts] == [*"stable", ""]
        assert parts[0].logprobs[0].token == "s"
        assert client.generate("flytewheel/demo", "Which?", options=GREEDY).response == "stable"
        assert client.generate("flytewheel/demo", "word:\n", raw=True, options=GREEDY).response == "stable"
        assert client.embed("flytewheel/demo", ["abc", "d"]).embeddings == [[3.0, 1.0], [1.0, 1.0]]
        assert client.embeddings("flytewheel/demo", "abc").embedding == [3.0, 1.0]
        assert client.chat("flytewheel/demo", []).done_reason == "load"
        shown = client.show("flytewheel/demo")
    assert shown.template.startswith("{{ range .Messages }}")
    assert "repeat_penalty" in shown.parameters
    with open_openai(native) as client:
        assert client.embeddings.create(model="flytewheel/demo", input="abc").data[0].embedding == [3.0, 1.0]
        assert client.completions.create(model="flytewheel/demo", prompt="word:\n", temperature=0).choices[0].text == (
            "stable"
        )
        assert client.chat.completions.create(model="flytewheel/demo", messages=ASKED).choices[0].message.content
    assert theirs.faults == []


def test_a_native_answer_is_remembered_and_a_broken_one_marked(native: LiveRouter, theirs: OllamaStandIn) -> None:
    for stream in (False, True):
        answer = chat(native, options=GREEDY, stream=stream, metadata={"topic": "words"})
        assert answer.headers["content-type"] == ("application/x-ndjson" if stream else "application/json")
        stored = native.interaction(answer.headers["x-flytewheel-interaction"])
        assert (stored["query"], stored["response"], stored["completed"]) == ("Which word?", "stable", True)
        assert (stored["topic"], stored["metadata"]["completion_tokens"]) == ("words", 7)
        assert stored["metadata"]["finish_reason"] == "stop"
    theirs.broken_chats = 1
    answer = chat(native, options=GREEDY)
    assert json.loads(answer.text.splitlines()[-1]) == {"error": "the model broke off its answer"}
    stored = native.interaction(answer.headers["x-flytewheel-interaction"])
    assert (stored["completed"], stored["response"]) == (False, "st")


def test_a_vllm_is_asked_in_openais_words(translated: LiveRouter, vllm: VllmStandIn) -> None:
    with open_ollama(translated, **{"x-flytewheel-user": "ada"}) as client:
        whole = client.chat("flytewheel/demo", ASKED, options=GREEDY | {"repeat_penalty": 1.1}, keep_alive="5m")
        parts = list(client.chat("flytewheel/demo", ASKED, stream=True, think="low"))
        raw = client.generate("flytewheel/demo", "x", raw=True)
        with pytest.raises(ollama.ResponseError) as caught:
            client.embed("flytewheel/demo", "x")
    assert (whole.message.content, raw.response) == ("stable", "stable")
    assert [part.message.content for part in parts] == [*"stable", ""]
    assert (parts[-1].prompt_eval_count, parts[-1].eval_count) == (5, 7)  # asked for, or vLLM would not count
    first, second, third = vllm.asked[-3:]
    assert (first["temperature"], first["repetition_penalty"], "keep_alive" in first) == (0, 1.1, False)
    assert (second["reasoning_effort"], second["stream_options"]) == ("low", {"include_usage": True})
    assert third["max_tokens"] is None  # left out, vLLM would stop after 16
    assert caught.value.status_code == 404
    assert vllm.faults == []


def test_tools_and_pictures_pass_through_the_client(translated: LiveRouter, vllm: VllmStandIn) -> None:
    call = {"id": "c-1", "type": "function", "function": {"name": "look", "arguments": '{"at": "Zürich"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    vllm.scripts.append(("application/json", [json.dumps(answer).encode()]))
    pieces = [{"index": 0, "id": "c-1", "function": {"name": "look", "arguments": ""}}]
    pieces += [{"index": 0, "function": {"arguments": piece}} for piece in ('{"at"', ': "Zü', 'rich"}')]
    with open_ollama(translated) as client:
        whole = client.chat("flytewheel/demo", ASKED, tools=[TOOL])
        script(vllm, *({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces))
        parts = list(client.chat("flytewheel/demo", ASKED, tools=[TOOL], stream=True))
        result = {"role": "tool", "content": "rain", "tool_name": "look"}
        picture = {"role": "user", "content": "?", "images": [b"\x89PNG\r\n\x1a\n"]}
        client.chat("flytewheel/demo", [*ASKED, whole.message, result, picture])
    for told in (whole, parts[0]):
        assert told.message.tool_calls is not None
        assert told.message.tool_calls[0].function.name == "look"
        assert told.message.tool_calls[0].function.arguments == {"at": "Zürich"}
    assert (whole.message.thinking, whole.done_reason) == ("hm", "stop")
    assert [part.done for part in parts] == [False, True]
    turns = vllm.asked[-1]["messages"]
    assert turns[1]["tool_calls"][0]["id"] == turns[2]["tool_call_id"]
    assert json.loads(turns[1]["tool_calls"][0]["function"]["arguments"]) == {"at": "Zürich"}
    assert turns[1]["reasoning_content"] == "hm"
    assert turns[3]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
    assert vllm.asked[-2]["tools"][0]["function"]["name"] == "look"


HOSTILE = {
    "broken JSON": b"data: {\n\n",
    "a giant line": b"data: " + b"x" * ((8 << 20) + 1),
    "an error": b'data: {"error": {"message": "out of memory"}}\n\ndata: [DONE]\n\n',
    "text that is none": b'data: {"choices": [{"delta": {"content": 3}}]}\n\ndata: [DONE]\n\n',
    "no end": b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n',
}


@pytest.mark.usefixtures("recovering")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_stream_ends_in_an_error_and_the_interaction_says_broken(
    translated: LiveRouter, vllm: VllmStandIn, name: str
) -> None:
    begun = write_events([{"choices": [{"index": 0, "delta": {"content": "so"}}]}]).partition(b"data: [DONE]")[0]
    vllm.scripts.append((SSE, [begun, HOSTILE[name]]))
    with open_ollama(translated) as client:
        parts = client.chat("flytewheel/demo", ASKED, stream=True)
        assert next(parts).message.content == "so"
        with pytest.raises(ollama.ResponseError, match="answered wrongly"):
            list(parts)
    vllm.scripts.append((SSE, [begun, HOSTILE[name]]))
    answer = chat(translated)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert list(lines[-1]) == ["error"]
    stored = translated.interaction(answer.headers["x-flytewheel-interaction"])
    assert (stored["completed"], stored["response"][:2]) == (False, "so")
    assert stored["metadata"]["broken"]


@pytest.mark.usefixtures("recovering")
@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]", b'{"choices": []}', b'{"error": {"message": "no"}}', b""])
def test_a_hostile_answer_is_a_502_and_the_interaction_says_broken(
    translated: LiveRouter, vllm: VllmStandIn, answer: bytes
) -> None:
    vllm.scripts.append(("application/json", [answer] if answer else []))
    said = chat(translated, stream=False)
    assert (said.status_code, list(said.json())) == (502, ["error"])
    assert "answered wrongly" in said.json()["error"]
    stored = translated.interaction(said.headers["x-flytewheel-interaction"])
    assert (stored["completed"], bool(stored["metadata"]["broken"])) == (False, True)


@pytest.mark.usefixtures("recovering")
def test_openais_own_hostile_stream_passes_untouched_and_is_marked(translated: LiveRouter, vllm: VllmStandIn) -> None:
    data = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: {\n\ndata: [DONE]\n\n'
    vllm.scripts.append((SSE, [data[:30], data[30:]]))
    answer = translated.ask("demo", stream=True)
    assert answer.content == data
    stored = translated.interaction(answer.headers["x-flytewheel-interaction"])
    assert (stored["completed"], stored["response"]) == (False, "a")
    assert stored["metadata"]["broken"] == "an event of the stream is no JSON"


def test_a_backends_refusal_keeps_its_status_and_gets_ollamas_shape(translated: LiveRouter, vllm: VllmStandIn) -> None:
    told = {"message": "max_tokens is\ntoo large", "type": "BadRequestError", "code": 400}
    for body in ({"error": told}, told):  # newer and older vLLM
        vllm.plan["POST /v1/chat/completions"] = (400, body)
        for stream in (False, True):
            answer = chat(translated, stream=stream)
            assert (answer.status_code, answer.json()) == (400, {"error": "max_tokens is too large"})
    vllm.plan.clear()
    with open_openai(translated) as client, pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="flytewheel/demo", input="x")
