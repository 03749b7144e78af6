"""What a person does to a rollout: what it becomes, what is refused; a tick that began before changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flytewheel.errors import ExperimentError
from flytewheel.experiment import hands
from flytewheel.experiment.checks import choose_checks
from flytewheel.experiment.decision import PAUSED, rederive
from flytewheel.experiment.experiments import get_experiment, lock_experiment
from flytewheel.experiment.holdback import begin_holdback, choose_kept, end_due, end_holdback
from flytewheel.experiment.ledger import read_log
from flytewheel.records import digest
from tests.experiment.canary import age_stage, open_canary, read
from tests.experiment.test_rollout import actions, fill, look, spec, state

IMPROVED = "significant_improvement"
ROLLOUT = "SELECT rollout_id FROM rollouts ORDER BY created_at DESC LIMIT 1"


def rollout_id(database_url: str) -> str:
    return str(read(database_url, ROLLOUT)[0][0])


def test_a_paused_rollout_keeps_its_share_and_harm_still_ends_it(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.25)
    fill(database_url, experiment)
    age_stage(database_url, 25)
    hands.pause(database_url, rollout_id(database_url), reason="a holiday", actor="ada")
    held = look(database_url)
    assert (held.decision, held.reasons) == ("hold", (PAUSED,))
    assert state(database_url) == ("paused", 0, 1, "running", 0.25)
    hands.pause(database_url, rollout_id(database_url), reason="a holiday", actor="ada")  # twice is once
    fill(database_url, experiment, treatment=0.0)
    fill(database_url, experiment, treatment=0.0)
    assert look(database_url).decision == "roll_back"
    assert actions(database_url) == ["opened", "pause", "hold", "roll_back"]
    with pytest.raises(ExperimentError, match="is rolled back and cannot be resumed; expected one that is active or"):
        hands.resume(database_url, rollout_id(database_url), reason="back", actor="ada")


def test_a_resumed_rollout_goes_on_and_a_stopped_one_does_not(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.25)
    fill(database_url, experiment)
    age_stage(database_url, 25)
    hands.pause(database_url, rollout_id(database_url), reason="wait", actor="ada")
    hands.resume(database_url, rollout_id(database_url), reason="go", actor="ada")
    assert look(database_url).decision == "advance"
    with pytest.raises(ExperimentError, match="a reason is needed"):
        hands.pause(database_url, rollout_id(database_url), reason="  ", actor="ada")
    with pytest.raises(ExperimentError, match="no rollout 'roll-none'"):
        hands.abort(database_url, "roll-none", reason="x", actor="ada")


def test_a_person_may_force_a_share_and_a_promotion(database_url: str) -> None:
    open_canary(database_url, share=0.1)
    found = hands.force(database_url, rollout_id(database_url), 0.3, spec(), reason="I know", actor="ada")
    assert (found.share, found.stage, found.fence) == (0.3, 1, 1)
    hands.force(database_url, rollout_id(database_url), 1.0, spec(), reason="I know", actor="ada")
    (entry, before, _) = read_entries(database_url)
    assert (entry.action, entry.detail["to_champion"], entry.detail["holdback"]["share"]) == ("force", True, 0.05)
    assert (before.detail["from"], before.detail["to"], before.detail["reason"]) == (0.1, 0.3, "I know")
    assert state(database_url) == ("active", 1, 1, "running", 0.3)  # the router's promotion is what ends it
    with pytest.raises(ExperimentError, match=r"share 0\.0"):
        hands.force(database_url, rollout_id(database_url), 0.0, spec(), reason="x", actor="ada")


def read_entries(database_url: str) -> list[Any]:
    from flytewheel.database import connect

    with connect(database_url) as connection:
        return read_log(connection, rollout_id(database_url))


def test_an_abort_during_a_look_wins(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database_url, open_canary(database_url, share=0.1))
    age_stage(database_url, 25)
    from flytewheel.experiment import evidence

    counted: Callable[..., Any] = evidence.count_experiment

    def count_then_abort(*given: Any, **more: Any) -> Any:
        counts = counted(*given, **more)
        hands.abort(database_url, rollout_id(database_url), reason="no", actor="bob")  # does not wait for us
        return counts

    monkeypatch.setattr(evidence, "count_experiment", count_then_abort)
    assert look(database_url).decision == "none"
    assert state(database_url) == ("rolled_back", 0, 1, "stopped", 0.1)
    assert actions(database_url) == ["opened", "abort"]


def test_the_holdback_follows_its_own_clock(database_url: str) -> None:
    from flytewheel.database import connect

    experiment = open_canary(database_url, share=0.5)
    with connect(database_url) as connection:
        locked = lock_experiment(connection, experiment.experiment_id)
        begin_holdback(connection, locked, share=0.05, days=14.0, actor="router")
    found = get_experiment(database_url, experiment.experiment_id)
    assert found.holdback_since is not None
    assert found.holdback_until is not None
    assert (found.holdback_until - found.holdback_since).days in (13, 14)  # two readings of one clock
    assert end_due(database_url, actor="tick") == []
    assert look(database_url).reasons == ("the rollout is promoted",)
    with connect(database_url) as connection:
        connection.execute("UPDATE experiments SET holdback_until = now()")
    assert end_due(database_url, actor="tick") == [experiment.experiment_id]
    assert end_due(database_url, actor="tick") == []
    assert actions(database_url) == ["opened", "promoted", "holdback_ended"]
    with pytest.raises(ExperimentError, match="demo has no holdback"):
        end_holdback(database_url, "demo", reason="x", actor="ada")


def test_slices_of_a_holdback() -> None:
    """Of [0, 1): control the last 1 - share; beside a canary as much again below it; the canary has the rest."""
    from flytewheel.experiment.assign import draw_unit
    from flytewheel.experiment.experiments import Experiment

    held = Experiment("exp-1", "demo", "holdback", "v1", "v2", 0.9)
    for number in range(500):
        u = draw_unit(b"key", "exp-1", f"u{number}")
        alone = choose_kept(b"key", held, f"u{number}", beside=False)
        beside = choose_kept(b"key", held, f"u{number}", beside=True)
        assert alone is not None
        if u >= 0.9:
            assert alone == ("control", pytest.approx(0.1))
            assert beside == ("control", 0.5)
        else:
            assert alone == ("treatment", 0.9)
            assert beside == (("treatment", 0.5) if u >= 0.8 else None)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (0, ["no_regressions"]),
        (1, ["positive_trend"]),
        (2, ["final_validation", "significant_improvement"]),
        (9, ["final_validation"]),
    ],
)
def test_the_checks_of_the_reference_design(stage: int, expected: list[str]) -> None:
    asked = (("no_regressions",), ("positive_trend",), ("significant_improvement",), ("final_validation",))
    assert choose_checks(asked, stage, 3) == expected


def test_a_stage_is_left_by_its_checks(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.25)
    fill(database_url, experiment)  # as good as the control: cleared, without a trend and without an improvement
    age_stage(database_url, 25)
    wishes = {name: spec(rollout_stages=(0.25, 1.0), stage_checks=[[name]]) for name in ("positive_trend", IMPROVED)}
    assert look(database_url, rules=wishes["positive_trend"]).reasons == (
        "positive_trend: no primary metric is on the good side of the control",
    )
    held = look(database_url, rules=wishes[IMPROVED])
    assert held.reasons == ("significant_improvement: no primary metric is better, so far, at a planned look",)
    late = wishes[IMPROVED].model_copy(update={"max_duration_days": 1e-9})
    ended = look(database_url, rules=late)
    assert (ended.decision, ended.reasons[1:]) == ("reject_at_max_duration", held.reasons)
    # One that is better meets both.
    experiment = open_canary(database_url, share=0.25, key="run-2", treatment="v3")
    fill(database_url, experiment, treatment=0.95)
    fill(database_url, experiment, treatment=0.95)
    age_stage(database_url, 25)
    done = look(database_url, rules=spec(rollout_stages=(0.25, 1.0), stage_checks=[["positive_trend", IMPROVED]]))
    assert done.decision == "promote", done.reasons
    assert done.evidence["trends"]["thumbs_up_rate"] > 0
    assert rederive({"evidence": done.evidence, "digest": digest(done.evidence)}).decision == "promote"
