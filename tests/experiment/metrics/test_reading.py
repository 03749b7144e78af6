"""Metrics: what is counted for whom, against counts made by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from flytewheel.errors import ExperimentError
from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.metrics import METRICS, Metric, StageCounts, count_stages, declare_metrics
from flytewheel.experiment.metrics.look import Terms, take_look
from flytewheel.recipe import AbTestingSpec, Guardrail, MetricSpec, Rewards
from tests.experiment.canary import Served, open_canary, read, store
from tests.experiment.metrics.looks import NOW, answer, put, reaction


def count(
    database_url: str, experiment: Experiment, metrics: Iterable[Metric] = METRICS.values(), **more: Any
) -> StageCounts:
    with psycopg.connect(database_url) as connection:
        return count_stages(connection, experiment.experiment_id, metrics, keys=True, **more)[-1]


def slower(margin: float) -> Metric:
    return replace(METRICS["latency_p95"], relative_margin=margin)


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
    counts = count(database_url, experiment, [slower(0.05)])
    assert sum(slow for slow, _ in pairs(counts, "latency_p95", "control")) == 5
    assert pairs(counts, "latency_p95", "treatment") == [(2, 5)]
    wider = count(database_url, experiment, [slower(0.5)])
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
    assert count(database_url, experiment).users == {"control": 1, "treatment": 0}
    assert count(database_url, other).users == {"control": 1, "treatment": 0}


def test_an_unknown_experiment_is_named(database_url: str, experiment: Experiment) -> None:
    with pytest.raises(ExperimentError, match="no experiment 'exp-none'"):
        count(database_url, replace(experiment, experiment_id="exp-none"))


def test_no_traffic_is_no_users(database_url: str, experiment: Experiment) -> None:
    counts = count(database_url, experiment)
    assert counts.users == {"control": 0, "treatment": 0}
    assert pairs(counts, "thumbs_up_rate", "control") == []


def test_the_time_before_is_the_same_users_without_the_treatment(database_url: str, experiment: Experiment) -> None:
    """Before it began: with no arm or in a control, within 28 days, and only what was said by then."""
    with psycopg.connect(database_url) as connection:
        began = connection.execute("SELECT since FROM experiment_strata").fetchone()[0]  # type: ignore[index]
        plain: dict[str, Any] = {"latency_ms": 9.0, "timestamp": began - timedelta(days=1)}
        put(connection, answer(experiment, 1, "ada", None, **plain))
        put(connection, answer(experiment, 2, "ada", "control", **plain, experiment_id="exp-0"))
        put(connection, answer(experiment, 3, "ada", "treatment", **plain, experiment_id="exp-0"))
        put(connection, answer(experiment, 4, "ada", None, **(plain | {"timestamp": began - timedelta(days=29)})))
        put(connection, answer(experiment, 5, "eve", None, **plain))  # never met the experiment
        put(connection, reaction(1, 1, "thumbs_up"))
        put(connection, reaction(2, 2, "thumbs_down"))
        connection.execute("UPDATE interactions SET stored_at = %s", (began - timedelta(hours=20),))
        connection.execute("UPDATE feedback_events SET stored_at = %s", (began - timedelta(hours=19),))
        put(connection, reaction(3, 1, "thumbs_down", timestamp=NOW + timedelta(days=3)))  # heard after it began
        put(connection, answer(experiment, 6, "bob", "control"))
        put(connection, answer(experiment, 7, "ada", "control"))
        put(connection, answer(experiment, 8, "ada", None, **plain))  # stored after it began
    counts = count(database_url, experiment, before=True)
    found = counts.sums["conversion_rate"]["control"]
    assert found.before is not None
    assert found.keys is not None
    assert len(set(found.keys.tolist())) == 2
    sums = (found.before.numerators, found.before.denominators, found.numerators, found.denominators)
    rows = sorted(zip(*(each.tolist() for each in sums), strict=True))
    assert rows == [(0.0, 0.0, 0.0, 1.0), (1.0, 2.0, 0.0, 1.0)]  # bob, ada


def test_thresholds_freeze_at_the_burn_in(database_url: str, experiment: Experiment) -> None:
    """Until then they follow the control; from then on slower answers are slow, however many they are."""
    margin = [slower(0.05)]

    def answers(arm: str, latencies: Iterable[float], start: int) -> list[tuple[float, float]]:
        rows = [Served(f"{arm}{place % 20}", arm, latency_ms=value) for place, value in enumerate(latencies)]
        store(database_url, experiment, rows, start=start)
        return pairs(count(database_url, experiment, margin, burn_in_users=20), "latency_p95", arm)

    assert sum(slow for slow, _ in answers("control", range(1, 101), 0)) == 5
    assert sum(slow for slow, _ in answers("control", range(101, 201), 100)) == 10  # beyond 190 of 200
    frozen = read(database_url, "SELECT (thresholds ->> 'latency_ms')::float8, frozen_at IS NOT NULL FROM metric_looks")
    assert frozen == [(190.0, True)]
    assert sum(slow for slow, _ in answers("control", [500.0] * 100, 200)) == 110
    assert sum(slow for slow, _ in answers("treatment", [191.0, 199.4, 199.6], 300)) == 1  # 1.05 · 190 = 199.5
    other = pairs(count(database_url, experiment, [slower(0.0)]), "latency_p95", "treatment")
    assert sum(slow for slow, _ in other) == 3  # other terms
    # Stored, and of the experiment's whole life: no new connection, restored server or emptied log moves them.
    for unseen in ("seen = NULL", "seen = '9000000000:9000000000:'"):
        with psycopg.connect(database_url) as connection:
            connection.execute(f"UPDATE metric_looks SET {unseen}")
        again = pairs(count(database_url, experiment, margin, burn_in_users=20), "latency_p95", "control")
        assert sum(slow for slow, _ in again) == 110
        assert read(database_url, "SELECT (thresholds ->> 'latency_ms')::float8 FROM metric_looks") == [(190.0,)]


def test_other_terms_are_counted_anew_and_kept_for_who_has_none(database_url: str, experiment: Experiment) -> None:
    store(database_url, experiment, [Served("ada", "control", said=[("copied", None)])])
    quality = [METRICS["rated_quality"]]
    assert pairs(count(database_url, experiment, quality), "rated_quality", "control") == [(0.4, 1)]
    dear = count(database_url, experiment, quality, rewards=Rewards(copied=0.7))
    assert pairs(dear, "rated_quality", "control") == [(0.7, 1)]
    with psycopg.connect(database_url) as connection:
        take_look(connection, experiment.experiment_id)
        assert read(database_url, "SELECT reward_sum FROM user_counts") == [(700_000_000,)]
        connection.execute("UPDATE metric_looks SET frozen_at = now()")
        assert not take_look(connection, experiment.experiment_id, Terms(Rewards(copied=0.7))).anew


def test_a_recipe_declares_metrics_with_roles() -> None:
    spec = AbTestingSpec(
        guardrails=(Guardrail(metric="error_rate", absolute_margin=0.01),),
        metrics=(
            MetricSpec(name="copies", numerator="copied", denominator="requests", worse="lower", role="primary"),
            MetricSpec(name="tokens_per_answer", role="guardrail", relative_margin=0.2),
            MetricSpec(name="satisfaction"),
        ),
    )
    found = [(metric.name, metric.role, metric.is_share) for metric in declare_metrics(spec)]
    assert found == [
        ("copies", "primary", True),
        ("error_rate", "guardrail", True),
        ("tokens_per_answer", "guardrail", False),
        ("satisfaction", "watch", False),
    ]
    plain = [(metric.name, metric.role, metric.relative_margin) for metric in declare_metrics(AbTestingSpec())]
    assert plain[:2] == [("thumbs_up_rate", "primary", 0.05), ("thumbs_up_rate", "guardrail", 0.05)]


@pytest.mark.parametrize(
    ("section", "cause"),
    [
        ({"guardrails": [{"metric": "smiles", "absolute_margin": 0.1}]}, "no metric 'smiles': built in are"),
        ({"primary_metric": "smiles"}, "no metric 'smiles'"),
        ({"metrics": [{"name": "smiles"}]}, "an own one needs numerator and denominator and worse"),
        ({"metrics": [{"name": "a", "numerator": "x", "denominator": "ups", "worse": "lower"}]}, "'x' of a is no"),
        ({"metrics": [{"name": "error_rate", "worse": "lower"}]}, "error_rate is built in: leave out worse"),
        ({"metrics": [{"name": "satisfaction", "role": "guardrail"}]}, "give either relative_margin or"),
        ({"metrics": [{"name": "first_token_p95", "absolute_margin": 1.0}]}, "first_token_p95 takes a relative_margin"),
        ({"metrics": [{"name": "satisfaction"}, {"name": "satisfaction"}]}, "declare a name twice"),
        ({"metrics": [{"name": "error_rate", "role": "guardrail", "absolute_margin": 1.0}]}, "guardrail under"),
        ({"metrics": [{"name": "satisfaction", "cup": 1}]}, "cup"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_when_it_is_read(section: dict[str, Any], cause: str) -> None:
    with pytest.raises(ValidationError, match=cause):
        AbTestingSpec.model_validate_json(json.dumps(section))
