"""Metrics: what is counted for whom, against counts made by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from flytewheel.errors import ExperimentError
from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.metrics import METRICS, StageCounts, count_stage
from flytewheel.recipe import Guardrail
from tests.experiment.canary import Served, open_canary, read, store

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def count(database_url: str, experiment: Experiment, *, since: datetime = LONG_AGO, **changes: Any) -> StageCounts:
    given: dict[str, Any] = {
        "name": experiment.name,
        "experiment_id": experiment.experiment_id,
        "since": since,
        "share": experiment.share,
        "guardrails": [Guardrail(metric=metric, relative_margin=0.05) for metric in METRICS],
    }
    with psycopg.connect(database_url) as connection:
        return count_stage(connection, **(given | changes))


def pairs(counts: StageCounts, metric: str, arm: str) -> list[tuple[float, float]]:
    sums = {str(key): value for key, value in counts.sums[metric].items()}[arm]
    return sorted(zip(sums.numerators.tolist(), sums.denominators.tolist(), strict=True))


@pytest.fixture
def experiment(database_url: str) -> Experiment:
    return open_canary(database_url)


def test_votes_by_user(database_url: str, experiment: Experiment) -> None:
    store(
        database_url,
        experiment,
        [
            Served("ada", "control", said=[("thumbs_up", None)]),
            Served("ada", "control", said=[("thumbs_down", None), ("correction", None)]),  # one answer, one vote
            Served("ada", "control", said=[("thumbs_down", None), ("thumbs_up", None)]),  # the last counts
            Served("bob", "control", said=[("rating", 4), ("rating", 3)]),  # 3 is no vote, so the 4 stands
            Served("bob", "control", said=[("rating", 2)]),
            Served("cyd", "control", said=[("copied", None)]),  # no vote at all
            Served("dan", "treatment", said=[("thumbs_up", None), ("correction", None)]),
        ],
    )
    counts = count(database_url, experiment)
    assert pairs(counts, "thumbs_up_rate", "control") == [(1, 2), (2, 3)]
    assert pairs(counts, "thumbs_up_rate", "treatment") == [(0, 1)]
    assert pairs(counts, "correction_rate", "control") == [(0, 1), (0, 2), (1, 3)]
    assert counts.users == {"control": 3, "treatment": 1}


def test_errors_are_charged_to_the_assigned_arm(database_url: str, experiment: Experiment) -> None:
    store(
        database_url,
        experiment,
        [
            Served("ada", "treatment", fallback=True),
            Served("ada", "treatment", failed=True),
            Served("ada", "treatment"),
            Served("bob", "control"),
        ],
    )
    counts = count(database_url, experiment)
    assert pairs(counts, "error_rate", "treatment") == [(2, 3)]
    assert pairs(counts, "error_rate", "control") == [(0, 1)]


def test_slow_is_above_the_controls_95_percent_quantile_and_the_margin(
    database_url: str, experiment: Experiment
) -> None:
    # Control: 1 … 100 ms, so the quantile is 95 ms and 5 of 100 lie above it; the treatment may take 1.05 · 95 = 99.75.
    control = [Served(f"c{number % 10}", "control", latency_ms=number) for number in range(1, 101)]
    treatment = [Served("t", "treatment", latency_ms=value) for value in (95.0, 95.5, 99.7, 99.8, 200.0)]
    store(database_url, experiment, control + treatment)
    counts = count(database_url, experiment)
    assert sum(slow for slow, _ in pairs(counts, "latency_p95", "control")) == 5
    assert pairs(counts, "latency_p95", "treatment") == [(2, 5)]
    wider = count(database_url, experiment, guardrails=[Guardrail(metric="latency_p95", relative_margin=0.5)])
    assert pairs(wider, "latency_p95", "treatment") == [(1, 5)]
    assert sum(slow for slow, _ in pairs(wider, "latency_p95", "control")) == 5


def test_only_this_stage_of_this_experiment_counts(database_url: str, experiment: Experiment) -> None:
    other = open_canary(database_url, key="run-9", name="other")
    store(database_url, experiment, [Served("early", "control")])
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE interactions SET stored_at = stored_at - interval '1 hour'")
    store(database_url, other, [Served("elsewhere", "control")])
    store(database_url, experiment, [Served("now", "control")], start=10)
    # Assigned under the earlier share, stored after it moved: another stratum.
    store(database_url, experiment, [Served("late", "control")], start=20, share=0.1)
    since = read(database_url, "SELECT stage_since FROM rollouts WHERE name = 'demo'")[0][0]
    assert count(database_url, experiment, since=since).users == {"control": 1, "treatment": 0}
    assert count(database_url, experiment, since=since, name="other").users == {"control": 0, "treatment": 0}


def test_an_unknown_metric_is_named_with_the_known_ones(database_url: str, experiment: Experiment) -> None:
    with pytest.raises(ExperimentError, match=r"'smiles'.*thumbs_up_rate, error_rate, latency_p95, correction_rate"):
        count(database_url, experiment, guardrails=[Guardrail(metric="smiles", absolute_margin=0.1)])


def test_no_traffic_is_no_users(database_url: str, experiment: Experiment) -> None:
    counts = count(database_url, experiment)
    assert counts.users == {"control": 0, "treatment": 0}
    assert pairs(counts, "thumbs_up_rate", "control") == []
