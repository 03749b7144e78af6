"""A person's counters go with their rows, and the next look does not bring them back."""

from __future__ import annotations

import psycopg

from flytewheel.erase.database import count_person, delete_person
from flytewheel.erase.needles import Needles
from flytewheel.erase.person import find_person
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
