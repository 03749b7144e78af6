"""The official clients of OpenAI and Ollama against a real router with a real llama.cpp behind it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import ollama
import openai
import pytest

from tests.router.live import KEY, NOW, LiveRouter
from tests.router.protocols.clients import gather_ollama, gather_openai, open_ollama, open_openai

MODEL = "flytewheel/spoken"
ASKED = [{"role": "system", "content": "Be brief.\n\nContext:\nWords."}, {"role": "user", "content": "Which word?"}]
GREEDY = {"temperature": 0}
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@pytest.fixture(scope="module")
def spoken(router: LiveRouter) -> str:
    """A version that spells `stable`."""
    return router.serve("spoken", "stable")


def post(router: LiveRouter, path: str, **body: Any) -> httpx.Response:
    return router.post(path, json={"model": MODEL, **body}, headers={"x-flytewheel-user": "ada", **KEY})


def test_ollamas_client_chats_whole_and_streamed(router: LiveRouter, spoken: str) -> None:
    with open_ollama(router) as client:
        whole = client.chat(f"{MODEL}:latest", ASKED, options=GREEDY)
        parts = list(client.chat(MODEL, ASKED, options=GREEDY, stream=True))
    assert (whole.message.role, whole.message.content, whole.model) == ("assistant", "stable", f"{MODEL}:latest")
    assert [part.message.content for part in parts] == [*"stable", ""]
    for last in (whole, parts[-1]):
        assert (last.done, last.done_reason, last.eval_count) == (True, "stop", 7)
        assert last.prompt_eval_count is not None
        assert last.prompt_eval_count > 30
        assert last.total_duration is not None
        assert 0 < (last.prompt_eval_duration or 0) < last.total_duration
        assert 0 < (last.eval_duration or 0) < last.total_duration
    assert asyncio.run(gather_ollama(router, MODEL, ASKED)) == ("stable", "stable")


def test_openais_client_chats_completes_and_lists(router: LiveRouter, spoken: str) -> None:
    with open_openai(router) as client:
        whole = client.chat.completions.create(model=MODEL, messages=ASKED, temperature=0, logprobs=True)
        plain = client.completions.create(model=MODEL, prompt="word:\n", temperature=0)
        listed = {model.id: model for model in client.models.list()}
        found = client.models.retrieve(MODEL)
        with pytest.raises(openai.NotFoundError, match="not found"):
            client.models.retrieve("flytewheel/nobody")
        with pytest.raises(openai.NotFoundError, match="served are"):
            client.chat.completions.create(model="flytewheel/nobody", messages=ASKED)
        with pytest.raises(openai.BadRequestError, match="does not embed, it answers: embeddings come from"):
            client.embeddings.create(model=MODEL, input="x")
    assert whole.choices[0].message.content == "stable"
    assert [token.token for token in whole.choices[0].logprobs.content][:6] == [*"stable"]
    assert plain.choices[0].text == "stable"
    assert (listed[MODEL], found.created) == (found, int(NOW.timestamp()))
    assert asyncio.run(gather_openai(router, MODEL, ASKED)) == ("stable", "stable")


def test_what_is_remembered_is_the_same_in_both_protocols(router: LiveRouter, spoken: str) -> None:
    told = {"metadata": {"topic": "words", "session_id": "s-1"}}
    prompt = {"prompt": "Which word?", "system": ASKED[0]["content"]}
    answers = [
        post(router, "/v1/chat/completions", messages=ASKED, stream=stream, **GREEDY, **told)
        for stream in (False, True)
    ]
    for stream in (False, True):
        answers.append(post(router, "/api/chat", messages=ASKED, options=GREEDY, stream=stream, **told))
        answers.append(post(router, "/api/generate", options=GREEDY, stream=stream, **told, **prompt))
    stored = []
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-flytewheel-version"] == spoken
        assert {"x-flytewheel-receipt", "x-flytewheel-arm", "x-flytewheel-unit"} <= set(answer.headers)
        body = router.interaction(answer.headers["x-flytewheel-interaction"])
        for name in ("interaction_id", "timestamp", "latency_ms"):
            del body[name]
        for name in ("endpoint", "stream", "first_token_ms"):
            del body["metadata"][name]
        stored.append(body)
    assert stored == [stored[0]] * 6
    first = stored[0]
    assert (first["query"], first["context"], first["response"]) == ("Which word?", "Words.", "stable")
    assert [turn["content"] for turn in first["history"]] == ["Be brief."]
    assert (first["user_id"], first["topic"], first["completed"]) == ("ada", "words", True)
    assert first["metadata"]["completion_tokens"] == 7


def test_a_stream_comes_piece_by_piece(router: LiveRouter) -> None:
    """An endless answer is read while it goes on: nothing waits for its end. Leaving ends it."""
    router.serve("going", "abcdefgh", endless=True)
    with open_ollama(router) as client:
        parts = client.chat("flytewheel/going", ASKED, options=GREEDY, stream=True)
        said = "".join(next(parts).message.content or "" for _ in range(20))
        parts.close()
    assert said == ("abcdefgh" * 3)[:20]


def test_generate_takes_the_prompt_with_or_without_a_template(router: LiveRouter, spoken: str) -> None:
    with open_ollama(router) as client:
        assert client.generate(MODEL, "Which word?", options=GREEDY).response == "stable"
        raw = client.generate(MODEL, "word:\n", raw=True, options=GREEDY | {"num_predict": 4})
        assert (raw.response, raw.done_reason, raw.prompt_eval_count) == ("stab", "length", 6)
        streamed = client.generate(MODEL, "word:\n", raw=True, options=GREEDY | {"stop": ["b"]}, stream=True)
        assert "".join(part.response for part in streamed) == "sta"
        for loading in (client.generate(MODEL), client.generate(MODEL, "", keep_alive=0)):
            assert (loading.response, loading.done, loading.done_reason) == ("", True, "load")
        assert client.chat(MODEL, []).done_reason == "load"
        with pytest.raises(ollama.ResponseError, match="does not support insert"):
            client.generate(MODEL, "a", suffix="b")
        with pytest.raises(ollama.ResponseError, match="send the turns to /api/chat"):
            client.generate(MODEL, "a", context=[1, 2])


def test_json_and_logprobs_are_asked_in_ollamas_words(router: LiveRouter, spoken: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    with open_ollama(router) as client:
        options = GREEDY | {"num_predict": 60}
        assert client.chat(MODEL, ASKED, format="json", options=options).message.content.lstrip().startswith("{")
        held = client.generate(MODEL, "?", format=schema, options=options).response
        assert held.lstrip().startswith("{")
        assert '"a"' in held
        whole = client.chat(MODEL, ASKED, logprobs=True, top_logprobs=2, options=GREEDY)
        parts = list(client.chat(MODEL, ASKED, logprobs=True, options=GREEDY, stream=True))
    tokens = whole.logprobs
    assert [token.token for token in tokens][:6] == [*"stable"]
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens)
    assert [part.logprobs[0].token for part in parts[:6]] == [*"stable"]
    assert parts[0].logprobs[0].top_logprobs is None


def test_models_are_told_honestly(router: LiveRouter, spoken: str) -> None:
    file = router.registry.show("spoken", spoken).files["model.gguf"]
    with open_ollama(router) as client:
        listed = {model.model: model for model in client.list().models}
        shown = client.show(MODEL)
        running = {model.model: model for model in client.ps().models}
        with pytest.raises(ollama.ResponseError, match="'nobody' not found") as caught:
            client.show("nobody")
        assert caught.value.status_code == 404
        with pytest.raises(ollama.ResponseError, match="registered and released by flytewheel") as caught:
            client.pull("nobody")
        assert caught.value.status_code == 403
    model = listed[f"{MODEL}:latest"]
    assert (model.digest, model.size, model.modified_at) == (file.sha256, file.size, NOW)
    assert (model.details.format, model.details.family) == ("gguf", "llama")
    # Counted by hand: 2·259·320 + 4·320² + 3·320·32 + 3·320.
    assert model.details.parameter_size == shown.details.parameter_size == "607.0K"
    assert "<|im_start|>" in shown.template
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == 4096
    assert shown.capabilities == ["completion"]
    assert running[f"{MODEL}:latest"].context_length == 1024


def test_ollamas_clients_find_what_they_look_for_first(router: LiveRouter) -> None:
    for method in ("GET", "HEAD"):
        for path in ("/", "/api/version", "/api/tags"):
            assert router.client.request(method, router.url + path).status_code == 200
    assert router.get("/").text == "Ollama is running"
    assert tuple(map(int, router.get("/api/version").json()["version"].split("."))) >= (0, 12, 11)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/chat", {"model": "flytewheel/nobody", "messages": ASKED}, 404, "served are"),
        ("/api/chat", {"model": "llama3", "messages": ASKED}, 404, "served are"),
        ("/api/chat", {"messages": ASKED}, 400, "names a `model`"),
        ("/api/chat", {"model": MODEL, "messages": [{"role": "robot", "content": "x"}]}, 400, "'robot'"),
        ("/api/chat", {"model": MODEL, "messages": "x"}, 400, "messages must be a list"),
        ("/api/chat", {"model": MODEL, "messages": ASKED, "options": []}, 400, "options must be an object"),
        ("/api/chat", {"model": MODEL, "messages": ASKED, "format": 1}, 400, "format must be"),
        ("/api/chat", {"model": MODEL, "messages": [{"role": "user", "content": "w " * 3000}]}, 400, "context"),
        ("/api/chat", {"model": MODEL, "messages": ASKED, "options": {"temperature": "hot"}}, 400, "temperature"),
        ("/api/chat", {"model": MODEL, "messages": [ASKED[1] | {"images": [PICTURE]}]}, 400, "image input is not"),
        ("/api/chat", {"model": MODEL, "messages": [ASKED[1] | {"images": ["x"]}]}, 400, "pictures in base64"),
        ("/api/generate", {"model": MODEL, "prompt": 3}, 400, "must be text"),
        ("/api/embed", {"model": MODEL, "input": "x"}, 400, "does not embed, it answers: embeddings come from"),
        ("/api/embeddings", {"model": MODEL}, 400, "prompt must be text"),
        ("/api/show", {"model": "flytewheel/nobody"}, 404, "not found"),
        ("/api/show", {"model": 3}, 422, "model"),
    ],
)
def test_refusals_have_ollamas_shape(
    router: LiveRouter, spoken: str, path: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = router.post(path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_who_has_no_key_is_told_so_in_ollamas_shape(router: LiveRouter) -> None:
    for path in ("/api/chat", "/api/show"):
        answer = httpx.post(router.url + path, json={"model": MODEL}, trust_env=False)
        assert (answer.status_code, list(answer.json())) == (401, ["error"])
        assert isinstance(answer.json()["error"], str)
    broken = router.post("/api/chat", content=b"{")
    assert (broken.status_code, isinstance(broken.json()["error"], str)) == (400, True)
