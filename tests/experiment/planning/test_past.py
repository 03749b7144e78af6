"""Planning's baselines: a metric means there what it means at a look, the recipe's own ones included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from flytewheel.experiment.metrics import METRICS, Metric, count_past, count_stages
from flytewheel.experiment.metrics.rows import Column
from flytewheel.experiment.planning.desk import foretell, make_plan
from flytewheel.experiment.planning.past import read_traffic
from flytewheel.recipe import AbTestingSpec, Guardrail, MetricSpec, Rewards
from tests.experiment.canary import open_canary
from tests.experiment.metrics.looks import answer, put, reaction
from tests.experiment.metrics.test_look import KINDS

OWN = Metric("copies", "copied", "votes", "lower")


def fill(database_url: str, seed: int) -> str:
    """Every kind of reaction, several on an answer, checks, failures; one arm, so that a look sees the same users."""
    rng = np.random.default_rng(seed)
    experiment = open_canary(database_url)
    with psycopg.connect(database_url) as connection:
        for number in range(120):
            more: dict[str, Any] = {"completion_tokens": int(rng.integers(1, 90)), "first_token_ms": float(number)}
            if rng.random() < 0.1:
                more["fallback"] = "it broke"
            user = f"u{int(30 * rng.random() ** 2)}"
            put(connection, answer(experiment, number, user, "control", metadata=more, latency_ms=float(number)))
        for number in range(240):
            kind = str(rng.choice(KINDS))
            changes: dict[str, Any] = {"metadata": {"seconds": 1, "read_s": 3, "expected_s": 3, "count": 2}}
            if kind == "rating":
                changes["rating"] = float(rng.integers(1, 6))
            if kind == "duel":
                changes |= {"other_response": "b", "preferred": "this"}
            put(connection, reaction(number, int(rng.integers(120)), kind, **changes))
        connection.execute(
            "INSERT INTO groundedness (interaction_id, spans, unsupported, kinds)"
            " SELECT interaction_id, 3, length(user_id) - 2, '{}' FROM interactions WHERE interaction_id < 'i5'"
        )
    return experiment.experiment_id


@pytest.mark.parametrize("rewards", [None, Rewards(copied=0.7, thumbs_down=-0.2)], ids=["default", "own"])
def test_every_metric_is_counted_as_at_a_look(database_url: str, rewards: Rewards | None) -> None:
    experiment_id = fill(database_url, seed=4)
    asked = [*METRICS.values(), OWN]
    until = datetime.now(UTC) + timedelta(minutes=1)
    with psycopg.connect(database_url) as connection:
        past = count_past(connection, "demo", asked, until=until, days=28, rewards=rewards)
        stage = count_stages(connection, experiment_id, asked, keys=True, rewards=rewards)[-1]
    for metric in asked:
        sums: Any = stage.sums[metric.name]["control"]
        counted = past[metric.denominator] > 0
        mine = sorted(zip(past[metric.numerator][counted], past[metric.denominator][counted], strict=True))
        assert mine == sorted(zip(sums.numerators, sums.denominators, strict=True)), metric.name
        assert mine, metric.name
    assert len(past["requests"]) == stage.users["control"] >= 20


def test_only_the_days_count(database_url: str) -> None:
    fill(database_url, seed=5)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE interactions SET stored_at = now() - interval '40 days' WHERE interaction_id < 'i5'")
        newest = datetime.now(UTC) + timedelta(minutes=1)
        found: dict[int, Column] = {
            days: count_past(connection, "demo", [], until=newest, days=days)["requests"] for days in (28, 60)
        }
    assert (found[28].sum(), found[60].sum()) == (55, 120)


def test_own_metrics_and_means_are_planned_for(database_url: str) -> None:
    """An own guardrail used to end a plan with a traceback, a mean was taken for a share."""
    fill(database_url, seed=6)
    spec = AbTestingSpec(
        guardrails=(Guardrail(metric="tokens_per_answer", relative_margin=0.2),),
        metrics=(
            MetricSpec(
                name="copies",
                numerator="copied",
                denominator="votes",
                worse="lower",
                role="guardrail",
                absolute_margin=0.3,
            ),
        ),
    )
    traffic = read_traffic(database_url, "demo", [METRICS["tokens_per_answer"], METRICS["satisfaction"], OWN])
    assert traffic is not None
    assert traffic.baselines["tokens_per_answer"].user_variance is not None
    assert 1 <= traffic.baselines["satisfaction"].rate <= 5
    plan = make_plan(spec, "demo", database_url=database_url, remedies=False)
    assert {guarded.metric for stage in plan.stages for guarded in stage.guardrails} == {"tokens_per_answer", "copies"}
    assert not foretell(database_url, "demo", spec)[0].startswith("not planned")
