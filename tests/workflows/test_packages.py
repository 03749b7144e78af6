"""What Flyte is told of every task, workflow and launch plan, read back from the protobuf of `pyflyte package`."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from images.domain import read_domain
from tests.workflows.packages import REPOSITORY, Package, read_package, to_pod

LARGE = {"tasks.train.train_sft", "tasks.train.train_reward", "tasks.train.align"}
JUDGED = {"tasks.judge.evaluate", "tasks.export.export_gguf"}
CACHED = {"tasks.curate.prepare_share", "tasks.curate.curate", "tasks.judge.evaluate", *LARGE}
SECRETS = {
    "FLYTEWHEEL_DATABASE_URL": "postgresql://u:never-to-be-seen-1@db/f",
    "FLYTEWHEEL_S3_SECRET_KEY": "never-to-be-seen-2",
    "FLYTEWHEEL_SIGNING_KEY": "-----BEGIN never-to-be-seen-3",
    "FLYTEWHEEL_ADMIN_KEY": "never-to-be-seen-4",
    "FLYTEWHEEL_SLACK_WEBHOOK": "https://hooks.slack.com/services/never-to-be-seen-5",
    "FLYTEWHEEL_PAGERDUTY_KEY": "never-to-be-seen-6",
    "FLYTEWHEEL_SMTP_URL": "smtps://u:never-to-be-seen-7@mail",
    "WANDB_API_KEY": "never-to-be-seen-8",
}
PLANS = {
    "weekly_finetuning": ("0 2 * * 0", "workflows.weekly.weekly"),
    "triggers_hourly": ("0 * * * *", "workflows.triggers.triggers"),
    "rollout_on_register": ("", "workflows.rollout.staged_rollout"),
    "rollout_hourly": ("30 * * * *", "workflows.rollout.rollout"),
    "nightly_calibration": ("15 1 * * *", "workflows.upkeep.nightly_calibration"),
    "daily_data_quality": ("30 5 * * *", "workflows.upkeep.daily_data_quality"),
    "weekly_retention": ("30 3 * * 6", "workflows.upkeep.weekly_retention"),
    "daily_summary": ("0 6 * * *", "workflows.upkeep.daily_summary"),
    "weekly_summary": ("15 6 * * 1", "workflows.upkeep.weekly_summary"),
}
PHASES = {"SUCCEEDED": 4, "FAILED": 6, "ABORTED": 7, "TIMED_OUT": 8}
FAILED = {PHASES[name] for name in ("FAILED", "ABORTED", "TIMED_OUT")}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Production's, with a recipe that names who hears of it, and every secret in the environment."""
    folder = tmp_path_factory.mktemp("production")
    tree = yaml.safe_load((REPOSITORY / "recipes" / "gpu-8b.yaml").read_text(encoding="utf-8"))
    notify = {"slack": ["loop@team.slack.com"], "pagerduty": ["loop@team.pagerduty.com"], "email": ["team@example.org"]}
    tree.setdefault("automation", {})["notify"] = notify
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return read_package(folder, {"FLYTEWHEEL_DOMAIN": "production", "FLYTEWHEEL_RECIPE": str(recipe), **SECRETS})


def containers(package: Package) -> dict[str, dict[str, Any]]:
    """The primary container of every task that runs in a pod of its own."""
    found = {}
    for name, spec in package.tasks.items():
        assert spec.template.WhichOneof("target") == "k8s_pod", f"{name}: its decorator lacks **DECK or **PLAIN"
        (container,) = to_pod(spec)["containers"]
        found[name] = container
    return found


def test_launch_plans_run_when_they_should_one_at_a_time_by_a_recipe_that_others_may_replace(told: Package) -> None:
    named = {name: plan.spec for name, plan in told.plans.items() if "." not in name}
    assert set(named) == set(PLANS)
    for name, spec in named.items():
        cron, workflow = PLANS[name]
        assert spec.entity_metadata.schedule.cron_schedule.schedule == cron
        assert spec.workflow_id.name == workflow
        assert spec.concurrency_policy.max == 1
        assert spec.concurrency_policy.behavior == 1, "CONCURRENCY_LIMIT_BEHAVIOR_SKIP"
        assert set(spec.fixed_inputs.literals) == set()
        ((called, parameter),) = spec.default_inputs.parameters.items()
        assert called == "recipe"
        assert not parameter.required, "a schedule needs every input bound"
        assert parameter.default.scalar.WhichOneof("value") is not None


def test_people_hear_of_failures_everywhere_and_of_endings_where_they_asked(told: Package) -> None:
    for name in PLANS:
        by_channel = {
            each.WhichOneof("type"): (set(each.phases), list(getattr(each, each.WhichOneof("type")).recipients_email))
            for each in told.plans[name].spec.entity_metadata.notifications
        }
        ended = FAILED | ({PHASES["SUCCEEDED"]} if name in {"weekly_finetuning", "weekly_retention"} else set())
        assert by_channel == {
            "slack": (ended, ["loop@team.slack.com"]),
            "email": (ended, ["team@example.org"]),
            "pager_duty": (FAILED, ["loop@team.pagerduty.com"]),
        }, name


