"""The schema goes forward, a whole step or none, and takes what is stored along (flytewheel/migrations)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from flytewheel.cli import main
from flytewheel.database import Migration, connect, find_pending, list_migrations, migrate
from flytewheel.errors import DatabaseError
from tests.rows import fill, list_columns, list_tables, read_rows
from tests.services import TestServices

ROOT = Path(__file__).parents[1]
DUMPS = sorted((ROOT / "tests" / "dumps").glob("*.sql"))
FIRST = "8c37a5da5fed0fd636d94f3956547cb069e83efcb405ef64872aa768776f6cb1"
_SCHEMA = """
SELECT 'column', attrelid::regclass::text, attname::text, concat_ws(' ', format_type(atttypid, atttypmod), attnotnull,
       pg_get_expr(adbin, adrelid), attidentity)
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
WHERE NOT tgisinternal
UNION ALL SELECT 'function', '', proname, pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
ORDER BY 1, 2, 3, 4
"""
KNOWN = [
    Migration(1, "one", "CREATE TABLE one (a integer PRIMARY KEY); INSERT INTO one VALUES (1)"),
    Migration(2, "two", "ALTER TABLE one ADD COLUMN b text NOT NULL DEFAULT 'b'; UPDATE one SET b = 'of ' || a"),
]


@pytest.fixture
def make_database(services: TestServices) -> Iterator[Callable[[], str]]:
    """Makes empty databases, without any schema."""
    with psycopg.connect(services.database_url, autocommit=True) as connection, ExitStack() as cleanup:

        def make() -> str:
            name = f"test_{uuid.uuid4().hex}"
            connection.execute(f"CREATE DATABASE {name}")
            cleanup.callback(connection.execute, f"DROP DATABASE {name} WITH (FORCE)")
            return services.database_url.rpartition("/")[0] + f"/{name}"

        yield make


def _read(url: str, query: str) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(query).fetchall()


def _read_all(url: str) -> dict[str, tuple[list[str], list[str]]]:
    """Columns and rows of each table."""
    with connect(url) as connection:
        return {name: (list_columns(connection, name), read_rows(connection, name)) for name in list_tables(connection)}


def _assert_rows_kept(url: str, before: dict[str, tuple[list[str], list[str]]]) -> None:
    with connect(url) as connection:
        for name, (columns, rows) in before.items():
            assert rows, name
            assert read_rows(connection, name, columns) == rows, name


def test_the_first_migration_is_what_it_was_when_it_was_released() -> None:
    assert list_migrations()[0].digest == FIRST, "0001 has run in people's databases: put it back, and add a file"


def test_no_migration_ends_the_transaction_that_it_runs_in() -> None:
    for each in list_migrations():
        statements = {line.strip().upper().rstrip(";") for line in each.text.splitlines()}
        assert not statements & {"BEGIN", "COMMIT", "ROLLBACK", "START TRANSACTION"}, each
        assert "CONCURRENTLY" not in each.text.partition("CREATE")[2], each


@pytest.mark.parametrize("dump", DUMPS, ids=[path.stem for path in DUMPS])
def test_a_database_of_a_former_release_comes_up_with_its_data(make_database: Callable[[], str], dump: Path) -> None:
    url = make_database()
    with connect(url) as connection:
        connection.execute(dump.read_bytes())
    before = _read_all(url)
    assert len(before) >= 41
    migrate(url)
    _assert_rows_kept(url, before)
    fresh = make_database()
    migrate(fresh)
    assert _describe_schema(url) == _describe_schema(fresh)


def test_a_database_of_every_earlier_number_comes_up_with_its_data(make_database: Callable[[], str]) -> None:
    known = list_migrations()
    for number in range(1, len(known)):
        url = make_database()
        assert migrate(url, known[:number]) == known[:number]
        with connect(url) as connection:
            fill(connection)
        before = _read_all(url)
        assert migrate(url) == known[number:]
        _assert_rows_kept(url, before)


def test_what_is_pending_is_applied_once_in_order_and_written_down(make_database: Callable[[], str]) -> None:
    url = make_database()
    assert migrate(url, KNOWN[:1]) == KNOWN[:1]
    assert migrate(url, KNOWN[:1]) == []
    assert migrate(url, KNOWN) == KNOWN[1:]
    assert migrate(url, KNOWN) == []
    assert _read(url, "SELECT a, b FROM one") == [(1, "of 1")]
    assert _read(url, "SELECT number, name, digest FROM migrations ORDER BY number") == [
        (each.number, each.name, each.digest) for each in KNOWN
    ]


def test_many_processes_at_once_apply_each_migration_once(make_database: Callable[[], str]) -> None:
    url = make_database()
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: migrate(url, KNOWN), range(8)))
    assert sorted(map(len, done)) == [0] * 7 + [2]
    assert _read(url, "SELECT a, b FROM one") == [(1, "of 1")]


def test_a_migration_that_fails_leaves_the_version_before(make_database: Callable[[], str]) -> None:
    url = make_database()
    migrate(url, KNOWN[:1])
    broken = Migration(3, "three", "CREATE TABLE three (a integer); INSERT INTO three VALUES ('x'); SELECT 1")
    with pytest.raises(
        DatabaseError, match=r"0003_three failed \(invalid input.*\); nothing of the 2 .* was kept"
    ) as caught:
        migrate(url, [*KNOWN, broken])
    assert "\n" not in str(caught.value)
    assert _read(url, "SELECT to_regclass('three'), max(number) FROM migrations") == [(None, 1)]
    assert _read(url, "SELECT * FROM one") == [(1,)]
    assert migrate(url, KNOWN) == KNOWN[1:]


def test_a_first_migration_that_fails_leaves_an_empty_database(make_database: Callable[[], str]) -> None:
    url = make_database()
    with pytest.raises(DatabaseError, match="0001_one failed"):
        migrate(url, [Migration(1, "one", "CREATE TABLE one (a integer); SELECT 1 / 0")])
    assert _read(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_database_of_a_newer_release_is_refused_and_left_alone(make_database: Callable[[], str]) -> None:
    url = make_database()
    migrate(url, KNOWN)
    with pytest.raises(DatabaseError, match=r"has migration 0002_two, and this flytewheel \(.*\) knows 1: a newer one"):
        migrate(url, KNOWN[:1])
    assert _read(url, "SELECT a, b FROM one") == [(1, "of 1")]


def test_another_text_under_a_number_that_ran_is_refused(make_database: Callable[[], str]) -> None:
    url = make_database()
    migrate(url, KNOWN[:1])
    changed = [replace(KNOWN[0], text=KNOWN[0].text + " -- as it should have been"), KNOWN[1]]
    with pytest.raises(DatabaseError, match=r"0001_one is not what was applied .* in a new migration"):
        migrate(url, changed)
    assert _read(url, "SELECT * FROM one") == [(1,)]


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["0001_a.sql", "0003_b.sql"], r"numbered \[1, 3\]"),
        (["0001_a.sql", "0001_b.sql"], r"numbered \[1, 1\]"),
        (["0002_a.sql"], r"numbered \[2\]"),
        (["0001_a.sql", "2_b.sql"], r"2_b\.sql: expected NNNN_name\.sql"),
    ],
)
def test_files_that_are_not_a_row_of_numbers_are_refused(tmp_path: Path, names: list[str], fault: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1", encoding="utf-8")
    with pytest.raises(DatabaseError, match=fault):
        list_migrations(tmp_path)


def test_a_dry_run_says_what_is_due_and_changes_nothing(
    make_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_database()
    monkeypatch.setenv("FLYTEWHEEL_DATABASE_URL", url)
    told = _call("migrate", "--dry-run", "--json")
    assert [each["number"] for each in told["pending"]] == [each.number for each in list_migrations()]
    assert told["applied"] == []
    assert _read(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    told = _call("migrate", "--json")
    assert [each["name"] for each in told["applied"]] == [each.name for each in list_migrations()]
    assert _call("migrate", "--json") == {"version": len(list_migrations()), "applied": [], "pending": []}
    result = CliRunner().invoke(main, ["migrate"])
    assert f"at version {len(list_migrations())}" in result.output
    with connect(url) as connection:
        assert find_pending(connection, list_migrations()) == []


def test_the_command_refuses_in_one_line(make_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_database()
    migrate(url, [*list_migrations(), Migration(len(list_migrations()) + 1, "later", "SELECT 1")])
    monkeypatch.setenv("FLYTEWHEEL_DATABASE_URL", url)
    result = CliRunner().invoke(main, ["migrate"])
    assert result.exit_code == 1
    assert result.output.startswith("error: the database has migration")
    assert result.output.count("\n") == 1


def test_without_a_database_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTEWHEEL_HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["migrate"])
    assert result.exit_code == 1
    assert "flytewheel up" in result.output


def _call(*arguments: str) -> Any:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def _describe_schema(url: str) -> list[tuple[Any, ...]]:
    """Columns, constraints, indexes, triggers and functions, as PostgreSQL spells them."""
    return _read(url, _SCHEMA)
