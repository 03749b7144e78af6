"""The release of a canary by Flyte's local execution, over a real router: look after look to the end, a person's word
in between, and a run that died taken up by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel.experiment import driving
from flytewheel.experiment.experiments import Experiment, get_experiment
from flytewheel.recipe import Recipe
from tests.experiment.canary import crowd, store
from tests.router import hosting
from tests.router.live import LiveRouter
from tests.services import TestServices
from workflows.rollout import follow_stages, rollout, staged_rollout


@pytest.fixture(scope="module")
def router(services: TestServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRouter]:
    made = hosting.make_router(services, tmp_path_factory.mktemp("rollout"))
    yield made.start()
    made.stop()
    made.client.close()


@pytest.fixture(autouse=True)
def services_of_router(router: LiveRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in router.environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("FLYTEWHEEL_ROUTER_URL", router.url)
    monkeypatch.setenv("FLYTEWHEEL_API_KEY", "unused")


def make_recipe(name: str, **automation: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "base": {"model": "pocket"},
            "ab_testing": {
                "guardrails": [{"metric": "thumbs_up_rate", "relative_margin": 0.3}],
                "initial_traffic_split": 0.25,
                "rollout_stages": [0.25, 0.5, 1.0],
                "stage_duration_hours": 1e-6,
                "holdback_share": 0.1,
            },
            "automation": automation,
        }
    )


def launch(router: LiveRouter, name: str) -> Experiment:
    control, treatment = router.serve(name, "stable"), router.register(name, "candy")
    launched = router.launch(name, control, treatment, share=0.25).json()["experiment"]
    return get_experiment(router.database_url, launched["experiment_id"])


def visit(router: LiveRouter, experiment: Experiment) -> None:
    """Users of both arms at the share that holds now, content with either."""
    experiment = get_experiment(router.database_url, experiment.experiment_id)
    if experiment.running:
        start = router.rows("SELECT count(*) FROM interactions")[0][0]
        others = round(60 * (1 - experiment.share) / experiment.share)
        rows = crowd("control", others, up=0.7) + crowd("treatment", 60, up=0.7)
        store(router.database_url, experiment, rows, start=start)


@pytest.fixture
def visited(router: LiveRouter, monkeypatch: pytest.MonkeyPatch) -> Callable[[Experiment], None]:
    """People come before every look: what a stage's hours would bring, which local runs do not wait for."""
    stepped = driving.step

    def come(experiment: Experiment) -> None:
        def step(*given: Any, **more: Any) -> driving.Step:
            visit(router, experiment)
            return stepped(*given, **more)

        monkeypatch.setattr(driving, "step", step)

    return come


def actions(router: LiveRouter, name: str) -> list[str]:
    rows = router.rows(
        "SELECT action FROM rollout_log l JOIN rollouts r USING (rollout_id) WHERE r.name = %s ORDER BY entry", name
    )
    return [action for (action,) in rows]


def test_a_release_goes_to_everyone_and_leaves_a_holdback(
    router: LiveRouter, visited: Callable[[Experiment], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("tasks.services.tell", lambda message, *_, **__: told.append(message.title))
    experiment = launch(router, "whole")
    visited(experiment)
    said = staged_rollout(recipe=make_recipe("whole", auto_rollout=True))
    assert said.endswith(f"{experiment.treatment} is the champion of whole")
    assert actions(router, "whole") == ["opened", "hold", "advance", "promote", "promoted"]
    assert router.registry.aliases("whole")["champion"] == experiment.treatment
    assert get_experiment(router.database_url, experiment.experiment_id).state == "holdback"
    assert len(router.registry.history("whole", "champion")) == 2
    assert told == ["the canary grows", "promoted"]
    # Once more: nothing is left to do, and nothing is done.
    assert staged_rollout(recipe=make_recipe("whole", auto_rollout=True)) == "none: the rollout is promoted"
    assert rollout(recipe=make_recipe("whole", auto_rollout=True)) == "none: the rollout is promoted"
    assert len(router.registry.history("whole", "champion")) == 2


def test_a_person_is_asked_at_the_node_and_counts_for_that_step(
    router: LiveRouter, visited: Callable[[Experiment], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = launch(router, "asked")
    visited(experiment)
    asked: list[str] = []

    def confirm(question: str, **options: Any) -> bool:
        asked.append(question)
        return True

    monkeypatch.setattr("click.confirm", confirm)
    said = staged_rollout(recipe=make_recipe("asked"))
    assert said.endswith("is the champion of asked")
    assert len(asked) == 2
    taken = actions(router, "asked")
    assert (taken.count("approved"), taken.count("advance"), taken.count("promoted")) == (2, 1, 1)


def test_looks_are_bounded_where_nothing_can_be_told(router: LiveRouter) -> None:
    launch(router, "empty")
    said = follow_stages(recipe=make_recipe("empty", auto_rollout=True), looks=3, after="")
    assert said == "hold: thumbs_up_rate: no data in control and treatment"
    assert set(actions(router, "empty")) == {"opened", "hold"}


def test_a_run_that_died_after_the_alias_was_moved_is_taken_up(
    router: LiveRouter, visited: Callable[[Experiment], None], tmp_path: Path
) -> None:
    experiment = launch(router, "died")
    visited(experiment)
    with psycopg.connect(router.database_url) as connection:
        connection.execute("UPDATE rollouts SET stage = 1 WHERE name = 'died'")
    rollout_id = experiment.experiment_id.replace("exp-", "roll-", 1)
    router.registry.promote("died", experiment.treatment, experiment.control, by=f"rollout {rollout_id}", reason="dies")
    said = staged_rollout(recipe=make_recipe("died", auto_rollout=True))
    assert said.endswith("is the champion of died")
    assert len(router.registry.history("died", "champion")) == 2
    assert actions(router, "died").count("promoted") == 1
