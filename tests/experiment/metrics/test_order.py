"""Looks beside other transactions: late commits, two looks at once, erasing while somebody looks."""

from __future__ import annotations

import threading
from typing import Any

import psycopg

from flytewheel.experiment.experiments import Experiment, set_share
from flytewheel.experiment.metrics.look import Look, keep_looks_out, take_look
from tests.experiment.canary import read
from tests.experiment.metrics.looks import answer, counted, freeze, look, put, reaction

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"


def requests(connection: psycopg.Connection[Any], found: Look) -> dict[str, int]:
    return {row[2]: row[3] for row in counted(connection, found)}


def test_what_commits_late_is_counted_once(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    """An older and a younger transaction overlap a look; neither the numbers of transactions nor times say it all."""
    put(connection, answer(experiment, 1, "ada", "control"))
    look(database_url, experiment)
    freeze(connection)
    with psycopg.connect(database_url) as older, psycopg.connect(database_url) as younger:
        put(older, answer(experiment, 2, "bob", "control"))
        put(older, reaction(1, 1, "thumbs_down"))
        put(younger, answer(experiment, 3, "cyd", "treatment"))
        younger.commit()  # before the older one, whose rows carry the smaller number
        first = look(database_url, experiment)
        assert requests(connection, first) == {"ada": 1, "cyd": 1}
        put(younger, reaction(2, 1, "thumbs_up"))
        older.commit()
        second = look(database_url, experiment)
        assert requests(connection, second) == {"ada": 1, "bob": 1, "cyd": 1}
        assert read(database_url, "SELECT votes, ups FROM user_counts WHERE user_id = 'ada'") == [(1, 0)]
        younger.commit()  # its vote has the greater id
    third = look(database_url, experiment)
    assert not third.anew
    assert third.users == 1
    assert read(database_url, "SELECT votes, ups FROM user_counts WHERE user_id = 'ada'") == [(1, 1)]
    assert look(database_url, experiment).users == 0


def test_what_is_rolled_back_is_never_counted(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    put(connection, answer(experiment, 1, "ada", "control"))
    look(database_url, experiment)
    freeze(connection)
    with psycopg.connect(database_url) as given_up:
        put(given_up, answer(experiment, 2, "bob", "control"))
        look(database_url, experiment)
        given_up.rollback()
    with psycopg.connect(database_url) as looking:  # a look that is given up leaves the marks where they were
        put(connection, answer(experiment, 3, "cyd", "control"))
        take_look(looking, experiment.experiment_id)
        looking.rollback()
    assert requests(connection, look(database_url, experiment)) == {"ada": 1, "cyd": 1}


def wait_for_waiting(connection: psycopg.Connection[Any], ended: threading.Event) -> None:
    while not connection.execute(WAITING).fetchone()[0]:  # type: ignore[index]
        assert not ended.wait(0.02), "it did not wait"


def test_two_looks_at_once_count_once(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    put(connection, answer(experiment, 1, "ada", "control"))
    look(database_url, experiment)
    freeze(connection)
    put(connection, answer(experiment, 2, "ada", "control"))
    found: list[Look] = []
    ended = threading.Event()

    def look_too() -> None:
        try:
            found.append(look(database_url, experiment))
        finally:
            ended.set()

    with psycopg.connect(database_url) as looking:
        first = take_look(looking, experiment.experiment_id)
        second = threading.Thread(target=look_too)
        second.start()
        wait_for_waiting(connection, ended)
        looking.commit()
    second.join()
    assert (first.answers, found[0].answers) == (1, 0)
    assert requests(connection, first) == {"ada": 2}


def test_nobody_is_written_back_while_erased(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    put(connection, answer(experiment, 1, "ada", "control"))
    put(connection, answer(experiment, 2, "bob", "control"))
    look(database_url, experiment)
    freeze(connection)
    put(connection, answer(experiment, 3, "ada", "control"))
    ended = threading.Event()

    def look_too() -> None:
        try:
            look(database_url, experiment)
        finally:
            ended.set()

    with psycopg.connect(database_url) as erasing:
        keep_looks_out(erasing)
        for table in ("interactions", "user_counts", "recounts"):
            erasing.execute(f"DELETE FROM {table} WHERE user_id = 'ada'".encode())
        beside = threading.Thread(target=look_too)
        beside.start()
        wait_for_waiting(connection, ended)
        erasing.commit()
    beside.join()
    assert read(database_url, "SELECT DISTINCT user_id FROM user_counts") == [("bob",)]
    assert read(database_url, "SELECT * FROM recounts") == []


def test_an_answer_counts_in_the_stratum_it_was_drawn_in(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    """Stored after the share moved, drawn before: the old stratum's; and a move beside a look loses nothing."""
    put(connection, answer(experiment, 1, "ada", "treatment"))
    look(database_url, experiment)
    freeze(connection)
    set_share(database_url, experiment.experiment_id, 0.25, actor="test")
    put(connection, answer(experiment, 2, "ada", "treatment"))  # drawn with one half
    put(connection, answer(experiment, 3, "ada", "treatment", propensity=0.25))
    put(connection, answer(experiment, 4, "ada", "treatment", propensity=None))  # by time alone
    put(connection, answer(experiment, 5, "ada", "treatment", propensity=0.1))  # no stratum had that
    found = look(database_url, experiment)
    assert not found.anew
    assert read(database_url, "SELECT stratum, requests FROM user_counts ORDER BY 1") == [(0, 2), (1, 2)]
    # A share that is moved back is a stratum of its own, told from the first by time.
    with psycopg.connect(database_url) as looking:
        take_look(looking, experiment.experiment_id)
        looking.commit()
    set_share(database_url, experiment.experiment_id, 0.5, actor="test")
    put(connection, answer(experiment, 6, "ada", "treatment"))
    look(database_url, experiment)
    assert read(database_url, "SELECT stratum, requests FROM user_counts ORDER BY 1") == [(0, 2), (1, 2), (2, 1)]


def test_a_share_that_moved_while_somebody_looked_is_counted_anew(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    put(connection, answer(experiment, 1, "ada", "treatment"))
    look(database_url, experiment)
    freeze(connection)
    set_share(database_url, experiment.experiment_id, 0.25, actor="test")
    put(connection, answer(experiment, 2, "ada", "treatment", propensity=0.25))
    # The look read the strata before the move was committed, and its statement saw what was stored after it.
    connection.execute(
        "UPDATE metric_looks SET seen = pg_current_snapshot(), looked_at = clock_timestamp(),"
        " thresholds = thresholds || '{\"strata\": 1}'"
    )
    assert look(database_url, experiment).anew
    assert read(database_url, "SELECT stratum, requests FROM user_counts ORDER BY 1") == [(0, 1), (1, 1)]


def test_marks_go_when_every_look_has_seen_them(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    put(connection, answer(experiment, 1, "ada", "control"))
    put(connection, answer(experiment, 2, "ada", "control"))
    look(database_url, experiment)
    freeze(connection)
    connection.execute("DELETE FROM interactions WHERE interaction_id = 'i1'")
    assert read(database_url, "SELECT source, user_id FROM recounts") == [("demo", "ada")]
    assert requests(connection, look(database_url, experiment)) == {"ada": 1}
    assert read(database_url, "SELECT * FROM recounts") == []
    connection.execute("DELETE FROM interactions")
    assert requests(connection, look(database_url, experiment)) == {}


def test_another_server_is_counted_from_nothing(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any]
) -> None:
    put(connection, answer(experiment, 1, "ada", "control"))
    look(database_url, experiment)
    freeze(connection)
    connection.execute("UPDATE metric_looks SET seen = '9000000000:9000000000:'")
    found = look(database_url, experiment)
    assert found.anew
    assert requests(connection, found) == {"ada": 1}
