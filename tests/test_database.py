from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from flytewheel.database import connect, describe_url, last_line, list_migrations, migrate
from flytewheel.errors import DatabaseError


def test_a_block_is_one_transaction(database_url: str) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), connect(database_url) as connection:
        connection.execute("CREATE TABLE gone AS SELECT 1 / x FROM (VALUES (1), (0)) AS t (x)")
    with connect(database_url) as connection:
        assert connection.execute("SELECT to_regclass('gone')").fetchone() == (None,)
        connection.execute("CREATE TABLE kept (x int)")
    with connect(database_url) as connection:
        assert connection.execute("SELECT to_regclass('kept') IS NOT NULL").fetchone() == (True,)


def test_no_trigger_takes_the_place_of_another() -> None:
    """`CREATE OR REPLACE TRIGGER` says nothing where the name is taken: once a deletion left its events behind."""
    schema = "\n".join(each.text for each in list_migrations())
    made = Counter(re.findall(r"CREATE (?:OR REPLACE )?TRIGGER\s+(\w+)\s.*?\sON\s+(\w+)", schema, re.DOTALL))
    assert len(made) > 10
    assert {name: count for name, count in made.items() if count > 1} == {}


def test_migrating_again_and_at_once_changes_nothing(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("INSERT INTO outbox (topic, body) VALUES ('t', '{}')")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [database_url] * 4))
    with connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (1,)


def test_a_server_that_is_away_is_one_line_without_the_password() -> None:
    with (
        pytest.raises(DatabaseError, match=r"PostgreSQL at 127\.0\.0\.1:9/d is not reachable") as caught,
        connect("postgresql://u:secret@127.0.0.1:9/d"),
    ):
        pytest.fail("connected")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_connection_that_breaks_is_ours_and_a_wrong_statement_is_not(database_url: str) -> None:
    with (
        pytest.raises(DatabaseError, match=r"went away .*; nothing was committed"),
        connect(database_url) as connection,
    ):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(psycopg.errors.UndefinedTable), connect(database_url) as connection:
        connection.execute("SELECT * FROM nothing")


def test_urls_and_errors_in_words() -> None:
    assert describe_url("postgresql://u:p@db.example.org:6000/wheel") == "db.example.org:6000/wheel"
    assert describe_url("postgresql:///wheel") == "localhost:5432/wheel"
    assert describe_url("no=such=thing") == "the given address"
    assert last_line(OSError("first\n  the cause \n")) == "the cause"
    assert last_line(OSError()) == "OSError"
