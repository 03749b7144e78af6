"""Copies of the traffic to a candidate: figures of it, and nothing of it where users or their logs are."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from flytewheel.database import connect
from flytewheel.experiment import driving
from flytewheel.experiment.drafts import draft_experiment
from flytewheel.experiment.experiments import get_experiment
from flytewheel.experiment.launch import open_shadow
from flytewheel.experiment.shadows import compare_words, describe_shadow, read_shadow
from flytewheel.recipe import AbTestingSpec, AutomationSpec
from tests.router.live import ADMIN_KEY, LiveRouter, wait_until


def shade(router: LiveRouter, name: str, candidate: str, *, key: str | None = None, **spec: Any) -> dict[str, Any]:
    wanted = {"share": 1.0, "hours": 1.0, "max_concurrency": 8} | spec
    return open_shadow(
        router.url, ADMIN_KEY, name=name, candidate=candidate, launch_key=key or f"{name}-shadow", shadow=wanted
    )


def figures(router: LiveRouter, name: str, candidate: str) -> dict[str, Any]:
    with connect(router.database_url) as connection:
        found = read_shadow(connection, name, candidate)
    assert found is not None
    return found


def ask(router: LiveRouter, name: str, number: int, **options: Any) -> dict[str, str]:
    answer = router.ask(name, f"user-{number}", **options)
    assert answer.status_code == 200
    return dict(answer.headers)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_candidate_sees_copies_and_answers_nobody(router: LiveRouter, stream: bool) -> None:
    name = f"shaded-{stream}".lower()
    champion, candidate = router.serve(name, "stable"), router.register(name, "candy")
    shadow = shade(router, name, candidate)
    assert shade(router, name, candidate) == shadow  # the same launch opens one
    count = 0
    for count in range(1, 200):
        head = ask(router, name, count, stream=stream)
        assert (head["x-flytewheel-version"], head["x-flytewheel-arm"]) == (champion, "champion")
        if figures(router, name, candidate)["answers"] >= 3:
            break
    found = wait_until(lambda: figures(router, name, candidate), what="figures")
    assert (found["errors"], found["similarity"], found["candidate_chars"]) == (0, 0.0, len("candy"))
    assert found["champion_p50_ms"] > 0
    assert found["candidate_p50_ms"] > 0
    told = describe_shadow(found)
    assert told.startswith(f"{candidate} saw ")
    assert "6 → 5 characters; words in common 0%" in told
    # What is remembered is what users asked, and the champion's answers.
    rows = "SELECT count(*), count(DISTINCT body ->> 'model_version') FROM interactions WHERE source = %s"
    wait_until(lambda: router.rows(rows, name) == [(count, 1)], what="as many interactions as questions")


def test_what_goes_wrong_with_a_copy_is_a_figure(router: LiveRouter) -> None:
    """A candidate that talks without end fills its places: copies give way, and whoever asks hears nothing of it."""
    champion, candidate = router.serve("endless", "stable"), router.register("endless", "candy", endless=True)
    shade(router, "endless", candidate, max_concurrency=1)
    versions = {ask(router, "endless", number, max_tokens=200)["x-flytewheel-version"] for number in range(20)}
    assert versions == {champion}
    found = wait_until(lambda: figures(router, "endless", candidate), what="figures")
    assert found["answers"] < 20


def test_its_time_ends_it_and_opens_the_canary(router: LiveRouter) -> None:
    control, candidate = router.serve("after", "stable"), router.register("after", "candy")
    drafted = draft_experiment(
        router.database_url,
        name="after",
        control=control,
        treatment=candidate,
        share=0.25,
        launch_key="after-run",
        body={},
    ).experiment
    shade(router, "after", candidate, key="after-run")
    rules = {"router_url": router.url, "admin_key": ADMIN_KEY, "name": "after", "actor": "test"}

    def look() -> driving.Step:
        return driving.look(router.database_url, AbTestingSpec(), AutomationSpec(), **rules)

    assert look().tick.reasons == ("no rollout of after",)
    assert get_experiment(router.database_url, drafted.experiment_id).draft
    with psycopg.connect(router.database_url) as connection:
        connection.execute("UPDATE shadows SET until = now() WHERE name = 'after'")
    found = look()
    assert (found.tick.experiment_id, found.tick.decision) == (drafted.experiment_id, "hold")
    assert found.drill is not None  # the same look exercised the way back
    assert get_experiment(router.database_url, drafted.experiment_id).running
    assert router.rows("SELECT reason FROM shadows WHERE name = 'after'") == [("a canary opens",)]
    assert look().tick.experiment_id == drafted.experiment_id
    assert len(router.rows("SELECT FROM experiments WHERE name = 'after'")) == 1


def test_bad_wishes_are_refused(router: LiveRouter) -> None:
    champion = router.serve("refused", "stable")
    for body, status in (
        ({"candidate": champion, "share": 0.5, "hours": 1, "launch_key": "k"}, 409),
        ({"candidate": champion, "share": 0, "hours": 1, "launch_key": "k"}, 422),
        ({"candidate": champion, "share": 0.5, "hours": 1e9, "launch_key": "k"}, 422),
        ({"candidate": "v9.209901.1", "share": 0.5, "hours": 1, "launch_key": "k"}, 404),
    ):
        answer = router.send("POST", "/models/refused/shadow", body)
        assert answer.status_code == status, (body, answer.text)
    assert router.rows("SELECT FROM shadows WHERE name = 'refused'") == []


def test_words_in_common() -> None:
    """2·|{a, b} ∩ {b, c}| / (2 + 2) = 1/2."""
    assert compare_words("a b", "B c") == 0.5
    assert compare_words("a b", "b  a") == 1.0
    assert compare_words("", "a") is None
    assert compare_words("\u3000", "a") is None
