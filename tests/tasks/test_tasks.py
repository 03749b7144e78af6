"""What Flyte is told about each task and workflow: local runs ignore most of it, so it is asserted here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flytekit import LaunchPlan
from flytekit.models.concurrency import ConcurrencyLimitBehavior

from flytewheel.curation import build, prepare
from flytewheel.recipe import Recipe
from flytewheel.runs import STATIONS
from tasks.curate import prepare_share
from tasks.train import align, train_reward, train_sft
from workflows import launch_plans
from workflows.triggers import triggers
from workflows.weekly import learn, release, train, weekly

NODES: dict[str, Any] = {
    node.flyte_entity.name.rpartition(".")[2]: node.flyte_entity
    for workflow in (learn, release)
    for node in workflow.nodes
}
TRAINING = {"train_sft": train_sft, "train_reward": train_reward, "align": align}
TASKS = {**{name: entity for name, entity in NODES.items() if name in STATIONS}, **TRAINING}
SHELLS: dict[str, Any] = {
    **TASKS,
    **{
        entity.name.rpartition(".")[2]: entity
        for node in (*weekly.nodes, *triggers.nodes, weekly.failure_node)
        if hasattr(entity := node.flyte_entity, "metadata")
    },
}
TRAINED = {"train_sft", "train_reward", "align"}
PURE = {"curate", *TRAINED, "evaluate"}


def test_the_weekly_workflow_is_the_loop_in_its_order() -> None:
    dealt, mapped, *stations = NODES
    stations.remove("read_mutes")  # what a person muted, before the evaluation
    stations.remove("start_rollout")  # on a cluster: the release begins, and is not waited for
    at = stations.index("train")
    assert (*stations[:at], *TRAINING, *stations[at + 1 :]) == STATIONS
    assert train.container_image.name == "flytewheel-trainer"
    assert (dealt, NODES[mapped].python_function_task) == ("deal_window", prepare_share)
    assert [node.flyte_entity.name.rpartition(".")[2] for node in weekly.nodes] == [
        "open_turn",
        "enough_feedback",
        "gate",
        "report",
    ]
    for (name, branch), (then, otherwise) in zip(
        [(node.flyte_entity.name, node.flyte_entity) for node in weekly.nodes[1:3]],
        [(learn.name, "wait_for_more"), (release.name, "keep_champion")],
        strict=True,
    ):
        cases = branch._ifelse_block
        assert cases.case.then_node.flyte_entity.name == then, name
        assert cases.else_node.flyte_entity.name.endswith(otherwise), name
    assert weekly.failure_node.flyte_entity.name == "tasks.report.record_failure"


def test_the_evaluation_is_handed_what_was_trained_and_its_judge() -> None:
    (node,) = [node for node in learn.nodes if node.flyte_entity is NODES["evaluate"]]
    bound = {binding.var: binding.binding.promise for binding in node.bindings if binding.binding.promise}
    assert {name: bound[name].var for name in ("candidate", "reward_model")} == {
        "candidate": "candidate",
        "reward_model": "reward_model",
    }
    assert list(train.python_interface.outputs) == ["candidate", "reward_model"]


def test_a_turn_is_opened_reported_and_watched_by_tasks_of_their_own() -> None:
    assert set(SHELLS) == {*STATIONS, "open_turn", "report", "record_failure", "check_triggers"}


@pytest.mark.parametrize("name", SHELLS)
def test_every_task_is_tried_again_timed_out_and_given_resources_and_secrets(name: str) -> None:
    shell = SHELLS[name]
    assert shell.metadata.retries >= 1
    assert timedelta(0) < shell.metadata.timeout <= timedelta(hours=12)
    assert shell.resources.requests.cpu
    assert shell.resources.requests.mem
    assert {secret.group for secret in shell.security_context.secrets} == {"flytewheel"}
    assert {secret.env_var for secret in shell.security_context.secrets} >= {
        "FLYTEWHEEL_DATABASE_URL",
        "FLYTEWHEEL_S3_SECRET_KEY",
        "FLYTEWHEEL_ADMIN_KEY",
    }
    assert shell.container_image.name.startswith("flytewheel-")


@pytest.mark.parametrize("name", STATIONS)
def test_every_station_has_a_deck_without_the_list_of_packages(name: str) -> None:
    assert TASKS[name].enable_deck
    assert {field.value for field in TASKS[name].deck_fields} == {"Input", "Output"}


@pytest.mark.parametrize("name", SHELLS)
def test_only_the_pure_ones_are_cached_and_not_by_their_run(name: str) -> None:
    metadata = SHELLS[name].metadata
    assert metadata.cache is (name in PURE)
    if name in PURE:
        assert metadata.cache_version
        assert metadata.cache_ignore_input_vars == ("run_id",)


def test_cache_versions_are_those_of_the_core() -> None:
    from flytewheel.evaluation import evaluate
    from flytewheel.training import checkpoints

    versions = {name: TASKS[name].metadata.cache_version for name in PURE}
    assert versions == {
        "curate": build.CODE_VERSION,
        **dict.fromkeys(TRAINED, checkpoints.CODE_VERSION),
        "evaluate": evaluate.CODE_VERSION,
    }


def test_partitions_are_prepared_once_for_the_same_rows_and_rules() -> None:
    assert prepare_share.metadata.cache
    assert prepare_share.metadata.cache_version == f"{build.CODE_VERSION} {prepare.FORMAT}"
    assert prepare_share.metadata.retries >= 1
    assert "run_id" not in prepare_share.interface.inputs


@pytest.mark.parametrize("name", STATIONS)
def test_what_loads_a_model_asks_for_a_gpu_and_the_trainers_image(name: str) -> None:
    heavy = name in {*TRAINED, "evaluate", "export_gguf"}
    assert (TASKS[name].resources.requests.gpu == "1") is heavy
    assert TASKS[name].container_image.name == ("flytewheel-trainer" if heavy else "flytewheel-core")
    assert bool(TASKS[name].metadata.interruptible) is (name in TRAINED)  # they go on from checkpoints


def test_nothing_starts_by_itself_in_development_and_each_launch_plan_runs_once_at_a_time() -> None:
    """Other domains' schedules: tests/workflows/test_packages.py."""
    plans = [found for found in vars(launch_plans).values() if isinstance(found, LaunchPlan)]
    assert len(plans) == 9
    for found in plans:
        assert found.schedule is None
        assert found.concurrency.max_concurrency == 1
        assert found.concurrency.behavior == ConcurrencyLimitBehavior.SKIP
        assert found.parameters.parameters["recipe"].required is not True


def test_notifications_go_where_the_recipe_says() -> None:
    def choose(endings: bool, **notify: list[str]) -> list[tuple[str, int]]:
        recipe = Recipe.model_validate({"name": "demo", "base": {"model": "pocket"}, "automation": {"notify": notify}})
        found = launch_plans.choose_notifications(recipe, endings=endings)
        return [(type(each).__name__, len(each.phases)) for each in found]

    people = {"slack": ["a@example.org"], "pagerduty": ["b@example.org"], "email": ["c@example.org"]}
    assert choose(True) == []
    assert choose(True, **people) == [("Slack", 4), ("Email", 4), ("PagerDuty", 3)]  # failures only
    assert choose(False, **people) == [("Slack", 3), ("Email", 3), ("PagerDuty", 3)]
