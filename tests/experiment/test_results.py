"""Results of an experiment: counts by hand, and no winner that later data would have to take back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psycopg
import pytest

from flytewheel.errors import ExperimentError
from flytewheel.experiment.analysis.always_valid import bound_difference
from flytewheel.experiment.analysis.e_values import choose_tau
from flytewheel.experiment.drafts import draft_experiment
from flytewheel.experiment.experiments import (
    list_experiments,
    open_experiment,
    set_share,
    stop_experiment,
)
from flytewheel.experiment.results import PLANNED_DIFFERENCE, Results, read_results
from flytewheel.experiment.rollout import tick
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Guardrail
from tests.experiment.canary import Served, open_canary, store

DRAFT = {
    "name": "demo",
    "control": "v1",
    "treatment": "v2",
    "share": 0.3,
    "launch_key": "by-hand",
    "body": {"why": "x"},
}
UP, DOWN = [("thumbs_up", None)], [("thumbs_down", None)]


def serve(ups: dict[str, int], users: int, *, requests: int = 2) -> list[Served]:
    """`users` an arm, `requests` each; the first `ups[arm]` of an arm's users like both answers, the rest none."""
    return [
        Served(f"{arm}-{user}", arm, latency_ms=100.0 + user, said=UP if user < ups[arm] else DOWN)
        for arm in ups
        for user in range(users)
        for _ in range(requests)
    ]


def read(database_url: str, ups: dict[str, int], users: int) -> Results:
    experiment = open_canary(database_url)
    store(database_url, experiment, serve(ups, users))
    return read_results(database_url, experiment.experiment_id)


def test_impressions_conversions_rate_and_latency_by_variant(database_url: str) -> None:
    results = read(database_url, {"control": 20, "treatment": 50}, 100)
    control, treatment = results.variants
    assert (control.version, control.users, control.impressions, control.conversions) == ("v1", 100, 200, 40)
    assert (control.rate, treatment.rate) == (0.2, 0.5)
    assert control.latency_ms == {"mean": pytest.approx(149.5), "p50": 149.0, "p95": 194.0}
    assert results.difference == pytest.approx(0.3)


def test_a_clear_difference_has_a_winner_with_its_interval(database_url: str) -> None:
    results = read(database_url, {"control": 20, "treatment": 80}, 100)
    assert results.winner == "treatment"
    assert results.interval is not None
    assert 0 < results.interval[0] < 0.6 < results.interval[1]
    assert results.confidence is not None
    assert results.confidence > 0.95


def test_a_small_difference_has_none_yet_and_says_so(database_url: str) -> None:
    results = read(database_url, {"control": 48, "treatment": 52}, 100)
    assert results.winner is None
    assert results.reason == "no winner yet: the interval of the difference holds 0"
    assert results.interval is not None
    assert results.interval[0] < 0 < results.interval[1]


@pytest.mark.parametrize(
    ("ups", "users", "said"),
    [
        ({"control": 0, "treatment": 40}, 49, "no winner yet: burn-in: fewer than 50 users in an arm"),
        ({"control": 0, "treatment": 50}, 60, "no winner yet: burn-in: fewer than 10 events"),
        ({"control": 60, "treatment": 30}, 60, "no winner yet: burn-in: fewer than 10 events"),
    ],
)
def test_too_little_to_tell(database_url: str, ups: dict[str, int], users: int, said: str) -> None:
    results = read(database_url, ups, users)
    assert results.winner is None
    assert results.reason.startswith(said)


def test_users_who_contradict_the_share_leave_no_winner(database_url: str) -> None:
    experiment = open_canary(database_url, share=0.1)
    store(database_url, experiment, serve({"control": 20, "treatment": 180}, 200))
    results = read_results(database_url, experiment.experiment_id)
    assert (results.winner, results.reason) == (None, "no winner: users an arm contradict the share")


def test_an_experiment_that_nobody_met_has_no_rates(database_url: str) -> None:
    results = read_results(database_url, open_canary(database_url).experiment_id)
    assert [variant.rate for variant in results.variants] == [None, None]
    assert results.reason == "no winner yet: no data in control and treatment"


