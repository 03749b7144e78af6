"""Rollouts: what a tick decides and stores, over a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from flytewheel.errors import ExperimentError
from flytewheel.experiment.decision import WAITS, rederive
from flytewheel.experiment.experiments import Experiment, get_experiment, set_share, stop_experiment
from flytewheel.experiment.ledger import read_rollout
from flytewheel.experiment.rollout import Tick, approve, tick
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Guardrail
from flytewheel.records import digest
from tests.experiment.canary import age_stage, crowd, open_canary, read, store

THUMBS = Guardrail(metric="thumbs_up_rate", relative_margin=0.3)
STAGES = (0.1, 0.25, 0.5, 1.0)


def spec(**changes: Any) -> AbTestingSpec:
    given: dict[str, Any] = {"guardrails": [THUMBS], "rollout_stages": STAGES, "stage_duration_hours": 24.0}
    return AbTestingSpec(**(given | changes))


def look(database_url: str, *, rules: AbTestingSpec | None = None, auto: bool = True, **automation: Any) -> Tick:
    automated = AutomationSpec(auto_rollout=auto, **automation)
    return tick(database_url, rules or spec(), automated, name="demo", actor="ada")


def fill(database_url: str, experiment: Experiment, *, control: float = 0.7, treatment: float = 0.7) -> None:
    """A stage's traffic at the experiment's share: 60 users in the smaller arm, so that burn-in is over."""
    experiment = get_experiment(database_url, experiment.experiment_id)
    others = round(60 * (1 - experiment.share) / experiment.share)
    start = read(database_url, "SELECT count(*) FROM interactions")[0][0]
    rows = crowd("control", others, up=control) + crowd("treatment", 60, up=treatment)
    store(database_url, experiment, rows, start=start)


def state(database_url: str) -> tuple[Any, ...]:
    query = (
        "SELECT r.state, r.stage, r.fence, e.state, e.share FROM rollouts r JOIN experiments e USING (experiment_id)"
    )
    return read(database_url, query)[0]


def actions(database_url: str) -> list[str]:
    return [row[0] for row in read(database_url, "SELECT action FROM rollout_log ORDER BY entry")]


def test_a_cleared_stage_advances_when_its_time_is_over(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.1)
    fill(database_url, experiment)
    early = look(database_url)
    assert (early.decision, early.reasons) == ("hold", ("cleared; the stage lasts 24 hours",))
    age_stage(database_url, 24.1)
    done = look(database_url)
    assert (done.decision, done.stage, done.share, done.fence) == ("advance", 1, 0.25, 1)
    assert state(database_url) == ("active", 1, 1, "running", 0.25)
    found, log = read_rollout(database_url, "demo")
    assert found.stage_hours < 0.1  # the next stage begins now
    assert log[0].action == "advance"
    assert log[0].detail["evidence"]["guardrails"][0]["outcome"] == "cleared"
    assert log[0].detail["digest"] == digest(log[0].detail["evidence"]) == digest(done.evidence)
    assert (log[0].detail["from"], log[0].detail["to"], log[0].detail["to_stage"]) == (0.1, 0.25, 1)
    # A stratum of its own: nothing of the first stage clears the second.
    again = look(database_url)
    assert (again.decision, again.reasons) == (
        "hold",
        ("thumbs_up_rate: no data in control and treatment",),
    )


def test_harm_rolls_back_before_the_stage_is_over(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.25)
    fill(database_url, experiment, treatment=0.2)
    done = look(database_url, auto=False)
    assert (done.decision, done.reasons) == (
        "roll_back",
        ("thumbs_up_rate: harm: worse than the margin allows",),
    )
    assert state(database_url) == ("rolled_back", 0, 1, "stopped", 0.25)
    assert get_experiment(database_url, experiment.experiment_id).reason == done.reasons[0]
    assert look(database_url).decision == "none"
    assert actions(database_url) == ["opened", "roll_back"]


def test_harm_waits_for_a_person_where_the_recipe_says_so(database_url: str) -> None:
    fill(database_url, open_canary(database_url, share=0.25), treatment=0.2)
    age_stage(database_url, 48)
    held = look(database_url, rollback_on_regression=False)
    assert held.decision == "hold"
    assert held.reasons[-1] == "automation.rollback_on_regression is off: stop the experiment by hand"
    assert state(database_url)[:3] == ("active", 0, 0)


def test_a_broken_split_stops_the_experiment_and_pauses_the_rollout(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.1)
    rows = crowd("control", 400, up=0.7, requests=1) + crowd("treatment", 200, up=0.7, requests=1)
    store(database_url, experiment, rows)
    done = look(database_url)
    assert done.decision == "stop_for_srm"
    assert state(database_url)[0::3] == ("paused", "stopped")
    assert look(database_url).reasons == ("the rollout is paused",)
    # The next launch takes the place of the paused one.
    open_canary(database_url, key="run-2", treatment="v3")
    assert [row[0] for row in read(database_url, "SELECT state FROM rollouts ORDER BY created_at")] == [
        "rolled_back",
        "active",
    ]
    assert actions(database_url) == ["opened", "stop_for_srm", "superseded", "opened"]


def test_no_traffic_and_no_guardrail_hold(database_url: str) -> None:
    open_canary(database_url, share=0.1)
    age_stage(database_url, 1000)
    assert look(database_url).reasons == ("thumbs_up_rate: no data in control and treatment",)
    assert look(database_url, rules=spec(guardrails=[])).reasons == (
        "no guardrail is set: nothing can clear the stage",
    )
    assert state(database_url)[:3] == ("active", 0, 0)


def test_one_guardrail_that_cannot_be_told_holds_the_others(database_url: str) -> None:
    fill(database_url, open_canary(database_url, share=0.25))
    age_stage(database_url, 48)
    rules = spec(guardrails=[THUMBS, Guardrail(metric="error_rate", absolute_margin=0.01)])
    held = look(database_url, rules=rules)
    assert held.reasons == ("error_rate: burn-in: fewer than 10 events expected in the treatment at the margin",)
    assert look(database_url).decision == "advance"


def test_an_unchanged_hold_is_logged_once(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.25)
    for _ in range(3):
        look(database_url)
    fill(database_url, experiment)
    for _ in range(3):
        look(database_url)
    assert actions(database_url) == ["opened", "hold", "hold"]
    assert state(database_url)[2] == 0


def test_approval_lets_one_step_pass(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.1)
    found, _ = read_rollout(database_url, "demo")
    fill(database_url, experiment)
    look(database_url, auto=False)
    with pytest.raises(ExperimentError, match="does not wait for approval: cleared; the stage lasts 24 hours"):
        approve(database_url, found.rollout_id, "ada")
    age_stage(database_url, 25)
    assert look(database_url, auto=False).reasons == (WAITS,)
    approve(database_url, found.rollout_id, "bob")
    approve(database_url, found.rollout_id, "bob")
    assert look(database_url, auto=False).decision == "advance"
    assert actions(database_url) == ["opened", "hold", "hold", "approved", "advance"]
    # It was for that step only.
    fill(database_url, experiment)
    age_stage(database_url, 25)
    with pytest.raises(ExperimentError, match="not looked at in this stage"):
        approve(database_url, found.rollout_id, "bob")
    assert look(database_url, auto=False).reasons == (WAITS,)
    with pytest.raises(ExperimentError, match="roll-none"):
        approve(database_url, "roll-none", "bob")


def test_the_step_to_everyone_is_the_promotion(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.5)
    fill(database_url, experiment)
    age_stage(database_url, 25)
    # By its stage the next would be 0.25: a share that was set by hand is never taken down.
    first, again = look(database_url), look(database_url)
    assert (first.decision, again.decision) == ("promote", "promote")
    # The verdict is stored once; the experiment goes on until the router has moved the champion.
    assert actions(database_url) == ["opened", "promote"]
    assert state(database_url) == ("active", 0, 0, "running", 0.5)
    stop_experiment(database_url, experiment.experiment_id, reason="champion changed", actor="router", promoted=True)
    assert look(database_url).reasons == ("the rollout is promoted",)


def test_two_ticks_at_once_change_the_stage_once(database_url: str) -> None:
    fill(database_url, open_canary(database_url, share=0.1))
    age_stage(database_url, 25)
    with ThreadPoolExecutor(6) as threads:
        done = list(threads.map(lambda _: look(database_url), range(6)))
    decisions = [each.decision for each in done]
    assert decisions.count("advance") == 1
    assert set(decisions) <= {"advance", "none", "hold"}
    assert state(database_url) == ("active", 1, 1, "running", 0.25)
    assert actions(database_url).count("advance") == 1


def test_a_change_during_the_analysis_wins(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = open_canary(database_url, share=0.1)
    fill(database_url, experiment)
    age_stage(database_url, 25)
    from flytewheel.experiment import evidence

    counted = evidence.count_experiment

    def count_then_stop(*given: Any, **more: Any) -> Any:
        counts = counted(*given, **more)
        stop_experiment(database_url, experiment.experiment_id, reason="by hand", actor="bob")  # does not wait for us
        return counts

    monkeypatch.setattr(evidence, "count_experiment", count_then_stop)
    done = look(database_url)
    assert (done.decision, done.reasons) == ("none", ("another change came first; the next tick looks again",))
    assert state(database_url) == ("rolled_back", 0, 1, "stopped", 0.1)


def test_a_share_set_by_hand_begins_the_stage_anew(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.1)
    fill(database_url, experiment)
    age_stage(database_url, 25)
    set_share(database_url, experiment.experiment_id, 0.2, actor="bob")
    assert look(database_url).reasons == ("thumbs_up_rate: no data in control and treatment",)


def test_what_does_not_exist_is_said(database_url: str) -> None:
    assert look(database_url).decision == "none"
    with pytest.raises(ExperimentError, match="exp-none"):
        tick(database_url, spec(), AutomationSpec(), experiment_id="exp-none", actor="ada")
    with pytest.raises(ExperimentError, match="no rollout of 'demo'"):
        read_rollout(database_url, "demo")


def test_a_database_error_leaves_nothing_half_done(database_url: str) -> None:
    fill(database_url, open_canary(database_url, share=0.1))
    age_stage(database_url, 25)
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE rollout_log ADD CONSTRAINT full_disk CHECK (action <> 'advance')")
    with pytest.raises(psycopg.errors.CheckViolation):
        look(database_url)
    assert state(database_url) == ("active", 0, 0, "running", 0.1)


def test_what_is_not_cleared_in_the_longest_time_is_taken_back(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.1)
    fill(database_url, experiment)
    rules = spec(guardrails=[Guardrail(metric="thumbs_up_rate", relative_margin=0.05)], max_duration_days=20.0)
    assert look(database_url, rules=rules).decision == "hold"
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE rollouts SET created_at = created_at - interval '21 days'")
    done = look(database_url, rules=rules)
    assert (done.decision, done.reasons[0]) == ("reject_at_max_duration", "not cleared within 20 days")
    assert state(database_url)[0::3] == ("rolled_back", "stopped")
    assert actions(database_url) == ["opened", "hold", "reject_at_max_duration"]


def test_without_anything_new_for_a_day_a_cleared_canary_is_held(database_url: str) -> None:
    fill(database_url, open_canary(database_url, share=0.1))
    age_stage(database_url, 60)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE interactions SET stored_at = stored_at - interval '25 hours'")
        connection.execute("UPDATE experiment_strata SET since = since - interval '60 hours'")
    assert look(database_url).reasons == ("stale: nothing was stored for more than 24 hours",)
    assert look(database_url, rules=spec(stale_after_hours=48.0)).decision == "advance"


def test_stored_decisions_are_derived_again(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.1)
    look(database_url)
    fill(database_url, experiment)
    look(database_url)
    age_stage(database_url, 25)
    look(database_url)
    fill(database_url, experiment, treatment=0.2)
    assert look(database_url).decision == "roll_back"
    _, log = read_rollout(database_url, "demo")
    stored = [entry.detail for entry in reversed(log) if "evidence" in entry.detail]
    assert [detail["decision"] for detail in stored] == ["hold", "hold", "advance", "roll_back"]
    assert [list(rederive(detail).reasons) for detail in stored] == [detail["reasons"] for detail in stored]
    assert [rederive(detail).decision for detail in stored] == [detail["decision"] for detail in stored]
    # The stage's end was the first planned look of the primary, and what it saw is kept for the next.
    assert [detail["evidence"]["look"] for detail in stored] == [0, 0, 1, 0]
    assert stored[2]["evidence"]["primaries"][0]["z"] is not None


def test_a_router_that_splits_otherwise_stops_the_experiment(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.5)
    rows = [
        replace(row, router="r1" if int(row.user.split("-")[1]) < (300 if row.arm == "control" else 60) else "r2")
        for row in (*crowd("control", 360, up=0.7, requests=1), *crowd("treatment", 360, up=0.7, requests=1))
    ]
    store(database_url, experiment, rows)
    done = look(database_url)
    assert done.decision == "stop_for_srm"
    assert done.reasons == (
        "sample ratio mismatch at router r1: users an arm contradict the share",
        "sample ratio mismatch at router r2: users an arm contradict the share",
    )
    assert rederive({"evidence": done.evidence, "digest": digest(done.evidence)}).reasons == done.reasons
