"""Kept sums: exact, the same after any history, and the same figures as from the users themselves."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.records import Design
from flytewheel.experiment.experiments import Experiment, set_share
from flytewheel.experiment.metrics import METRICS, Metric, count_stages
from flytewheel.experiment.metrics.moments import EVERYONE, Moments, measure
from flytewheel.experiment.metrics.rows import BEFORE, Rows
from tests.experiment.canary import Served, read, store
from tests.experiment.metrics.looks import answer, freeze, look, put, reaction
from tests.experiment.metrics.test_look import NO_ROWS, STEP, History, act

PAIRS = [EVERYONE, ("ups", "votes"), ("reward_sum", "rewarded"), ("tokens", "metered"), ("corrected", "ratings")]
WHOLE = st.one_of(st.integers(-(2**62), 2**62), st.integers(-3, 3), st.sampled_from([2**25, -(2**25), 2**26 - 1]))


@settings(max_examples=60, deadline=None)
@given(users=st.lists(st.tuples(WHOLE, WHOLE, WHOLE, WHOLE), max_size=8), many=st.sampled_from([1, 300]))
def test_sums_of_products_are_exact(users: list[tuple[int, int, int, int]], many: int) -> None:
    """Against Python's own whole numbers, also where 64 bits would not hold a product or a sum of batches."""
    users = users * many
    columns = [np.array([user[place] for user in users], dtype=np.int64) for place in range(4)]
    names = np.arange(len(users))
    rows = {
        (0, "control"): Rows(names, {"requests": columns[1], "x": columns[0], "n": columns[1]}, {}),
        (BEFORE, ""): Rows(names, {"requests": columns[3], "x": columns[2], "n": columns[3]}, {}),
    }
    found = measure(rows, [("x", "n")]).sums["x", "n"]
    expected = [[0] * 6 for _ in range(6)]
    for x, n, x_before, n_before in users:
        v = [1, x, n, x_before, n_before, int(x < 0 or x > n)] if n > 0 else [0] * 6
        for i in range(6):
            for j in range(6):
                expected[i][j] += v[i] * v[j]
    place = (0, "control")
    assert found.get((place, place), np.zeros((6, 6), dtype=object)).tolist() == expected


def from_nothing(connection: psycopg.Connection[Any], counting: int) -> Moments:
    from flytewheel.experiment.metrics.rows import read_rows

    names = {name for pair in PAIRS for name in pair}
    return measure(read_rows(connection, counting, names, 2**20), PAIRS)


def flat(moments: Moments) -> Any:
    return json.loads(json.dumps(moments.to_json()))


def keep(database_url: str, experiment: Experiment) -> None:
    """Asks for the pairs, so that looks keep them from here on."""
    asked = [Metric("-".join(pair), *pair, "lower") for pair in PAIRS]
    with psycopg.connect(database_url) as connection:
        count_stages(connection, experiment.experiment_id, asked)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(STEP, st.just(("move",))), min_size=1, max_size=25))
def test_after_any_history_kept_sums_are_those_of_the_users(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any], steps: list[tuple[Any, ...]]
) -> None:
    """Also of users in two arms, of several strata, and after rows went, were changed, or came late."""
    connection.execute(NO_ROWS)
    connection.execute("DELETE FROM experiment_strata WHERE number > 0")
    connection.execute("UPDATE metric_looks SET seen = NULL, frozen_at = NULL")
    look(database_url, experiment)
    freeze(connection)
    keep(database_url, experiment)
    history = History(experiment)
    for step in [*steps, ("look",)]:
        if step[0] == "move":  # another stratum, of the same shares
            connection.execute(
                "INSERT INTO experiment_strata (experiment_id, number, stage, shares)"
                " SELECT experiment_id, max(number) + 1, 0, min(shares::text)::jsonb FROM experiment_strata GROUP BY 1"
            )
        elif step[0] != "look":
            act(connection, history, step)
        else:
            found = look(database_url, experiment)
            assert found.moments is not None
            assert flat(found.moments) == flat(from_nothing(connection, found.counting))
            stored = connection.execute("SELECT moments FROM metric_looks").fetchone()
            assert stored is not None
            assert flat(Moments.from_json(stored[0])) == flat(found.moments)


