"""The way back from a canary: exercised before it grows, and gone in earnest, with two workers under traffic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from flytewheel.experiment import driving
from flytewheel.experiment.rollout import tick
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Guardrail
from tests.experiment.canary import crowd, read, store
from tests.router.live import ADMIN_KEY, KEY, LiveRouter, wait_until

RULES = AbTestingSpec(
    guardrails=[Guardrail(metric="thumbs_up_rate", relative_margin=0.3)],
    rollout_stages=(0.25, 0.5, 1.0),
    stage_duration_hours=1e-6,
    initial_traffic_split=0.25,
)
AUTO = AutomationSpec(auto_rollout=True)


@pytest.fixture(scope="module")
def pair(make_router: Callable[[], LiveRouter]) -> Iterator[LiveRouter]:
    """A router with two workers."""
    router = make_router()
    router.environ["FLYTEWHEEL_WORKERS"] = "2"
    yield router.start()
    router.stop()


def launch(router: LiveRouter, name: str) -> tuple[str, str, Any]:
    from flytewheel.experiment.experiments import get_experiment

    control, treatment = router.serve(name, "stable"), router.register(name, "candy")
    launched = router.launch(name, control, treatment, share=0.25).json()["experiment"]
    return control, treatment, get_experiment(router.database_url, launched["experiment_id"])


def fill(router: LiveRouter, experiment: Any, *, treatment: float = 0.7) -> None:
    start = read(router.database_url, "SELECT count(*) FROM interactions")[0][0]
    rows = crowd("control", 180, up=0.7) + crowd("treatment", 60, up=treatment)
    store(router.database_url, experiment, rows, start=start)


def step(router: LiveRouter, name: str) -> driving.Step:
    return driving.step(
        router.database_url, RULES, AUTO, router_url=router.url, admin_key=ADMIN_KEY, name=name, actor="test"
    )


def test_a_canary_grows_only_after_its_way_back_was_exercised(pair: LiveRouter) -> None:
    control, treatment, experiment = launch(pair, "drilled")
    fill(pair, experiment)
    before = pair.rows("SELECT count(*) FROM interactions")
    undrilled = tick(pair.database_url, RULES, AUTO, name="drilled", actor="test")
    assert (undrilled.decision, undrilled.reasons) == ("hold", ("the way back was not exercised yet",))
    assert undrilled.wants_drill
    done = step(pair, "drilled")
    assert done.drill is not None
    assert (done.drill["passed"], done.drill["workers"], done.drill["faults"]) == (True, 2, [])
    assert 0 < done.drill["seconds"] < 10
    assert (done.tick.decision, done.tick.share) == ("advance", 0.5)
    assert done.tick.evidence["drill"]["seconds"] == done.drill["seconds"]
    assert pair.rows("SELECT count(*) FROM interactions") == before  # the drill's requests are nobody's
    assert pair.registry.aliases("drilled") == {"champion": control, "drill": control}
    # Nobody else finds the way, and the users' own was not touched.
    body = {"model": "flytewheel/drilled/drill", "messages": [{"role": "user", "content": "Hello"}]}
    gone = pair.post("/v1/chat/completions", json=body)
    assert gone.status_code == 404
    assert step(pair, "drilled").drill is None  # once is enough
    assert pair.backend("drilled", treatment) is not None


def test_a_way_back_that_fails_or_is_slow_holds_the_canary(pair: LiveRouter) -> None:
    _, _, experiment = launch(pair, "blocked")
    fill(pair, experiment)
    with psycopg.connect(pair.database_url) as connection:
        connection.execute(
            "INSERT INTO rollout_drills (experiment_id, seconds, passed, report) VALUES (%s, 11, true,"
            " '{\"faults\": []}')",
            (experiment.experiment_id,),
        )
    slow = tick(pair.database_url, RULES, AUTO, name="blocked", actor="test")
    assert (slow.decision, slow.reasons) == ("hold", ("the way back took longer than 10 s",))
    assert slow.wants_drill
    path = f"/experiments/{experiment.experiment_id}/drill"
    stranger = pair.post(path, json={})
    assert stranger.status_code == 403
    assert step(pair, "blocked").tick.decision == "advance"


def test_harm_is_taken_back_within_ten_seconds(pair: LiveRouter) -> None:
    """From the stored verdict to the last answer of the canary, with both workers under traffic and nobody asking the
    router to look: the database says so.
    """
    control, treatment, experiment = launch(pair, "harmful")
    answers: list[tuple[float, str]] = []
    over = threading.Event()

    asked = {"model": "flytewheel/harmful", "messages": [{"role": "user", "content": "Which?"}], "max_tokens": 2}

    def ask(number: int) -> None:
        with httpx.Client(timeout=30, trust_env=False, headers=KEY) as client:
            while not over.is_set():
                body = {**asked, "user": f"u{number}-{len(answers)}"}
                answer = client.post(f"{pair.url}/v1/chat/completions", json=body)
                answers.append((time.monotonic(), answer.headers["x-flytewheel-version"]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: {version for _, version in answers} == {control, treatment}, what="both arms answer")
        fill(pair, experiment, treatment=0.1)
        found = tick(pair.database_url, RULES, AUTO, name="harmful", actor="test")
        verdict = time.monotonic()
        assert found.decision == "roll_back"
        wait_until(lambda: len([at for at, _ in answers if at > verdict + 1]) > 40, what="traffic after the verdict")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    last = max(at for at, version in answers if version == treatment)
    assert last - verdict < 10
    assert {version for at, version in answers if at > max(last, verdict)} == {control}
    wait_until(lambda: pair.backend("harmful", treatment) is None, what="the version is unloaded")
