"""Embeddings of a real llama.cpp, behind an OpenAI-compatible address, to the clients of both protocols.

The model's tokens are bytes and their embeddings one-hot, so the mean over a text is known: of "ab" it is 1/√2 at 97
and 98, of length 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.router.live import NOW, LiveRouter
from tests.router.protocols.clients import open_ollama, open_openai
from tests.router.spelling_model import write_spelling_model
from tests.servers.embedding_llama import run_embedding_server

MODEL = "flytewheel/embedder"
HALF = 2**-0.5


@pytest.fixture(scope="module")
def embedder(router: LiveRouter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A version that is somebody's llama.cpp with embeddings."""
    folder: Path = tmp_path_factory.mktemp("embedder")
    with run_embedding_server(write_spelling_model(folder / "model.gguf", "stable")) as url:
        told = {"url": f"{url}/v1", "model": "embedder", "allow": ["127.0.0.0/8"]}
        form = folder / "upstream.json"
        form.write_text(json.dumps(told | {"endpoints": ["chat", "completions", "embeddings"]}))
        version = router.registry.register("embedder", {"upstream.json": form}, facts={}, key="e", now=NOW).version
        answer = router.send("PUT", "/models/embedder/champion", {"version": version})
        assert answer.status_code == 200, answer.text
        yield version


def list_places(vector: list[float]) -> dict[int, float]:
    return {place: pytest.approx(value) for place, value in enumerate(vector) if abs(value) > 1e-6}


def test_both_clients_are_given_the_same_embeddings(router: LiveRouter, embedder: str) -> None:
    wanted = [{97: HALF, 98: HALF}, {99: 1.0}]
    with open_ollama(router) as client:
        told = client.embed(MODEL, ["ab", "c"])
        old = client.embeddings(MODEL, "c")
    with open_openai(router) as client:
        ours = client.embeddings.create(model=MODEL, input=["ab", "c"])  # base64 on the wire, unless told otherwise
        plain = client.embeddings.create(model=MODEL, input="c", encoding_format="float")
    assert [list_places(list(vector)) for vector in told.embeddings] == wanted
    assert [list_places(each.embedding) for each in ours.data] == wanted
    assert list_places(list(old.embedding)) == list_places(plain.data[0].embedding) == wanted[1]
    assert told.prompt_eval_count == ours.usage.prompt_tokens == 3
    assert (told.model, (told.total_duration or 0) > 0) == (MODEL, True)


def test_an_embedding_leaves_no_interaction_and_no_receipt(router: LiveRouter, embedder: str) -> None:
    before = router.rows("SELECT count(*) FROM interactions WHERE source = 'embedder'")
    for path, body in (("/api/embed", {"input": "a"}), ("/v1/embeddings", {"input": "a"})):
        answer = router.post(path, json={"model": MODEL, **body})
        assert (answer.status_code, answer.headers["x-flytewheel-version"]) == (200, embedder)
        assert "x-flytewheel-receipt" not in answer.headers
        assert "x-flytewheel-interaction" not in answer.headers
    answer = router.ask("embedder")
    router.interaction(answer.headers["x-flytewheel-interaction"])  # written after whatever came before
    after = router.rows("SELECT count(*) FROM interactions WHERE source = 'embedder'")
    assert after[0][0] == before[0][0] + 1


def test_what_cannot_be_embedded_is_refused(router: LiveRouter, embedder: str) -> None:
    for body in ({"input": ""}, {"input": []}, {"input": [1]}, {"input": None}, {}):
        answer = router.post("/api/embed", json={"model": MODEL, **body})
        assert (answer.status_code, isinstance(answer.json()["error"], str)) == (400, True), body
    long = router.post("/api/embed", json={"model": MODEL, "input": "word " * 3000})
    assert (400 <= long.status_code < 500, isinstance(long.json()["error"], str)) == (True, True), long.text


def test_somebodys_server_is_told_as_what_is_known_of_it(router: LiveRouter, embedder: str) -> None:
    with open_ollama(router) as client:
        listed = {model.model: model for model in client.list().models}
    model = listed[f"{MODEL}:latest"]
    assert (model.size, model.details.format, model.details.parent_model) == (0, "", "embedder")
    assert model.digest == router.registry.show("embedder", embedder).files["upstream.json"].sha256
