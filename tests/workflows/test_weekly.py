"""Whole turns: `pyflyte run` in a child process, against the embedded stack. One story on one home, told in fixtures:
too little feedback → killed in SFT → killed at the registry's commit → to its end → a gate that holds → a failure →
a person who overrules that gate.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flytewheel import runs
from flytewheel.experiment.experiments import list_experiments
from flytewheel.experiment.ledger import read_rollout
from flytewheel.feedback.store import FeedbackStore
from flytewheel.local import stack
from flytewheel.models import base_digest
from flytewheel.offline_runs import read_offline_runs
from flytewheel.recipe import load_recipe
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction
from flytewheel.review.store import get_review, list_duels
from flytewheel.settings import Settings
from flytewheel.training.workplace import Workplace
from flytewheel.turn import fetch_dataset, open_store
from registry.manifest import Version
from tests.workflows.holding_proxy import HoldingProxy
from tests.workflows.turns import NAME, NO_RULES, Ended, Place, pyflyte, read_tracked


@dataclass(frozen=True)
class Killed:
    """A turn that was killed: what it had printed, and the one run in the database then."""

    out: str
    run_id: str
    status: str
    window: dict[str, Any]
    visible: tuple[str, ...]


@pytest.fixture(scope="module")
def place(open_dir: Path) -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="turns-", dir=open_dir))
    folder.chmod(0o711)
    found = Place(folder)
    yield found
    stack.remove(Settings(home=found.home))


@pytest.fixture(scope="module")
def too_little(place: Place) -> Ended:
    """Also the first command in this home: nothing runs and nothing is configured before."""
    recipe = place.recipe("too-little", curation={"min_interactions": 5000})
    return place.run(pyflyte(recipe), place.environ())


@pytest.fixture(scope="module")
def proxy(place: Place, too_little: Ended) -> Iterator[HoldingProxy]:
    with HoldingProxy(place.services.s3_url) as found:
        yield found


@pytest.fixture(scope="module")
def small(place: Place) -> Path:
    return place.recipe("small")


@pytest.fixture(scope="module")
def killed_in_sft(place: Place, small: Path, proxy: HoldingProxy) -> Killed:
    def checkpointed() -> bool:
        return bool(list(place.home.glob("checkpoints/sft-*/checkpoint-*/complete")))

    out = place.run_until(pyflyte(small), place.environ(proxy.url), checkpointed)
    return _killed(place, out)


@pytest.fixture(scope="module")
def refused(place: Place, killed_in_sft: Killed) -> Ended:
    """The recipe is edited and the command given again."""
    place.recipe("edited", training={"learning_rate": 1e-4})
    command = Path(sys.executable).with_name("flytewheel")
    return place.run([command, "run", place.folder / "edited.yaml"], place.environ())


@pytest.fixture(scope="module")
def killed_at_commit(place: Place, small: Path, proxy: HoldingProxy, killed_in_sft: Killed, refused: Ended) -> Killed:
    """More feedback comes in between; then the same command is killed where the first version would become visible."""
    store = FeedbackStore(place.database_url)
    now = datetime.now(UTC)
    late = Interaction(interaction_id="late", user_id="late", timestamp=now, query="And now?", response="Wait.")
    assert store.record_interaction(late, NAME) == "stored"
    event = FeedbackEvent(
        event_id="late", interaction_id="late", user_id="late", feedback_type=FeedbackType.THUMBS_UP, timestamp=now
    )
    assert store.record_event(event) == "stored"
    proxy.hold(b"PUT /flytewheel/versions/")
    out = place.run_until(pyflyte(small), place.environ(proxy.url), proxy.reached.is_set)
    proxy.let_pass()
    return _killed(place, out)


@pytest.fixture(scope="module")
def passed(place: Place, small: Path, proxy: HoldingProxy, killed_at_commit: Killed) -> Ended:
    return place.run(pyflyte(small), place.environ(proxy.url))


@pytest.fixture(scope="module")
def held(place: Place, passed: Ended) -> Ended:
    recipe = place.recipe("held", gate=NO_RULES, curation={"window": 1})
    return place.run(pyflyte(recipe), place.environ())


@pytest.fixture(scope="module")
def overruled(place: Place, held: Ended) -> Ended:
    """A person decides otherwise than the gate that held, and runs what the command says."""
    run_id = place.runs()[1][0]
    command = Path(sys.executable).with_name("flytewheel")
    decide = [command, "gate", "override", run_id, "--decision", "promote_to_canary", "--by", "Ann", "--reason"]
    done = place.run([*decide, "the answers were read by hand"], place.environ())
    assert done.code == 0, done.errors
    recipe = place.home / "runs" / run_id / "recipe.json"
    assert f"next: flytewheel run {recipe}" in done.out
    return place.run([command, "run", recipe], place.environ())


def _killed(place: Place, out: str) -> Killed:
    ((run_id, status, window),) = place.runs()
    return Killed(out, run_id, status, window, tuple(found.version for found in place.registry().list(NAME)))


def test_a_bare_pyflyte_starts_the_stack_and_says_where(too_little: Ended, place: Place) -> None:
    assert too_little.code == 0, too_little.errors
    services = place.services  # raises when one of them does not run
    for address in (services.s3_url, services.router_url, services.database_url.rpartition("@")[2]):
        assert f" at {address}" in too_little.out
    assert (place.home / "stack.json").is_file()


def test_too_little_feedback_is_said_and_nothing_is_begun(place: Place, too_little: Ended, proxy: HoldingProxy) -> None:
    assert too_little.code == 0
    assert "not yet: 1,781 of 5,000 interactions in oncall" in too_little.out
    assert "▶" not in too_little.out
    with_recipe = load_recipe(place.folder / "too-little.yaml")
    assert with_recipe not in [run.recipe for run in runs.list_runs(place.database_url)]
    assert not (place.home / "checkpoints").exists()
    assert not list(place.home.glob("runs/*"))


def test_a_turn_killed_in_sft_stays_open(killed_in_sft: Killed, place: Place) -> None:
    assert "opens: 1,781 interactions" in killed_in_sft.out
    assert "▶ train_sft" in killed_in_sft.out
    assert "▶ align" not in killed_in_sft.out
    assert killed_in_sft.status == "running"
    assert killed_in_sft.visible == ()
    assert not list(place.home.glob("checkpoints/sft-*/finished"))


def test_an_edited_recipe_is_refused_by_name(refused: Ended, killed_in_sft: Killed, place: Place) -> None:
    assert refused.code == 1
    (line,) = [line for line in refused.errors.splitlines() if line.startswith("error: ")]
    assert "sft of 'oncall' stopped at step " in line
    rate = load_recipe(place.folder / "small.yaml").training.learning_rate
    assert f"but training.learning_rate is 0.0001 here and {rate} there; take these back to go on" in line
    assert "start anew with --fresh (`flytewheel run RECIPE --fresh`; FLYTEWHEEL_FRESH=1 for pyflyte)" in line
    assert "▶" not in refused.out


def test_the_same_command_goes_on_from_the_checkpoint_with_the_same_window(
    killed_in_sft: Killed, killed_at_commit: Killed, place: Place
) -> None:
    assert killed_at_commit.run_id == killed_in_sft.run_id
    assert f"run {killed_in_sft.run_id} resumes: 1,781 interactions" in killed_at_commit.out
    assert killed_at_commit.window == killed_in_sft.window
    report = runs.read_reports(place.database_url, killed_in_sft.run_id)["train_sft"]
    assert 3 <= report["resumed_from_step"] <= 20
    assert report["steps"] == 20


def test_the_resumed_adapter_is_that_of_an_uninterrupted_training(passed: Ended, place: Place, tmp_path: Path) -> None:
    from flytewheel.training.sft import train_sft

    run_id = place.runs()[0][0]
    reports = runs.read_reports(place.database_url, run_id)
    recipe = load_recipe(place.folder / "small.yaml")
    straight = train_sft(
        fetch_dataset(place.services, reports["curate"]["digest"]),
        tmp_path / "out",
        base=recipe.base,
        training=recipe.training,
        seed=recipe.seed,
        at=Workplace(tmp_path / "checkpoints"),
    )
    assert straight.resumed_from_step == 0
    assert straight.adapter_digest == reports["train_sft"]["adapter_digest"]


def test_a_turn_killed_at_the_commit_leaves_no_visible_version(killed_at_commit: Killed, place: Place) -> None:
    assert "▶ register" in killed_at_commit.out
    assert killed_at_commit.visible == ()
    assert killed_at_commit.status == "running"


def test_a_turn_that_passes_ends_with_one_version_and_a_canary(
    passed: Ended, place: Place, proxy: HoldingProxy
) -> None:
    assert passed.code == 0, passed.errors
    run_id, status, _ = place.runs()[0]
    assert status == "succeeded"
    assert place.stations(run_id) == {**dict.fromkeys(runs.STATIONS, "succeeded"), "train_reward": "skipped"}

    registry = place.registry()
    base, candidate = registry.list(NAME)
    week = Version.of_week(candidate.created_at, 0)
    assert (base.version, candidate.version) == (str(week), str(week._replace(iteration=1)))
    assert registry.aliases(NAME) == {"champion": base.version, "challenger": candidate.version}
    assert {check.state for found in (base, candidate) for check in registry.verify(NAME, found.version)} == {"ok"}
    recipe = load_recipe(place.folder / "small.yaml")
    assert candidate.facts["run_id"] == candidate.key == run_id
    assert candidate.facts["base_digest"] == base.facts["base_digest"] == base_digest(recipe.base)

    assert open_store(place.services).list("checkpoints/") == []  # nobody needs to go on from them

    (experiment,) = list_experiments(place.database_url)
    assert (experiment.state, experiment.share) == ("running", 0.1)
    assert (experiment.control, experiment.treatment) == (base.version, candidate.version)


def test_it_ends_with_the_table(passed: Ended, place: Place) -> None:
    run_id = place.runs()[0][0]
    table = _squeeze(passed.out[passed.out.index(f"Turn {run_id}") :])
    (experiment,) = list_experiments(place.database_url)
    reports = runs.read_reports(place.database_url, run_id)
    for words in (
        "1,781 interactions, 3,967 events",
        f"sft {sum(reports['curate']['counts']['sft'].values()):,}",
        f"corrected {reports['curate']['dropped']['corrected']:,}",
        f"loss {reports['train_sft']['first_loss']:.3f} → {reports['train_sft']['last_loss']:.3f}",
        f"resumed at step {reports['train_sft']['resumed_from_step']}",
        f"loss {reports['align']['first_loss']:.3f} → {reports['align']['last_loss']:.3f}",
        "promote_to_canary",
        "clear of zero",
        experiment.treatment,
        f"{experiment.experiment_id}: 10%",
        str(place.home / "runs" / run_id / "decks"),
    ):
        assert _squeeze(words) in table, words
    perplexity = reports["evaluate"]["metrics"]["perplexity"]
    for who in ("candidate", "champion", "difference"):
        figures = perplexity[who]
        assert _squeeze(f"{figures['estimate']:.3f} [{figures['low']:.3f}, {figures['high']:.3f}]") in table
    assert perplexity["difference"]["estimate"] < 0
    assert reports["evaluate"]["metrics"]["preference_accuracy"]["difference"]["low"] > 0


def test_its_answers_are_put_up_for_people(passed: Ended, place: Place) -> None:
    review = get_review(place.database_url, place.runs()[0][0])
    assert (review.open, review.name) == (True, NAME)
    assert 0 < review.common < review.duels <= 100
    duels = list_duels(place.database_url, review.review_id)
    assert all(duel.prompt and duel.ours.split() != duel.theirs.split() for duel in duels)


def test_every_station_leaves_its_deck(passed: Ended, place: Place) -> None:
    decks = place.home / "runs" / place.runs()[0][0] / "decks"
    assert sorted(path.stem for path in decks.glob("*.html")) == sorted(runs.STATIONS)
    assert "<svg" in (decks / "train_sft.html").read_text(encoding="utf-8")


def test_all_stations_are_tracked_in_one_group_with_one_configuration(passed: Ended, place: Place) -> None:
    run_id = place.runs()[0][0]
    tracked = read_tracked(place.home / "runs" / run_id)
    assert {run["job_type"] for run in tracked} == set(runs.STATIONS)
    assert {run["run_group"] for run in tracked} == {run_id}
    keys = {tuple(sorted(key for key in run["config"]["update"] if key != "_wandb")) for run in tracked}
    assert keys == {("recipe", "run_id", "window")}
    assert len({str(run["config"]["update"]["recipe"]) for run in tracked}) == 1


def test_card_digests_and_evaluation_are_artifacts_of_their_stations(passed: Ended, place: Place) -> None:
    run_id = place.runs()[0][0]
    (record,) = read_offline_runs(place.home / "runs" / run_id)
    kept = {name: set(report["artifacts"]) for name, report in record.reports.items() if report["artifacts"]}
    assert kept == {
        "curate": {"dataset-card"}, "train_sft": {"checkpoints"}, "align": {"checkpoints"}, "evaluate": {"evaluation"},
    }  # fmt: skip
    reports = runs.read_reports(place.database_url, run_id)
    assert record.reports["curate"]["artifacts"]["dataset-card"]["digest"] == reports["curate"]["digest"]
    for station in ("train_sft", "align"):
        facts = record.reports[station]["artifacts"]["checkpoints"]
        assert facts["adapter_digest"] == reports[station]["adapter_digest"]


def test_a_gate_that_holds_reports_and_releases_nothing(held: Ended, place: Place) -> None:
    assert held.code == 0, held.errors
    run_id, status, _ = place.runs()[1]
    assert status == "succeeded"
    begun = ("curate", "train_sft", "align", "evaluate", "gate")
    assert place.stations(run_id) == {**dict.fromkeys(begun, "succeeded"), "train_reward": "skipped"}
    table = held.out[held.out.index(f"Turn {run_id}") :]
    assert "hold" in table
    assert "the gate asks for nothing" in table
    assert len(place.registry().list(NAME)) == 2
    assert len(list_experiments(place.database_url)) == 1


def test_a_second_turn_on_the_same_rows_takes_the_finished_training(passed: Ended, held: Ended, place: Place) -> None:
    first, second = (runs.read_reports(place.database_url, run[0]) for run in place.runs()[:2])
    assert second["curate"]["interactions"] == first["curate"]["interactions"]  # the late one waits for window 2
    assert second["curate"]["content_digest"] == first["curate"]["content_digest"]
    assert second["train_sft"]["adapter_digest"] == first["train_sft"]["adapter_digest"]


def test_a_failure_names_the_station_and_the_cause(held: Ended, place: Place) -> None:
    """From another folder: the recipe by a relative path, its logs and cases from beside the code."""
    place.recipe("failing", base={"max_length": 16}, curation={"window": 1})
    command = Path(sys.executable).with_name("flytewheel")
    failed = place.run([command, "run", "failing.yaml"], place.environ(), cwd=place.folder)
    assert failed.code == 1
    assert "Traceback" not in failed.errors, failed.errors
    # A service that was too busy to answer is started again, and that is announced on standard error as well.
    (line,) = [line for line in failed.errors.splitlines() if line.startswith("error: ")]
    assert "expected SFT rows that fit into base.max_length = 16 tokens, found 0" in line
    assert "Traceback" not in failed.out

    (failing,) = [run for run in runs.list_runs(place.database_url) if run.status == "failed"]
    assert failing.station == "train_sft"
    assert failing.error is not None
    assert line.startswith(f"error: run {failing.run_id}: station train_sft failed: {failing.error} (trace: ")
    assert place.stations(failing.run_id) == {"curate": "succeeded", "train_sft": "failed"}
    assert len(place.registry().list(NAME)) == 2


def test_a_person_who_overrules_the_gate_releases_its_candidate(overruled: Ended, place: Place) -> None:
    assert overruled.code == 0, overruled.errors
    run_id, status, _ = place.runs()[1]
    assert f"run {run_id} resumes: " in overruled.out
    assert status == "succeeded"
    assert place.stations(run_id) == {**dict.fromkeys(runs.STATIONS, "succeeded"), "train_reward": "skipped"}
    gate = runs.read_reports(place.database_url, run_id)["gate"]
    assert (gate["decision"], gate["verdict"], gate["override"]["by"]) == ("promote_to_canary", "hold", "Ann")
    line, own = gate["reasons"][:2]
    assert line.startswith("overruled by Ann on ")
    assert line.endswith("promote_to_canary instead of the gate's hold, because: the answers were read by hand")
    assert own.startswith("cannot tell: the gate asks for nothing")
    assert _squeeze(line) in _squeeze(overruled.out)
    deck = (place.home / "runs" / run_id / "decks" / "gate.html").read_text(encoding="utf-8")
    assert "Ann decided: " in deck

    version = place.registry().list(NAME)[-1]
    assert version.key == run_id
    facts = version.facts
    assert (facts["verdict"], facts["gate_verdict"], facts["override"]) == (
        "promote_to_canary",
        "hold",
        gate["override"],
    )
    assert facts["reasons"][0] == line
    rollout, log = read_rollout(place.database_url, NAME)
    assert rollout.treatment == version.version
    assert log[-1].detail["override"]["by"] == "Ann"

    command = Path(sys.executable).with_name("flytewheel")
    late = [command, "gate", "override", run_id, "--decision", "hold", "--by", "Bob", "--reason", "I have my doubts"]
    refused = place.run(late, place.environ())
    assert refused.code == 1
    assert f"its canary is {rollout.experiment_id}: what becomes of it is up to `flytewheel rollout`" in refused.errors


def _squeeze(text: str) -> str:
    """Without white space and the table's lines, which fall where the width of the terminal wants."""
    return re.sub(r"[\s│]", "", text)