def test_the_machines_are_those_of_the_domain(told: Package) -> None:
    domain = read_domain("production")
    for name, container in containers(told).items():
        asked = container["resources"]["requests"]
        large = name in LARGE | JUDGED
        assert (asked.get("gpu") == "1") is large, name  # Flyte's propeller puts the cluster's own name for it
        if large:
            assert (asked["cpu"], asked["memory"]) == ("8", "64Gi") == (domain.large.cpu, domain.large.mem)
        device = told.tasks[name].template.extended_resources.gpu_accelerator.device
        assert device == ("nvidia-h100" if large else ""), name
        assert container["image"].startswith("registry.example.org/flytewheel/flytewheel-")
        assert ("flytewheel-trainer" in container["image"]) is (large or name == "workflows.weekly.train"), name


def test_every_task_is_tried_again_and_ends_in_time_and_trainings_may_be_interrupted(told: Package) -> None:
    for name, spec in told.tasks.items():
        if name == "workflows.weekly.train":  # only describes the trainings, which have their own
            continue
        metadata = spec.template.metadata
        assert metadata.retries.retries >= 1, name
        hours = metadata.timeout.seconds / 3600
        assert hours == (12 if name in {*LARGE, "tasks.judge.evaluate"} else 1), name
        assert metadata.interruptible is (name in LARGE), name
    assert told.tasks["tasks.train.align"].template.metadata.retries.retries == 3


def test_what_is_deterministic_is_cached_under_its_codes_version_and_nothing_with_an_effect_is(told: Package) -> None:
    for name, spec in told.tasks.items():
        metadata = spec.template.metadata
        base = name.partition("map_")[2].rpartition("_")[0] if ".map_" in name else name.rpartition(".")[2]
        cached = base in {each.rpartition(".")[2] for each in CACHED}
        assert metadata.discoverable is cached, name
        assert bool(metadata.discovery_version) is cached, name


def test_pods_are_not_root_and_large_ones_have_shared_memory_and_their_nodes(told: Package) -> None:
    for name, container in containers(told).items():
        pod = to_pod(told.tasks[name])
        security = container["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["serviceAccountName"] == "flytewheel"
        env = {each["name"]: each.get("value") for each in container["env"]}
        assert env["FLYTEWHEEL_DOMAIN"] == "production"
        if name in LARGE | JUDGED:
            assert pod["volumes"] == [{"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}]
            assert container["volumeMounts"] == [{"name": "shared-memory", "mountPath": "/dev/shm"}]
            assert {each["key"] for each in pod["tolerations"]} == {"nvidia.com/gpu", "flytewheel/training"}
        else:
            assert "volumes" not in pod
            assert "tolerations" not in pod


def test_secrets_are_asked_for_by_name_only_and_who_may_sign_is_one_task(told: Package) -> None:
    signing, telling = set(), set()
    for name, spec in told.tasks.items():
        asked = {secret.key: secret for secret in spec.template.security_context.secrets}
        assert {secret.group for secret in asked.values()} <= {"flytewheel"}
        assert all(secret.mount_requirement == 1 for secret in asked.values()), "as an environment variable"
        assert {secret.env_var for secret in asked.values()} <= {f"FLYTEWHEEL_{key.upper()}" for key in asked}
        signing |= {name} if "signing_key" in asked else set()
        telling |= {name} if "slack_webhook" in asked else set()
    assert signing == {"tasks.register.register"}
    assert {"tasks.report.report", "tasks.report.record_failure", "tasks.upkeep.send_summary"} <= telling
    assert "tasks.train.train_sft" not in telling


def test_no_secret_of_the_environment_is_in_what_flyte_is_told(told: Package) -> None:
    assert b"never-to-be-seen" not in told.raw
    assert b"team@example.org" in told.raw  # so the bytes are those that would hold it


def test_everything_reads_well_in_the_console(told: Package) -> None:
    """Each task and workflow says what it is for, each input what it means, in a sentence of its own."""
    for name, spec in {**told.tasks, **told.workflows}.items():
        if ".map_" in name:
            continue  # flytekit gives it its task's interface, without words
        assert len(spec.description.short_description or spec.description.long_description.value) > 15, name
        for variable, described in spec.template.interface.inputs.variables.items():
            assert described.description not in ("", variable), f"{name}: input {variable} has no description"


def test_a_workflow_that_fails_says_where(told: Package) -> None:
    for _, name in PLANS.values():
        node = told.workflows[name].template.failure_node
        assert node.task_node.reference_id.name == "tasks.report.record_failure", name
