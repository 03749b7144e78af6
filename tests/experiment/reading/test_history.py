"""What is read of an experiment that has days behind it, over a real PostgreSQL, and how it is said."""

from __future__ import annotations

import math
from typing import Any

import pytest

from flytewheel.errors import ExperimentError
from flytewheel.experiment.drafts import draft_experiment
from flytewheel.experiment.experiments import stop_experiment
from flytewheel.experiment.reading.history import find_id, read_history
from flytewheel.experiment.reading.sentence import name_verdict, tell
from flytewheel.experiment.reading.summary import summarise
from flytewheel.recipe import AbTestingSpec, Guardrail
from tests.experiment.canary import Served, crowd, open_canary, store
from tests.experiment.reading.days import Day, live, open_days

THUMBS = Guardrail(metric="thumbs_up_rate", relative_margin=0.3)


def rules(**changes: Any) -> AbTestingSpec:
    return AbTestingSpec(
        **({"guardrails": [THUMBS], "rollout_stages": (0.25, 0.5, 1.0), "stale_after_hours": 100.0} | changes)
    )


def test_looks_are_read_as_they_were_stored(database_url: str) -> None:
    spec = rules()
    experiment = open_days(database_url, share=0.25, rules=spec)
    first, second = live(database_url, experiment, [Day(60, (0.7, 0.7)), Day(400, (0.7, 0.7))], rules=spec)
    assert (first.decision, second.decision) == ("hold", "advance")
    history = read_history(database_url, experiment.experiment_id)
    assert [look.decision for look in history.looks] == ["hold", "advance"]
    assert [round(look.days, 2) for look in history.looks] == [1.0, 2.0]
    found, primary = history.looks[1].findings
    assert (found.role, primary.role) == ("guardrail", "primary")
    stored = second.evidence["guardrails"][0]
    assert (found.outcome, found.difference) == ("cleared", stored["difference"])
    assert found.low is not None
    assert found.high is not None
    # D ± SE·√((1 + 1/(τ²I))·(2 ln(1/α) + ln(1 + τ²I))), τ = 1.6 margins; it clears, so it lies above the margin.
    scale = (1.6 * stored["margin"] / stored["standard_error"]) ** 2
    half = stored["standard_error"] * math.sqrt((1 + 1 / scale) * (2 * math.log(20) + math.log1p(scale)))
    assert found.high - found.low == pytest.approx(2 * half, rel=0.01)
    assert found.low > stored["margin"]
    assert history.looks[1].users == {"control": 345, "treatment": 115}
    assert history.exposed == 1.0
    assert sum(one.requests for one in history.traffic) == 4 * 460
    assert name_verdict(history) == "advance"
    assert tell(history).startswith("After 2 days and 460 users nothing is worse than allowed: 50 % of the users")


def test_harm_is_told_with_its_interval(database_url: str) -> None:
    experiment = open_days(database_url, share=0.25, rules=rules())
    live(database_url, experiment, [Day(2000, (0.8, 0.4))], rules=rules(), hours=72)
    history = read_history(database_url, experiment.experiment_id)
    told = tell(history)
    assert name_verdict(history) == "roll_back"
    assert told.startswith("After 3 days and 2,000 users the canary's share of thumbs up is ")
    assert "% lower than v1's 80 %, more than the 30 % allowed: it was taken back." in told
    low, high = (float(part) for part in told.split(" is ")[1].split(" % lower")[0].split(" % to "))
    assert 30 < low < 50 < high < 70  # (0.8 − 0.4) / 0.8 = 50 %


def test_a_slow_canary_is_told_in_milliseconds_and_shares(database_url: str) -> None:
    spec = rules(guardrails=[Guardrail(metric="latency_p95", relative_margin=0.05)])
    experiment = open_days(database_url, share=0.5, rules=spec)
    live(database_url, experiment, [Day(600, (0.7, 0.7), slow=0.3)], rules=spec, hours=30)
    told = tell(read_history(database_url, experiment.experiment_id))
    assert "the canary's p95 latency is 900 ms against v1's 149 ms (504 % slower; 5 % slower is allowed), and " in told
    assert "30 % of its answers take longer than that (" in told
    assert told.endswith("credibly more than the 5 % due: it was taken back.")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "it cannot be told yet: share of thumbs up: no data in control and treatment."),
        (
            crowd("control", 400, up=0.7, requests=1) + crowd("treatment", 400, up=0.7, requests=1),
            "the split contradicts itself: 400 in control and 400 in treatment where 25 % were meant",
        ),
        ([Served("a", "control"), Served("b", "treatment")], "it cannot be told yet: share of thumbs up: no data in"),
    ],
    ids=["nobody", "split", "silence"],
)
def test_what_cannot_be_told_is_said(database_url: str, rows: list[Served], told: str) -> None:
    experiment = open_days(database_url, share=0.25, rules=rules())
    live(database_url, experiment, [rows], rules=rules())
    assert told in tell(read_history(database_url, experiment.experiment_id))


def test_drafts_stops_and_those_nobody_looked_at(database_url: str) -> None:
    launch = {"control": "v1", "treatment": "v2", "share": 0.1, "body": {}}
    draft = draft_experiment(database_url, name="drafted", launch_key="d", **launch).experiment  # type: ignore[arg-type]
    assert tell(read_history(database_url, draft.experiment_id)).startswith("A draft: nobody meets v2")
    fresh = open_canary(database_url)
    assert "nobody has looked yet" in tell(read_history(database_url, fresh.experiment_id))
    store(database_url, fresh, crowd("control", 3, up=0.5))
    stop_experiment(database_url, fresh.experiment_id, reason="a holiday", actor="ada")
    assert tell(read_history(database_url, fresh.experiment_id)) == (
        "After 1 minute and 3 users it ended without a verdict: a holiday."
    )
    other = open_canary(database_url, name="other", key="run-2")
    stop_experiment(database_url, other.experiment_id, reason="champion", actor="router", promoted=True)
    assert name_verdict(read_history(database_url, other.experiment_id)) == "promote"
    found = {one.name: one.verdict for one in summarise(database_url)}
    assert found == {"drafted": "draft", "demo": "stopped", "other": "promoted"}
    assert summarise(database_url, running=True) == []


def test_a_model_stands_for_the_experiment_that_runs(database_url: str) -> None:
    first = open_canary(database_url)
    second = open_canary(database_url, key="run-2", treatment="v3")
    assert find_id(database_url, "demo") == second.experiment_id
    assert find_id(database_url, first.experiment_id) == first.experiment_id
    assert tell(read_history(database_url, first.experiment_id)).endswith("without a verdict: superseded by v3.")
    with pytest.raises(ExperimentError, match="nothing"):
        find_id(database_url, "nothing")
