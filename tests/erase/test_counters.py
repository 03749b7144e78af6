"""What an experiment knows of a person goes with their rows, and the next look does not bring it back."""

from __future__ import annotations

import psycopg

from flytewheel.erase.database import count_person, delete_person
from flytewheel.erase.needles import Needles
from flytewheel.erase.person import find_person
from flytewheel.experiment.allocation.given import place_user
from flytewheel.experiment.layers import digest_user
from flytewheel.experiment.metrics import METRICS, count_stages
from tests.experiment.canary import open_canary, read
from tests.experiment.metrics.looks import answer, freeze, look, put, reaction

ERASURE = "INSERT INTO erasures (erasure_id, subject, key_check, by, until) VALUES ('e', 's', 'k', 'bob', now())"


def test_a_person_leaves_the_counters_and_the_marks(database_url: str) -> None:
    experiment = open_canary(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        put(connection, answer(experiment, 1, "ada", "control"))
        put(connection, answer(experiment, 2, "bob", "control"))
        put(connection, reaction(1, 2, "thumbs_up", user_id="ada"))  # she liked what he was answered
        look(database_url, experiment)
        freeze(connection)
        put(connection, answer(experiment, 3, "ada", "control"))
        connection.execute("UPDATE interactions SET digest = 'x' WHERE interaction_id = 'i1'")  # marks her
        connection.execute(ERASURE)
    with psycopg.connect(database_url) as connection:
        needles = Needles(find_person(connection, "ada"), [], [])
        assert count_person(connection, needles)["user_counts"] == 1
        gone = delete_person(connection, needles, erasure="e", key="k" * 32, successors={}, cleaned=())
    assert gone["user_counts"] == 1
    assert read(database_url, "SELECT user_id FROM recounts") == [("bob",)]  # a vote on his answer went
    found = look(database_url, experiment)
    assert not found.anew
    assert read(database_url, "SELECT user_id, requests, ups FROM user_counts") == [("bob", 1, 0)]


def test_kept_sums_are_of_those_who_are_left(database_url: str) -> None:
    experiment = open_canary(database_url)
    asked = [METRICS["thumbs_up_rate"]]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for number, user in enumerate(("ada", "bob", "cyd")):
            put(connection, answer(experiment, number, user, "control"))
            put(connection, reaction(number, number, "thumbs_up" if user == "ada" else "thumbs_down"))
        connection.execute(ERASURE)
        with psycopg.connect(database_url) as looking:
            count_stages(looking, experiment.experiment_id, asked)
        freeze(connection)
    with psycopg.connect(database_url) as connection:
        needles = Needles(find_person(connection, "ada"), [], [])
        delete_person(connection, needles, erasure="e", key="k" * 32, successors={}, cleaned=())
    with psycopg.connect(database_url) as connection:
        stage = count_stages(connection, experiment.experiment_id, asked)[-1]
        assert stage.users == {"control": 2, "treatment": 0}
        assert stage.sums["thumbs_up_rate"]["control"].sum_up() == (0, 2)  # type: ignore[union-attr]


def test_what_only_a_computed_name_finds_goes_too(database_url: str) -> None:
    """The arm that an allocation gave, by the user's draw, and the holdout's digests; others' stay."""
    experiment, key = open_canary(database_url), "an assignment key"
    places = {user: place_user(key.encode(), experiment.experiment_id, user) for user in ("ada", "bob")}
    digests = sorted(digest_user(user) for user in places)
    with psycopg.connect(database_url, autocommit=True) as connection:
        put(connection, answer(experiment, 1, "ada", "control"))
        connection.execute(ERASURE)
        for place in places.values():
            connection.execute(
                "INSERT INTO given_arms (experiment_id, place, arm, propensity) VALUES (%s, %s, 'control', 0.5)",
                (experiment.experiment_id, place),
            )
        for digest in digests:
            connection.execute("INSERT INTO holdout_users VALUES (%s)", (digest,))
        connection.execute("UPDATE experiments SET layer = jsonb_build_object('held_out', %s::text[])", (digests,))
    gone = {"given_arms": 1, "holdout_users": 1, "experiments.layer": 1}
    with psycopg.connect(database_url) as connection:
        needles = Needles(find_person(connection, "ada"), [], [])
        assert gone.items() <= count_person(connection, needles, key).items()
        assert "given_arms" not in count_person(connection, needles)
        done = delete_person(
            connection, needles, erasure="e", key="k" * 32, successors={}, cleaned=(), assignment_key=key
        )
        assert gone.items() <= done.items()
    assert read(database_url, "SELECT place FROM given_arms") == [(places["bob"],)]
    assert read(database_url, "SELECT user_digest FROM holdout_users") == [(digest_user("bob"),)]
    assert read(database_url, "SELECT layer -> 'held_out' FROM experiments") == [([digest_user("bob")],)]
