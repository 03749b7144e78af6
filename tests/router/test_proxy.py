from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from flytewheel.experiment.assign import choose_arm
from router.asgi import CONNECTION
from router.backends.kinds import serve_by_llama
from router.backends.pool import BackendPool
from router.backends.served import ServedModel
from router.proxy import ChatProxy
from router.receipts import ReceiptBook
from router.state import Route, close_state
from tests.router.hot_path import open_hot_state
from tests.router.live import ASSIGNMENT_KEY, LiveRouter, wait_until
from tests.router.spelling_model import write_spelling_model

KEY = ASSIGNMENT_KEY.encode()


def stream_text(raw: str) -> str:
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


@pytest.fixture(scope="module")
def plain(router: LiveRouter) -> str:
    """A model with a champion and no experiment."""
    router.serve("plain", "stable")
    return "plain"


def test_a_stream_spells_what_the_plain_answer_says(router: LiveRouter, plain: str) -> None:
    whole = router.ask(plain)
    assert whole.status_code == 200
    assert whole.json()["choices"][0]["message"]["content"] == "stable"
    streamed = router.ask(plain, stream=True)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in streamed.headers
    assert stream_text(streamed.text) == "stable"
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_a_stream_is_the_backends_own_bytes(router: LiveRouter, plain: str) -> None:
    events = router.ask(plain, stream=True).text.split("\n\n")
    assert [len(event.splitlines()) for event in events[:-1]] == [1] * (len(events) - 1)
    first = json.loads(events[0].removeprefix("data: "))
    assert first["model"].startswith("flytewheel/plain@v1.202647.")
    assert first["object"] == "chat.completion.chunk"


def test_headers_name_the_answer_and_drop_what_belongs_to_the_connection(router: LiveRouter, plain: str) -> None:
    headers = router.ask(plain).headers
    assert headers["x-flytewheel-arm"] == "champion"
    assert headers["x-flytewheel-version"] == router.registry.get_alias(plain, "champion")
    said = ReceiptBook(KEY).read(headers["x-flytewheel-interaction"], headers["x-flytewheel-receipt"], time.time())
    assert (said.user, said.source, said.arm, said.experiment_id) == ("ada", plain, "champion", None)
    assert headers["x-flytewheel-unit"] == "user"
    assert headers["content-type"].startswith("application/json")
    for name in ("keep-alive", "access-control-allow-origin", "x-flytewheel-experiment"):
        assert name not in headers


def test_an_answer_is_remembered_with_its_parts(router: LiveRouter, plain: str) -> None:
    answer = router.ask(
        plain,
        messages=[
            {"role": "system", "content": "Be brief.\n\nContext:\nWords are short."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "Two."},
            {"role": "user", "content": "Which\0word?"},
        ],
        metadata={"topic": "words", "session_id": "s-1"},
    )
    body = router.interaction(answer.headers["x-flytewheel-interaction"])
    assert body["query"] == "Which�word?"
    assert body["context"] == "Words are short."
    assert [turn["content"] for turn in body["history"]] == ["Be brief.", "One?", "Two."]
    assert (body["response"], body["topic"], body["session_id"]) == ("stable", "words", "s-1")
    assert body["user_id"] == "ada"
    assert body["completed"] is True
    assert body["model_digest"] == router.registry.show(plain, "champion").files["model.gguf"].sha256
    assert 0 < body["metadata"]["first_token_ms"] <= body["latency_ms"]
    assert body["metadata"]["completion_tokens"] == 7  # six letters and the end of turn
    assert router.rows("SELECT source FROM interactions WHERE interaction_id = %s", body["interaction_id"]) == [
        (plain,)
    ]


def test_a_stream_is_remembered_like_a_plain_answer(router: LiveRouter, plain: str) -> None:
    body = router.interaction(router.ask(plain, stream=True).headers["x-flytewheel-interaction"])
    assert (body["response"], body["completed"], body["metadata"]["finish_reason"]) == ("stable", True, "stop")
    assert body["metadata"]["completion_tokens"] == 7


def test_completions_take_a_prompt(router: LiveRouter, plain: str) -> None:
    answer = router.post(
        "/v1/completions",
        json={"model": "flytewheel/plain", "prompt": "word:\n", "temperature": 0, "max_tokens": 16, "user": "ada"},
    )
    assert answer.json()["choices"][0]["text"] == "stable"
    body = router.interaction(answer.headers["x-flytewheel-interaction"])
    assert (body["query"], body["response"]) == ("word:\n", "stable")


