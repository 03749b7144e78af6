"""Two answers to one question through the real path: blind, in a random order, chosen by feedback, counted by user."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import openai
import psycopg
import pytest
from aiohttp import web

from flytewheel.database import connect, migrate
from flytewheel.experiment.duels import judge_duels
from flytewheel.experiment.experiments import Experiment, open_experiment
from tests.router.hot_path import HotPath
from tests.router.live import wait_until

AGREED = {"x-flytewheel-duel": "consented"}
TELLING = ("of-v1", "of-v2", "inner-v", "fingerprint", "control", "treatment", "timings", "logprobs", "x-model")
PATH = "/v1/duels/chat/completions"
BODY = {"messages": [{"role": "user", "content": "Which word?"}], "user": "ada"}


async def answer(request: web.Request) -> web.Response:
    version = request.path.split("/")[1]
    if (await request.json()).get("seed") == 2 and version == "v2":
        return web.json_response({"error": {"message": "broken"}}, status=500)
    said = {"role": "assistant", "content": f"said by {version}"}
    body = {
        "id": f"of-{version}", "model": f"inner-{version}", "system_fingerprint": f"b-{version}",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop", "logprobs": {"content": [version]}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4}, "timings": {"predicted_n": 4},
    }  # fmt: skip
    return web.json_response(body, headers={"x-model": version})


@pytest.fixture
def experiment(database_url: str) -> Experiment:
    migrate(database_url)
    return open_experiment(
        database_url, name="demo", control="v1", treatment="v2", share=0.1, launch_key="duels", body={}
    ).experiment


def stored(url: str, interaction_id: str) -> dict[str, Any]:
    def read() -> Any:
        with psycopg.connect(url) as connection:
            query = "SELECT body FROM interactions WHERE interaction_id = %s"
            return connection.execute(query, (interaction_id,)).fetchone()

    found: dict[str, Any] = wait_until(read, what=f"interaction {interaction_id}")[0]
    return found


def choose(router: HotPath, body: dict[str, Any], preferred: str) -> None:
    """Says of the second answer whether it is preferred."""
    one, two = body["choices"]
    sent = {"feedback_type": "duel", "preferred": preferred, "other_response": one["message"]["content"]}
    said = router.client.post("/v1/feedback", json=two["flytewheel"] | sent)
    assert said.status_code == 201, said.text


def test_a_duel_from_question_to_verdict(database_url: str, experiment: Experiment, tmp_path: Path) -> None:
    with HotPath(database_url, tmp_path, answer, experiment) as router:
        orders: Counter[str] = Counter()
        for number in range(24):
            told = router.ask(BODY | {"user": f"u{number}"}, path=PATH, headers=AGREED)
            assert told.status_code == 200, told.text
            body = told.json()
            said = [choice["message"]["content"] for choice in body["choices"]]
            assert sorted(said) == ["said by v1", "said by v2"]
            orders[said[0]] += 1
            hidden = {key: value for key, value in body.items() if key != "choices"}
            for choice in body["choices"]:
                hidden[str(choice["index"])] = {key: value for key, value in choice.items() if key != "message"}
            for place in (json.dumps(hidden), str(told.headers)):
                assert not any(word in place for word in TELLING), place
            for choice in body["choices"]:
                proof = router.state.receipts.read(*choice["flytewheel"].values(), 0.0)
                assert (proof.version, proof.arm, proof.experiment_id) == ("", "duel", None)
            choose(router, body, "this" if said[1] == "said by v2" else "other")
        assert 4 <= orders["said by v1"] <= 20  # of 24 tosses: less than once in a thousand

        pair = [stored(database_url, choice["flytewheel"]["interaction_id"]) for choice in body["choices"]]
        duels = [each["metadata"]["duel"] for each in pair]
        assert {duel["id"] for duel in duels} == {body["flytewheel"]["duel_id"]}
        assert sorted((duel["arm"], each["model_version"]) for duel, each in zip(duels, pair, strict=True)) == [
            ("control", "v1"), ("treatment", "v2"),
        ]  # fmt: skip
        for each in pair:
            assert (each.get("experiment_id"), each.get("arm")) == (None, None)
            assert each["user_id"] == "u23"
        with connect(database_url) as connection:
            found = judge_duels(connection, experiment)
        assert (found.outcome, found.treatment, found.control, found.shown) == ("prefer treatment", 24, 0, 24)


def test_openais_client_reads_both(database_url: str, experiment: Experiment, tmp_path: Path) -> None:
    with (
        HotPath(database_url, tmp_path, answer, experiment) as router,
        openai.OpenAI(base_url=f"http://127.0.0.1:{router.port}/v1/duels", api_key="none") as client,
    ):
        told = client.chat.completions.create(
            model="flytewheel/demo", messages=[{"role": "user", "content": "?"}], extra_headers=AGREED
        )
        assert sorted(str(choice.message.content) for choice in told.choices) == ["said by v1", "said by v2"]
        assert {"interaction_id", "receipt"} == set(told.choices[0].model_extra["flytewheel"])  # type: ignore[index]


def test_what_is_no_duel(database_url: str, experiment: Experiment, tmp_path: Path) -> None:
    with HotPath(database_url, tmp_path, answer, experiment) as router:
        for headers in ({}, {"x-flytewheel-duel": "yes"}):
            refused = router.ask(BODY, path=PATH, headers=headers)
            assert refused.status_code == 400
            assert "users who agreed" in refused.json()["error"]["message"]
        assert router.ask(BODY | {"stream": True}, path=PATH, headers=AGREED).status_code == 400
        assert router.ask({"messages": "x"}, path=PATH, headers=AGREED).status_code == 400
        assert router.seen == []  # nobody was asked
        one = router.ask(BODY | {"seed": 2}, path=PATH, headers=AGREED)  # the treatment fails
        assert [choice["message"]["content"] for choice in one.json()["choices"]] == ["said by v1"]
        assert one.json()["flytewheel"]["duel_id"] is None


def test_without_an_experiment_one_answer_comes_as_ever(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    with HotPath(database_url, tmp_path, answer) as router:
        told = router.ask(BODY, path=PATH, headers=AGREED)
        assert told.json()["choices"][0]["message"]["content"] == "said by v1"
        assert told.headers["x-flytewheel-version"] == "v1"
        assert router.interaction(told)["response"] == "said by v1"
