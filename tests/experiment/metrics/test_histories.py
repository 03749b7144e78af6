"""Two experiments of one model, one after the other, through late and corrected words, wrong clocks, and retention:
the counters are those of a model that adds up the same rows in Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytewheel.experiment.experiments import Experiment
from flytewheel.feedback.expiry import expire
from tests.experiment.canary import open_canary
from tests.experiment.metrics.looks import answer, freeze, look, put, reaction

COUNTED = "SELECT stratum, arm, user_id, requests, votes, ups, corrected FROM user_counts WHERE counting = %s"
EMPTY = """TRUNCATE interactions, feedback_events, groundedness, user_counts, recounts, metric_looks, expiries,
    experiment_strata, rollouts, experiments CASCADE"""
UP, DOWN, MENDED = "thumbs_up", "thumbs_down", "correction"
Key = tuple[int, str, str]
Sums = tuple[int, int, int, int]
DAYS = st.sampled_from([-40, -20, -1, 0, 0, 0, 3])  # what a client's clock is off by, or how late a log comes
STEP = st.one_of(
    st.tuples(
        st.just("answer"),
        st.sampled_from(["ada", "bob", "cyd"]),
        st.sampled_from(["control", "treatment", None]),
        st.sampled_from([0, 0, 1]),
        DAYS,
    ),
    st.tuples(st.just("react"), st.integers(0, 30), st.sampled_from([UP, DOWN, MENDED]), DAYS),
    st.tuples(st.just("expire")),
    st.tuples(st.just("look")),
    st.tuples(st.just("next")),
)


@dataclass
class Said:
    user: str
    experiment: str | None
    arm: str | None
    at: datetime
    stored: datetime
    events: list[tuple[datetime, str, str, datetime]] = field(default_factory=list)  # at, id, kind, stored

    def worth(self, heard_before: datetime | None = None) -> Sums:
        known = [event for event in self.events if heard_before is None or event[3] < heard_before]
        last = max(known)[2] if known else None
        return 1, int(last is not None), int(last == UP), int(any(kind == MENDED for _, _, kind, _ in known))


@dataclass
class World:
    """The store as Python has it. `seen` is what the last look at an experiment had of each answer that went since."""

    said: dict[int, Said] = field(default_factory=dict)
    seen: dict[str, dict[int, tuple[Key, Sums]]] = field(default_factory=dict)
    gone: dict[str, dict[int, tuple[Key, Sums]]] = field(default_factory=lambda: defaultdict(dict))
    events: int = 0

    def count(self, experiment: str, began: datetime) -> Mapping[Key, Sums]:
        """What a look must find; remembers it."""
        counted = dict(self.gone[experiment])
        for number, one in self.said.items():
            if one.experiment == experiment:
                assert one.arm
                counted[number] = (0, one.arm, one.user), one.worth()
            elif (
                one.stored < began
                and began - timedelta(days=28) <= one.at < began
                and (one.arm or "control") == "control"
            ):
                counted[number] = (-1, "", one.user), one.worth(began)
        self.seen[experiment] = counted
        sums: dict[Key, Sums] = {}
        for key, worth in counted.values():
            sums[key] = tuple(map(sum, zip(sums.get(key, (0, 0, 0, 0)), worth, strict=True)))  # type: ignore[assignment]
        return sums

    def forget(self, cutoff: datetime, running: str) -> None:
        for number in [n for n, one in self.said.items() if one.at < cutoff and one.experiment != running]:
            del self.said[number]
            for experiment, counted in self.seen.items():
                if number in counted:
                    self.gone[experiment][number] = counted[number]


def now(connection: psycopg.Connection[Any]) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=4, max_size=22))
def test_two_experiments_count_what_python_counts(
    database_url: str, connection: psycopg.Connection[Any], steps: list[tuple[Any, ...]]
) -> None:
    connection.execute(EMPTY)
    world, opened, began = World(), [open_canary(database_url)], {}

    def check(experiment: Experiment) -> None:
        row = connection.execute(
            "SELECT since FROM experiment_strata WHERE experiment_id = %s", (experiment.experiment_id,)
        ).fetchone()
        assert row is not None
        began[experiment.experiment_id] = row[0]
        found = look(database_url, experiment)
        freeze(connection)
        rows = connection.execute(COUNTED, (found.counting,)).fetchall()
        expected = world.count(experiment.experiment_id, row[0])
        assert {(row[0], row[1], row[2]): tuple(row[3:]) for row in rows} == dict(expected)

    check(opened[0])
    for number, step in enumerate([*steps, ("look",)]):
        if step[0] == "answer":
            _, user, arm, back, days = step
            experiment = opened[-1 - min(back, len(opened) - 1)]  # a late log names the experiment before
            at = now(connection) + timedelta(days=days)
            put(connection, answer(experiment, number, user, arm, timestamp=at))
            world.said[number] = Said(user, experiment.experiment_id if arm else None, arm, at, now(connection))
        elif step[0] == "react" and world.said:
            _, which, kind, days = step
            target = sorted(world.said)[which % len(world.said)]
            world.events += 1
            at = now(connection) + timedelta(days=days)
            put(connection, reaction(world.events, target, kind, timestamp=at))
            world.said[target].events.append((at, f"e{world.events}", kind, now(connection)))
        elif step[0] == "expire":
            moment = now(connection)
            world.forget(moment - timedelta(days=30), opened[-1].experiment_id)
            expire(database_url, 30, moment, by="test")
        elif step[0] == "next" and len(opened) == 1:
            check(opened[0])
            opened.append(open_canary(database_url, key="run-2", treatment="v3"))
            check(opened[1])
        elif step[0] == "look":
            for experiment in opened:
                check(experiment)


def test_what_ages_stays_counted_and_what_is_erased_does_not(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    """The covariate of a running experiment is older than any retention that is shorter than it and 28 days."""
    put(connection, answer(experiment, 1, "ada", None))
    put(connection, answer(experiment, 2, "bob", None))
    put(connection, reaction(1, 1, UP))
    connection.execute("UPDATE experiment_strata SET since = clock_timestamp()")
    connection.execute("UPDATE interactions SET \"timestamp\" = now() - interval '20 days'")
    put(connection, answer(experiment, 3, "ada", "control"))
    look(database_url, experiment)
    freeze(connection)
    before = connection.execute("SELECT * FROM user_counts ORDER BY stratum, user_id").fetchall()
    gone = expire(database_url, 10, datetime.now(UTC), by="test")
    assert (gone.interactions, gone.events) == (2, 1)
    assert look(database_url, experiment).users == 0
    assert connection.execute("SELECT * FROM user_counts ORDER BY stratum, user_id").fetchall() == before
    connection.execute("DELETE FROM interactions WHERE user_id = 'ada'")
    look(database_url, experiment)
    assert connection.execute("SELECT DISTINCT user_id FROM user_counts").fetchall() == [("bob",)]