def test_without_a_user_the_caller_is_one_unit(router: LiveRouter, plain: str) -> None:
    one, two = router.ask(plain, user=None), router.ask(plain, user=None)
    assert one.headers["x-flytewheel-unit"] == "api-key"
    users = {router.interaction(answer.headers["x-flytewheel-interaction"])["user_id"] for answer in (one, two)}
    assert len(users) == 1
    assert users.pop().startswith("anon-")
    named = router.post(
        "/v1/chat/completions",
        json={"model": "flytewheel/plain", "messages": [{"role": "user", "content": "?"}]},
        headers={"x-flytewheel-user": "grace"},
    )
    assert router.interaction(named.headers["x-flytewheel-interaction"])["user_id"] == "grace"


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "names a `model`"),
        (b'{"model": "flytewheel/plain"}', 400, "messages must be a list"),
        (b'{"model": "flytewheel/plain", "messages": [{"role": "king", "content": "x"}]}', 400, "role 'king'"),
        (b'{"model": "flytewheel/plain", "messages": [{"role": "user", "content": "x"}], "user": 3}', 400, "user must"),
        (b'{"model": "flytewheel/none", "messages": [{"role": "user", "content": "x"}]}', 404, "flytewheel/plain"),
        (b'{"model": "plain", "messages": [{"role": "user", "content": "x"}]}', 404, "no model 'plain'"),
        (b" " * ((20 << 20) + 1), 413, "larger than 20971520 bytes"),
    ],
)
def test_a_wrong_request_is_refused_in_openais_shape(
    router: LiveRouter, plain: str, content: bytes, status: int, said: str
) -> None:
    for body in (content, iter([content])):  # announced by its length, and chunked
        answer = router.post("/v1/chat/completions", content=body)
        assert answer.status_code == status
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert said in error["message"]
        assert "\n" not in error["message"]


def test_a_backends_own_refusal_passes_through_and_is_no_answer(router: LiveRouter, plain: str) -> None:
    answer = router.ask(plain, messages=[{"role": "user", "content": "word " * 3000}])
    assert answer.status_code == 400
    assert "context" in answer.json()["error"]["message"]
    query = "SELECT count(*) FROM interactions WHERE interaction_id = %s"
    assert router.rows(query, answer.headers["x-flytewheel-interaction"]) == [(0,)]


def test_a_client_that_leaves_stops_the_backend(router: LiveRouter) -> None:
    version = router.serve("leaving", "abcdefgh", endless=True)
    body = {
        "model": "flytewheel/leaving",
        "messages": [{"role": "user", "content": "?"}],
        "stream": True,
        "max_tokens": -1,
        "user": "ada",
    }
    with router.client.stream("POST", router.url + "/v1/chat/completions", json=body) as answer:
        interaction_id = answer.headers["x-flytewheel-interaction"]
        chunks = answer.iter_text()
        seen = next(chunks) + next(chunks)
    assert "data: " in seen
    stored = router.interaction(interaction_id)
    assert stored["completed"] is False
    assert stored["metadata"]["broken"] == "the client went away"
    assert stored["response"].startswith("a")
    wait_until(lambda: (router.backend("leaving", version) or {})["inflight"] == 0, what="the lease given back")


def test_a_client_that_hangs_up_at_the_end_of_the_stream_had_its_answer(database_url: str, tmp_path: Path) -> None:
    """Driven as ASGI, so that the client surely is gone between [DONE] and the connection's end."""
    file = write_spelling_model(tmp_path / "model.gguf", "stable")
    body = {"model": "flytewheel/demo", "messages": [{"role": "user", "content": "?"}], "stream": True, "user": "ada"}
    connection = SimpleNamespace(lost=False, gone=None)
    scope = {
        "type": "http",
        "path": "/v1/chat/completions",
        "headers": [],
        "client": None,
        CONNECTION: connection,
    }

    async def run() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(body | {"temperature": 0}).encode()}

        async def send(message: MutableMapping[str, Any]) -> None:
            if b"[DONE]" in message.get("body", b""):
                assert connection.gone is not None
                asyncio.get_running_loop().call_soon(connection.gone)
                await asyncio.Event().wait()  # a client that is gone takes nothing more

        pool = BackendPool(lambda name, version: ServedModel(name, version, "d", file), serve_by_llama(tmp_path))
        state = open_hot_state(database_url, tmp_path, pool)
        state.routes = {"demo": Route("demo", "v1")}
        state.loaded.set()
        await state.pool.ensure("demo", "v1")
        async with asyncio.timeout(30):
            await ChatProxy(state)(scope, receive, send)
            while not await asyncio.to_thread(read):  # it is written behind the client's back
                await asyncio.sleep(0.02)
        await close_state(state)

    def read() -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url) as connection:
            return connection.execute("SELECT body ->> 'response', body -> 'completed' FROM interactions").fetchall()

    asyncio.run(run())
    assert read() == [("stable", True)]


