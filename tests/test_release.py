"""From a judged candidate to versions in a real registry, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel import release, runs
from flytewheel.errors import RegistryError, RouterError
from flytewheel.local.services import Services
from flytewheel.models import base_digest
from flytewheel.recipe import AbTestingSpec, AutomationSpec, BaseModelSpec, Recipe
from flytewheel.records import Message
from flytewheel.signed_registry import open_registry
from registry.store import ObjectStore
from tests.releases import LORA, REPORTS, judge_run, place_services, register, write_export
from tests.router.spelling_model import write_spelling_model

POCKET = BaseModelSpec(model="pocket")


@pytest.fixture
def here(
    database_url: str, store: ObjectStore, services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Services:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return place_services(database_url, store.bucket, services, tmp_path / "home")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return write_export(tmp_path / "exported")


def test_the_first_turn_registers_the_base_as_champion_and_the_candidate(here: Services, exported: Path) -> None:
    run = judge_run(here)
    assert register(here, run, exported) == ("v1.202647.1", "v1.202647.0")
    assert register(here, run, exported) == ("v1.202647.1", "v1.202647.0")  # again: nothing new
    registry = open_registry(here)
    base, candidate = registry.list("oncall")
    assert registry.aliases("oncall") == {"champion": base.version, "challenger": candidate.version}
    assert sorted(candidate.files) == [
        "README.md",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "bom.cdx.json",
        "model-Q8_0.gguf",
    ]
    assert (base.facts["kind"], candidate.facts["kind"]) == ("base", "candidate")
    assert candidate.facts["verdict"] == "promote_to_canary"
    assert candidate.facts["judged_against"] == "base"
    assert candidate.facts["base_digest"] == base.facts["base_digest"] == base_digest(POCKET)


def test_later_turns_register_the_candidate_only(here: Services, exported: Path) -> None:
    register(here, judge_run(here), exported)
    second = register(here, judge_run(here, seed=8), exported, champion="v1.202647.0")
    assert second == ("v1.202647.2", "v1.202647.0")
    registry = open_registry(here)
    assert registry.aliases("oncall") == {"champion": "v1.202647.0", "challenger": "v1.202647.2"}
    assert registry.show("oncall", "challenger").facts["judged_against"] == "v1.202647.0"


def test_a_kill_before_any_write_leaves_whole_versions_or_none(here: Services, exported: Path) -> None:
    judged = [judge_run(here, name=f"model-{number}") for number in range(36)]
    environ = {**os.environ, "PYTHONPATH": str(release.CODE)}
    script = Path(__file__).with_name("register_child.py")
    command = [sys.executable, str(script), json.dumps(here.environ()), str(exported), *(run.run_id for run in judged)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=240, check=False)
    codes = [int(line) for line in done.stdout.split()]
    assert codes[-1] == 0, done.stderr
    assert set(codes[:-1]) == {-signal.SIGKILL}
    registry = open_registry(here)
    seen = []
    for run in judged[: len(codes)]:
        visible = registry.list(run.name)
        seen.append(len(visible))
        for manifest in visible:
            assert {check.state for check in registry.verify(run.name, manifest.version)} == {"ok"}
        assert register(here, run, exported) == ("v1.202647.1", "v1.202647.0")
        assert [manifest.version for manifest in registry.list(run.name)] == ["v1.202647.0", "v1.202647.1"]
        assert registry.aliases(run.name) == {"champion": "v1.202647.0", "challenger": "v1.202647.1"}
    assert seen == sorted(seen)  # the later the kill, the more is there: first nothing, then the base, then both
    assert set(seen) == {0, 1, 2}
    assert len(codes) > 10  # blobs, manifests, claims, pointers, aliases, the log


def test_the_champions_adapter_comes_back_and_only_for_its_own_base(
    here: Services, exported: Path, tmp_path: Path
) -> None:
    register(here, judge_run(here), exported)

    def fetch(version: str, base: BaseModelSpec = POCKET) -> Path | None:
        return release.fetch_adapter(here, "oncall", version, tmp_path / "got", base=base)

    assert fetch("") is None
    assert fetch("v1.202647.0") is None  # the bare base
    adapter = fetch("v1.202647.1")
    assert adapter == tmp_path / "got" / "adapter"
    assert (adapter / "adapter_model.safetensors").read_bytes() == LORA
    assert not (tmp_path / "got" / "model-Q8_0.gguf").exists()
    (tmp_path / "regenerated").mkdir()
    (tmp_path / "regenerated" / "config.json").write_text("{}")
    with pytest.raises(RegistryError, match=r"oncall v1\.202647\.1 was trained on .* bring those weights back"):
        fetch("v1.202647.1", BaseModelSpec(model=str(tmp_path / "regenerated")))


def test_the_champions_full_weights_come_back(here: Services, exported: Path, tmp_path: Path) -> None:
    shutil.rmtree(exported / "candidate" / "adapter")
    weights = exported / "candidate" / "weights"
    weights.mkdir()
    for name in ("config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        (weights / name).write_bytes(LORA if name.endswith(".safetensors") else b"{}")
    register(here, judge_run(here), exported)
    found = release.fetch_adapter(here, "oncall", "v1.202647.1", tmp_path / "got", base=POCKET)
    assert found == tmp_path / "got" / "weights"
    assert sorted(path.name for path in found.iterdir()) == sorted(path.name for path in weights.iterdir())
    assert not (tmp_path / "got" / "model-Q8_0.gguf").exists()


def test_without_auto_experiment_it_only_says_how(here: Services) -> None:
    report = release.launch_canary(
        here,
        judge_run(here),
        version="v1.202647.1",
        control="v1.202647.0",
        ab_testing=AbTestingSpec(),
        automation=AutomationSpec(auto_experiment=False),
    )
    assert report == {
        "skipped": "automation.auto_experiment is off: v1.202647.1 waits in the registry",
        "experiment_id": "",
    }


def judge_slow(here: Services, decision: str, reasons: list[str]) -> dict[str, Any]:
    run = judge_run(here)
    with runs.run_station(here.database_url, here.home, run.run_id, "export_gguf") as station:
        verdict = {"decision": decision, "reasons": reasons, "metrics": {}}
        station.report = {**REPORTS["export_gguf"], "speed": {"verdict": verdict}}
    return release.launch_canary(
        here,
        run,
        version="v1.202647.1",
        control="v1.202647.0",
        ab_testing=AbTestingSpec(),
        automation=AutomationSpec(),
    )


def test_a_version_that_is_too_slow_gets_no_canary_and_the_reason_says_so(here: Services) -> None:
    """The router is away: whoever asks it fails."""
    report = judge_slow(here, "reject", ["for: first_token_ms 9", "against: tokens_per_s 70, champion 100"])
    assert report == {
        "skipped": "v1.202647.1 is registered and gets no canary: against: tokens_per_s 70, champion 100",
        "experiment_id": "",
    }
    with pytest.raises(RouterError):
        judge_slow(here, "promote_to_canary", [])


def test_the_candidates_file_is_measured_against_the_champions_from_the_registry(
    here: Services, exported: Path, tmp_path: Path
) -> None:
    for side, word in (("base", "abc"), ("candidate", "abcd")):
        write_spelling_model(exported / side / "model-Q8_0.gguf", word)
    sections = {"evaluation": {"speed": {"prompts": 2, "tokens": 4}}, "gate": {"tokens_per_s": {"min": 1e9}}}
    prompts = [(Message(role="user", content=f"Question {number}?"),) for number in range(3)]

    def compare(champion: str, **changed: Any) -> dict[str, Any]:
        recipe = Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}, **sections, **changed})
        run = replace(judge_run(here), recipe=recipe)
        return release.compare_speed(
            here, run, exported, champion=champion, prompts=prompts, folder=tmp_path / "champion"
        )

    first = compare("")
    assert first["metrics"]["tokens_per_s"]["users"] == 2
    assert first["verdict"]["decision"] == "reject"
    assert not (tmp_path / "champion").exists()
    register(here, judge_run(here), exported)
    assert compare("v1.202647.0")["metrics"]["first_token_ms"]["champion"]["estimate"] > 0
    assert (tmp_path / "champion" / "model-Q8_0.gguf").read_bytes() == (
        exported / "base" / "model-Q8_0.gguf"
    ).read_bytes()
    off = compare("", evaluation={"speed": {"enable": False}})
    assert (off["verdict"]["decision"], "metrics" in off) == ("hold", False)  # it is asked, and nobody measured