def test_the_winner_is_never_another_than_the_decision_says(database_url: str) -> None:
    """A canary that converts better and answers too slowly is taken back: it has not won."""
    spec = AbTestingSpec(guardrails=(Guardrail(metric="latency_p95", relative_margin=0.05),))
    experiment = open_canary(database_url)
    rows = serve({"control": 100, "treatment": 280}, 300)
    slow = [replace(row, latency_ms=row.latency_ms * 3) if row.arm == "treatment" else row for row in rows]
    store(database_url, experiment, slow)
    ticked = tick(database_url, spec, AutomationSpec(), actor="test", experiment_id=experiment.experiment_id)
    assert ticked.decision == "roll_back"
    before = count_terms(database_url)
    results = read_results(database_url, experiment.experiment_id)
    assert count_terms(database_url) == before  # reading changes nothing of what ticks count by
    assert before["slower"] == 0.05
    assert results.interval is not None
    assert results.interval[0] > 0
    assert (results.winner, results.decision) == ("control", "roll_back")
    assert results.reason == "v2 was taken back: latency_p95: harm: worse than the margin allows"


def count_terms(database_url: str) -> dict[str, object]:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT terms FROM metric_looks").fetchone()
    assert row is not None
    return dict(row[0])


def test_who_was_promoted_has_won(database_url: str) -> None:
    experiment = open_canary(database_url)
    stop_experiment(database_url, experiment.experiment_id, reason="champion", actor="router", promoted=True)
    results = read_results(database_url, experiment.experiment_id)
    assert (results.winner, results.reason) == ("treatment", "v2 was promoted")


def test_an_allocation_that_learns_is_read_by_weighed_users(database_url: str) -> None:
    experiment = open_canary(database_url, body={"allocation": "thompson"})
    rows = serve({"control": 20, "treatment": 80}, 100)
    store(database_url, experiment, rows[: len(rows) // 2], share=0.3)
    store(database_url, experiment, rows[len(rows) // 2 :], share=0.3, start=1000)
    results = read_results(database_url, experiment.experiment_id)
    assert [variant.users for variant in results.variants] == [100, 100]
    assert results.winner == "treatment"  # 100 and 100 users at a probability of 0.3 are no mismatch here


def test_identical_arms_are_seldom_told_apart_however_often_one_looks() -> None:
    """2,000 experiments of 300 looks each, 40 users an arm a look, rate 0.3: at most 5 % ever have a winner."""
    rng = np.random.default_rng(7)
    users = 40 * np.arange(1, 301)
    rates = [rng.binomial(40, 0.3, size=(2000, 300)).cumsum(axis=1) / users for _ in range(2)]
    common = (rates[0] + rates[1]) / 2
    variances = 2 * common * (1 - common) / users
    tau = choose_tau(PLANNED_DIFFERENCE, 0.05)
    half = bound_difference(variances, tau=tau, alpha=0.05)
    wrong = (np.abs(rates[0] - rates[1]) > half)[:, 2:].any(axis=1).mean()
    assert 0.001 < wrong <= 0.05


def test_a_draft_meets_nobody_until_it_is_launched_as_it_was_written(database_url: str) -> None:
    running = open_canary(database_url, key="other").experiment_id
    drafted = draft_experiment(database_url, **DRAFT)
    assert drafted.created
    assert not draft_experiment(database_url, **DRAFT).created
    assert [each.experiment_id for each in list_experiments(database_url, running=True)] == [running]
    results = read_results(database_url, drafted.experiment.experiment_id)
    assert results.reason == "no winner yet: the experiment has not started"
    with pytest.raises(ExperimentError, match="is a draft; start it"):
        set_share(database_url, drafted.experiment.experiment_id, 0.5, actor="test")
    with pytest.raises(ExperimentError, match="opened"):
        draft_experiment(database_url, **DRAFT | {"treatment": "v3"})
    opened = open_experiment(database_url, **DRAFT)
    assert opened.created
    assert opened.superseded == running
    assert (opened.experiment.state, opened.experiment.share, opened.experiment.body) == ("running", 0.3, {"why": "x"})
    assert opened.experiment.experiment_id == drafted.experiment.experiment_id
    assert not open_experiment(database_url, **DRAFT).created


def test_a_draft_that_is_stopped_is_never_launched(database_url: str) -> None:
    experiment_id = draft_experiment(database_url, **DRAFT).experiment.experiment_id
    assert stop_experiment(database_url, experiment_id, reason="no need", actor="ada").state == "stopped"
    opened = open_experiment(database_url, **DRAFT)
    assert (opened.created, opened.experiment.state) == (False, "stopped")