def test_figures_are_those_from_the_users(database_url: str, experiment: Experiment) -> None:
    """Two strata that share people, some of them in the other arm by then, with a time before: every finding agrees."""
    rng = np.random.default_rng(8)
    says = ["thumbs_up", "thumbs_down", "correction", "copied", "reformulation", "rating"]

    def serve(start: int, share: float, stored: str) -> None:
        rows = []
        for _ in range(700):
            user = int(rng.integers(90))
            said = says[user % 6] if rng.random() < 0.7 else str(rng.choice(says))
            arm = "treatment" if user * 0.618 % 1 < share else "control"
            rating = (("rating", float(rng.integers(1, 6))),) if said == "rating" else ((said, None),)
            latency = float(rng.lognormal(6, 0.5))
            rows.append(Served(f"u{user}", arm, latency_ms=latency, failed=user % 9 == 0, said=rating))
        store(database_url, experiment, rows, start=start, share=share)
        with psycopg.connect(database_url) as connection:
            connection.execute(f"UPDATE interactions SET stored_at = {stored} WHERE stored_at > now() - interval '1h'")

    with psycopg.connect(database_url, autocommit=True) as connection:
        for number in range(300):
            put(connection, answer(experiment, number, f"u{number % 70}", None))
            put(connection, reaction(number, number, says[number % 70 % 6 % 5]))
        connection.execute("UPDATE interactions SET stored_at = now() - interval '2 days'")
        connection.execute("UPDATE feedback_events SET stored_at = now() - interval '2 days'")
        connection.execute("UPDATE experiment_strata SET since = now() - interval '20 hours'")
        connection.execute("UPDATE interactions SET \"timestamp\" = now() - interval '2 days'")
    set_share(database_url, experiment.experiment_id, 0.25, actor="test")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE experiment_strata SET since = now() - interval '15 hours' WHERE number = 1")
    serve(1000, 0.25, "now() - interval '10 hours'")
    set_share(database_url, experiment.experiment_id, 0.5, actor="test")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE experiment_strata SET since = now() - interval '5 hours' WHERE number = 2")
    serve(2000, 0.5, "now()")
    metrics = [
        Metric(**{**{name: getattr(metric, name) for name in Metric.__slots__}, "role": role, "relative_margin": 0.05})
        for metric in METRICS.values()
        for role in ("primary", "guardrail", "watch")
    ]
    for role in ("primary", "guardrail", "watch"):
        asked = [metric for metric in metrics if metric.role == role]
        with psycopg.connect(database_url) as connection:
            kept = count_stages(connection, experiment.experiment_id, asked, before=True)
            users = count_stages(connection, experiment.experiment_id, asked, before=True, keys=True)
        design = Design(tuple(asked), burn_in_users=10)
        told = [analyse(design, stages, look=0) for stages in (kept, users)]
        assert Counter(found.strata for found in told[0].findings if role == "primary").keys() <= {0, 1, 2}
        some = 0
        for one, other in zip(told[0].findings, told[1].findings, strict=True):
            assert (one.metric, one.outcome, one.reason, one.strata) == (
                other.metric, other.outcome, other.reason, other.strata
            )  # fmt: skip
            for name in ("control", "treatment", "difference", "standard_error", "theta", "variance_kept", "z"):
                figure, expected = getattr(one, name), getattr(other, name)
                same = figure is None if expected is None else figure == pytest.approx(expected, rel=1e-9, abs=1e-12)
                assert same, (one.metric, name, figure, expected)
            some += one.theta is not None
        assert some >= 3  # CUPED took part
        assert role != "primary" or any(found.strata == 2 for found in told[0].findings)


def test_a_constant_metric_has_no_variance_at_all(database_url: str, experiment: Experiment) -> None:
    """7 of 10 from everyone: doubles leave 1e-17 of it, over which anything at all is a certain harm."""
    rows = []
    for user in range(30):
        for number in range(10):
            said = "thumbs_up" if number < 7 else "thumbs_down"
            rows.append(Served(f"u{user}", "treatment" if user % 2 else "control", said=((said, None),)))
    store(database_url, experiment, rows)
    with psycopg.connect(database_url) as connection:
        stage = count_stages(connection, experiment.experiment_id, [METRICS["thumbs_up_rate"]])[0]
    for sums in stage.sums["thumbs_up_rate"].values():
        assert sums.linearise(sums)[0, 0] == 0.0  # type: ignore[union-attr,arg-type]


def test_who_met_both_arms_is_in_neither_and_told(database_url: str, experiment: Experiment) -> None:
    store(
        database_url,
        experiment,
        [Served("ada", "control"), Served("bob", "control"), Served("bob", "treatment"), Served("cyd", "treatment")],
    )
    for users in (False, True):
        with psycopg.connect(database_url) as connection:
            stage = count_stages(connection, experiment.experiment_id, [METRICS["error_rate"]], keys=users)[-1]
        assert (stage.users, stage.crossed) == ({"control": 1, "treatment": 1}, 1)
        assert [sums.users for sums in stage.sums["error_rate"].values()] == [1, 1]
    assert read(database_url, "SELECT moments -> 'crossed' FROM metric_looks") == [([[0, 1]],)]
