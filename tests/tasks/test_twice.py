"""Every task of a turn run twice, the first answer lost: one run, one window's rows, one version, one canary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from flytewheel import runs
from flytewheel.experiment.experiments import list_experiments
from tests.router import hosting
from tests.router.live import ROOT, LiveRouter
from tests.services import TestServices

QUICK: dict[str, dict[str, Any]] = {
    "curation": {"augmentation_factor": 1.0, "max_interactions": 1000, "canaries": 0},
    "training": {"max_steps": 3, "checkpoint_every": 3},
    "reward": {"enable": "auto"},
    "rlhf": {"max_steps": 2, "batch_size": 4, "checkpoint_every": 2},
    "evaluation": {
        "max_examples": 2,
        "max_new_tokens": 8,
        "bootstrap_samples": 50,
        "safety": {"enable": False},
        "forgetting": {"suite": None},
    },
    "gate": {},
    "export": {"quantizations": ["Q8_0"], "parity_prompts": 2, "parity_tokens": 4, "parity_positions": 64},
    "automation": {"auto_rollout": True},
}


@pytest.fixture(scope="module")
def router(services: TestServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRouter]:
    made = hosting.make_router(services, tmp_path_factory.mktemp("twice"))
    made.registry  # noqa: B018  # its signing key, before whoever serves by it starts
    yield made.start()
    made.stop()
    made.client.close()


def write_recipe(folder: Path) -> Path:
    from flytewheel.recipe import GateSpec

    tree = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
    for section, fields in QUICK.items():
        tree[section] = {**tree.get(section, {}), **fields}
    tree["gate"] = {**dict.fromkeys(GateSpec.model_fields), "preference_accuracy": {"max_worsening": 1.0}}
    path = folder / "twice.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ran(router: LiveRouter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    folder = tmp_path_factory.mktemp("twice-recipe")
    plain = {key: value for key, value in os.environ.items() if not key.startswith("FLYTEWHEEL_")}
    environ = {**plain, **router.environ, "FLYTEWHEEL_ROUTER_URL": router.url, "FLYTEWHEEL_API_KEY": "unused"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.tasks.twice_child", str(write_recipe(folder))],
        cwd=ROOT,
        env={**environ, "WANDB_SILENT": "true", "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])["ran"]
    return found


def count(router: LiveRouter, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(router.database_url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_every_task_ran_twice(ran: dict[str, int]) -> None:
    assert set(ran) == {
        "open_turn",
        "deal_window",
        "prepare_share",
        "curate",
        "train_sft",
        "train_reward",
        "align",
        "read_mutes",
        "evaluate",
        "gate",
        "export_gguf",
        "register",
        "launch_canary",
        "start_rollout",
        "report",
    }
    assert all(times % 2 == 0 for times in ran.values())


def test_every_effect_is_there_once(ran: dict[str, int], router: LiveRouter) -> None:
    ((run_id, status),) = count(router, "SELECT run_id, status FROM runs")
    assert status == "succeeded"
    reports = runs.read_reports(router.database_url, run_id)
    assert {station: reports[station]["status"] for station in runs.STATIONS} == dict.fromkeys(
        runs.STATIONS, "succeeded"
    ) | {"train_reward": reports["train_reward"]["status"]}
    lines = sum(1 for _ in _open(ROOT / "examples" / "interactions.jsonl.gz"))
    refused, repeated = 8, 12  # of the sample's lines
    assert count(router, "SELECT count(*) FROM interactions") == [(lines - refused - repeated,)]
    assert count(router, "SELECT count(*) FROM quarantine") == [(refused + 87,)]  # of the events, as many as one import
    registry = router.registry
    base, candidate = [each.version for each in registry.list("oncall")]
    assert registry.aliases("oncall") == {"champion": base, "challenger": candidate}
    assert [len(registry.history("oncall", alias)) for alias in ("champion", "challenger")] == [1, 1]
    (experiment,) = list_experiments(router.database_url)
    assert (experiment.control, experiment.treatment, experiment.launch_key) == (base, candidate, run_id)
    assert count(router, "SELECT action FROM rollout_log") == [("opened",)]
    assert count(router, "SELECT count(*) FROM windows WHERE interactions > 0") == [(1,)]


def _open(path: Path) -> Any:
    import gzip

    return gzip.open(path, "rt", encoding="utf-8")