def test_a_backend_that_dies_within_a_stream_leaves_an_unfinished_answer(router: LiveRouter) -> None:
    version = router.serve("dying", "abcdefgh", endless=True)
    backend = router.backend("dying", version)
    assert backend is not None
    body = {
        "model": "flytewheel/dying",
        "messages": [{"role": "user", "content": "?"}],
        "stream": True,
        "max_tokens": -1,
        "user": "ada",
    }
    with router.client.stream("POST", router.url + "/v1/chat/completions", json=body, timeout=30) as answer:
        chunks = answer.iter_text()
        seen = next(chunks)
        os.kill(backend["pid"], signal.SIGKILL)
        seen += "".join(chunks)
    assert "[DONE]" not in seen
    assert "broke off" in json.loads(seen.strip().splitlines()[-1].removeprefix("data: "))["error"]["message"]
    stored = router.interaction(answer.headers["x-flytewheel-interaction"])
    assert (stored["completed"], stored["metadata"]["broken"]) == (False, "ClientPayloadError")
    assert stored["response"].startswith("a")


def test_users_are_split_by_share_and_stay(router: LiveRouter) -> None:
    """300 users at a share of 0.3: standard deviation sqrt(300·0.3·0.7) = 7.9, so 90 ± 32 holds at 4 deviations."""
    control = router.serve("split", "stable")
    treatment = router.register("split", "candy")
    experiment = router.launch("split", control, treatment, share=0.3).json()["experiment"]["experiment_id"]

    def ask(number: int) -> tuple[str, str, str, str]:
        answer = router.ask("split", f"user-{number}")
        headers = answer.headers
        assert headers["x-flytewheel-experiment"] == experiment
        content = answer.json()["choices"][0]["message"]["content"]
        return (
            headers["x-flytewheel-arm"],
            headers["x-flytewheel-version"],
            content,
            headers["x-flytewheel-interaction"],
        )

    with ThreadPoolExecutor(4) as threads:
        met = list(threads.map(ask, range(300)))
        again = list(threads.map(ask, range(40)))
    assert [turn[:3] for turn in again] == [turn[:3] for turn in met[:40]]
    expected = {"control": (control, "stable"), "treatment": (treatment, "candy")}
    for number, (arm, version, content, _) in enumerate(met):
        assert (version, content) == expected[arm]
        assert arm == choose_arm(KEY, experiment, f"user-{number}", 0.3).arm
    assert abs(sum(arm == "treatment" for arm, *_ in met) - 90) <= 32
    arm, _, _, interaction_id = met[0]
    body = router.interaction(interaction_id)
    assert (body["arm"], body["experiment_id"]) == (arm, experiment)
    assert body["propensity"] == pytest.approx(0.3 if arm == "treatment" else 0.7)


def test_a_killed_canary_is_answered_for_by_control_and_comes_back(router: LiveRouter) -> None:
    control = router.serve("killed", "stable")
    treatment = router.register("killed", "candy")
    router.launch("killed", control, treatment, share=1.0)
    backend = router.backend("killed", treatment)
    assert backend is not None
    file = router.home / "models" / "killed" / treatment / "model.gguf"
    file.rename(file.with_suffix(".away"))  # so that it cannot come back before it is asked
    os.kill(backend["pid"], signal.SIGKILL)
    for stream in (False, True):
        answer = router.ask("killed", stream=stream)
        assert answer.status_code == 200
        headers = answer.headers
        assert headers["x-flytewheel-fallback"] == "control"
        assert headers["x-flytewheel-arm"] == "treatment"
        assert headers["x-flytewheel-version"] == control
        body = router.interaction(headers["x-flytewheel-interaction"])
        assert (body["arm"], body["model_version"], body["response"]) == ("treatment", control, "stable")
        assert body["metadata"]["served_arm"] == "control"
        assert body["metadata"]["assigned_version"] == treatment
        assert body["model_digest"] == router.registry.show("killed", control).files["model.gguf"].sha256
    assert f'arm="treatment",name="killed",status="fallback",version="{treatment}"' in router.get("/metrics").text
    file.with_suffix(".away").rename(file)

    def recovered() -> bool:
        return router.ask("killed").headers["x-flytewheel-version"] == treatment

    wait_until(recovered, what="the canary serves again")
    backend = router.backend("killed", treatment)
    assert backend is not None
    assert backend["restarts"] >= 1
    assert router.ask("killed").json()["choices"][0]["message"]["content"] == "candy"


def test_a_killed_champion_is_waited_for(router: LiveRouter) -> None:
    version = router.serve("waited", "stable")
    backend = router.backend("waited", version)
    assert backend is not None
    os.kill(backend["pid"], signal.SIGKILL)
    answer = router.ask("waited")
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "stable"
