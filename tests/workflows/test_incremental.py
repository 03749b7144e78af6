"""A small turn between two full ones, in child processes on the embedded stack, told in fixtures: a full turn makes a
champion → the buffer is full, and a look at the triggers launches a small one that goes on from it → one at a harmful
rate is taken back → after an erasure there is none.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel import runs
from flytewheel.dataset import Dataset
from flytewheel.drift.looks import look
from flytewheel.feedback.simulate import simulate
from flytewheel.feedback.store import FeedbackStore
from flytewheel.local import stack
from flytewheel.recipe import Recipe, load_recipe
from flytewheel.settings import Settings
from flytewheel.turn import fetch_dataset
from registry.manifest import Manifest
from tests.workflows.turns import NAME, NO_RULES, Ended, Place, pyflyte

FLYTEWHEEL = Path(sys.executable).with_name("flytewheel")
SECTIONS: dict[str, dict[str, Any]] = {
    "automation": {
        "auto_experiment": False,
        "incremental": {
            "enable": True,
            "after_interactions": 150,
            "least_hours_between_turns": 1e-6,
            "max_steps": 6,
            "keep_checkpoints": 3,
        },
    },
    # A candidate that changed anything at all is released; the champion itself never is.
    "gate": {**NO_RULES, "regressions": {"max": 1000}},
}


@pytest.fixture(scope="module")
def place(open_dir: Path) -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="small-turns-", dir=open_dir))
    folder.chmod(0o711)
    found = Place(folder)
    yield found
    stack.remove(Settings(home=found.home))


@pytest.fixture(scope="module")
def champion(place: Place) -> Manifest:
    ended = place.run(pyflyte(place.recipe("small", **SECTIONS)), place.environ())
    assert ended.code == 0, ended.errors
    registry = place.registry()
    version = registry.list(NAME)[-1]
    registry.set_alias(NAME, "champion", version.version)
    return version


@pytest.fixture(scope="module")
def small(place: Place, champion: Manifest) -> Ended:
    simulate(place.folder / "week", users=80, interactions=300, seed=11)
    FeedbackStore(place.database_url).import_files(
        place.folder / "week" / "interactions.jsonl.gz",
        place.folder / "week" / "feedback.jsonl.gz",
        source=NAME,
        quarantine_dir=place.folder / "quarantine",
    )
    ended: list[Ended] = []

    def launch(recipe: Recipe, execution: str | None) -> str:
        (place.folder / "launched.json").write_text(recipe.model_dump_json(), encoding="utf-8")
        ended.append(place.run([FLYTEWHEEL, "run", "launched.json"], place.environ(), cwd=place.folder))
        return str(execution)

    recipe = load_recipe(place.folder / "small.yaml")
    looks = [look(place.database_url, recipe, now=datetime.now(UTC), launch=launch) for _ in range(2)]
    (reason,) = looks[0].report.reasons
    assert reason.startswith("small turn: ")
    assert reason.endswith(" interactions since the last turn, due from 150")
    assert looks[0].said.startswith(f"a small turn because of {reason}: ")
    assert looks[1].said.startswith("not due: ")
    assert looks[1].report.new_interactions == looks[0].report.new_interactions  # for a full turn they are new still
    (only,) = ended
    assert only.code == 0, only.errors
    return only


@pytest.fixture(scope="module")
def taken_back(place: Place, small: Ended) -> Ended:
    place.recipe("harmful", training={"learning_rate": 5.0}, rlhf={"enable": False}, **SECTIONS)
    return run_small(place, "harmful.yaml")


def run_small(place: Place, recipe: str) -> Ended:
    ended = place.run([FLYTEWHEEL, "run", recipe, "--incremental"], place.environ(), cwd=place.folder)
    assert ended.code == 0, ended.errors
    return ended


def reports_of(place: Place, turn: int) -> dict[str, Any]:
    return runs.read_reports(place.database_url, place.runs()[turn][0])


def test_a_small_turn_makes_a_version_that_goes_on_from_the_champion(
    small: Ended, champion: Manifest, place: Place
) -> None:
    run_id, status, window = place.runs()[1]
    assert (status, window["number"]) == ("succeeded", 0)
    assert window["low_xid"] == place.runs()[0][2]["high_xid"]
    reports = reports_of(place, 1)
    assert reports["curate"]["replay"] == champion.facts["dataset_digest"]
    assert any(step["name"].startswith("replay") and step["rows_out"] for step in reports["curate"]["steps"])
    trained = reports["train_sft"]
    assert trained["steps"] == 6
    assert trained["start_loss"] > trained["eval_loss"]
    assert f"on from {champion.version}; validation loss " in trained["reason"]
    assert len(list(place.home.glob("checkpoints/sft-*/checkpoint-[246]"))) == 3

    version = place.registry().list(NAME)[-1]
    facts = version.facts
    assert (facts["run_id"], facts["mode"], facts["started_from"]) == (run_id, "incremental", champion.version)
    assert facts["recipe"] == load_recipe(place.folder / "small.yaml").in_mode("incremental").settle().model_dump(
        mode="json"
    )
    assert (champion.facts["mode"], champion.facts["started_from"]) == ("full", "")
    aliases = place.registry().aliases(NAME)
    assert (aliases["champion"], aliases["challenger"]) == (champion.version, version.version)
    assert f"incremental: on from {champion.version}" in small.out


def test_a_harmful_small_turn_is_taken_back_and_the_champion_stays(
    taken_back: Ended, small: Ended, champion: Manifest, place: Place
) -> None:
    assert place.runs()[2][1] == "succeeded"
    reports = reports_of(place, 2)
    assert reports["train_sft"]["taken_back"]
    assert "taken back: validation loss" in reports["train_sft"]["reason"]
    assert "taken back" in taken_back.out
    assert reports["evaluate"]["unchanged"]
    assert reports["gate"]["decision"] == "hold"
    assert reports["gate"]["reasons"][0] == "nothing learnt: the candidate is the champion, weight for weight; it stays"
    assert "export_gguf" not in reports
    assert place.registry().aliases(NAME)["champion"] == champion.version
    assert len(place.registry().list(NAME)) == 3


def test_after_an_erasure_the_turn_is_a_full_one(taken_back: Ended, champion: Manifest, place: Place) -> None:
    """Told without a whole turn: too little has come in for a full one."""
    rows = Dataset(fetch_dataset(place.services, champion.facts["dataset_digest"])).sft("train")
    learnt = next(row for row in rows if row.source == "answer")
    with psycopg.connect(place.database_url) as connection:
        connection.execute("DELETE FROM interactions WHERE interaction_id = ANY(%s)", (list(learnt.interactions),))
    place.recipe("erased", feedback={"files": None}, **SECTIONS)
    ended = run_small(place, "erased.yaml")
    assert "full instead of incremental: " in ended.out
    assert f"that {champion.version} learnt from were erased since" in ended.out
    assert "; not yet: " in ended.out
    assert len(place.runs()) == 3
