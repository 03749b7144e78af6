"""What a backup brings back: every row of every table, every object, and a router that serves the champion."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from flytewheel.backup.bringing import restore_backup
from flytewheel.backup.manifest import Backup, check_backup, read_things
from flytewheel.backup.tables import find_next_transaction
from flytewheel.backup.taking import take_backup
from flytewheel.database import connect, list_migrations, migrate
from flytewheel.erase.erasure import Place
from flytewheel.errors import BackupError
from flytewheel.forgotten import check_of
from registry.store import ObjectStore
from tests.backup.conftest import KEY, make_place, tell
from tests.router.hosting import make_router
from tests.router.live import LiveRouter
from tests.rows import fill, list_columns, list_tables, read_rows
from tests.services import TestServices, run_services

OBJECTS = {"a/b": b"", "a/ü 漢字?&+%20": b"odd", "aliases/m/champion": b"1", "blobs/x": b"\0\xff" * 70_000}
ABOUT_THE_SERVER = ("migrations", "restores", "router_replicas")


def _fill(place: Place, versions: int | None = None) -> None:
    migrate(place.database_url, list_migrations()[:versions])
    with connect(place.database_url) as connection:
        fill(connection)
        connection.execute("UPDATE erasures SET ended_at = until, key_check = %s", (check_of(KEY),))
        connection.execute("DELETE FROM restores" if versions is None else "SELECT 1")
    for key, data in OBJECTS.items():
        place.store.put_bytes(key, data)


def _read(url: str) -> dict[str, list[str]]:
    with connect(url) as connection:
        return {name: read_rows(connection, name) for name in list_tables(connection, ABOUT_THE_SERVER)}


def _read_store(store: ObjectStore) -> dict[str, bytes]:
    return {key: store.get_bytes(key) for key in store.list()}


def _back_up(place: Place, folder: Path) -> Backup:
    return take_backup(place.database_url, place.store, place.home, folder, tell)


def test_every_row_and_object_comes_back_and_the_schema_works(make_empty: Callable[..., Place], tmp_path: Path) -> None:
    source, target = make_empty(), make_empty()
    _fill(source)
    before = _read(source.database_url)
    made = _back_up(source, tmp_path / "b")
    assert {table.name for table in made.tables} == set(before)
    assert min(map(len, before.values())) >= 1
    assert check_backup(tmp_path / "b", tell) == made
    restore_backup(target, tmp_path / "b")
    assert _read(target.database_url) == before
    assert _read_store(target.store) == OBJECTS == _read_store(source.store)
    with connect(target.database_url) as connection:
        query = "INSERT INTO outbox (topic, body) VALUES ('t', '{}') RETURNING entry"
        assert connection.execute(query).fetchone() == (3,)  # numbers go on
        connection.execute("DELETE FROM interactions")
        assert connection.execute("SELECT count(*) FROM feedback_events").fetchone() == (0,)  # triggers fire again
    with pytest.raises(BackupError, match="the database is not empty"):
        restore_backup(target, tmp_path / "b")


def test_a_backup_of_an_earlier_schema_comes_up_to_this_one(make_empty: Callable[..., Place], tmp_path: Path) -> None:
    source, target = make_empty(), make_empty()
    _fill(source, versions=1)
    with connect(source.database_url) as connection:
        columns = {name: list_columns(connection, name) for name in list_tables(connection, ABOUT_THE_SERVER)}
    before = _read(source.database_url)
    made = _back_up(source, tmp_path / "b")
    assert len(made.migrations) == 1
    restore_backup(target, tmp_path / "b")
    assert migrate(target.database_url) == []
    with connect(target.database_url) as connection:  # later migrations add columns
        assert {name: read_rows(connection, name, columns[name]) for name in before} == before


@pytest.fixture
def old(services: TestServices, tmp_path: Path) -> LiveRouter:
    (tmp_path / "old").mkdir()
    return make_router(services, tmp_path / "old")


def test_a_router_serves_the_champion_on_another_machine(old: LiveRouter, open_dir: Path, tmp_path: Path) -> None:
    old.start()
    try:
        version = old.serve("oncall", "base")
        answered = old.ask("oncall")
        assert answered.status_code == 200
        words = answered.json()["choices"]
    finally:
        assert old.stop() == 0
        old.client.close()
    interactions = old.rows("SELECT interaction_id, body, xid::text FROM interactions")
    assert len(interactions) == 1
    with connect(old.database_url) as connection:
        sent = find_next_transaction(connection)
    made = take_backup(old.database_url, old.store, old.home, tmp_path / "b", tell)
    keys = old.home / "keys"
    apart = open_dir / "elsewhere"
    apart.mkdir()
    with run_services(apart) as elsewhere:
        place = make_place(elsewhere, elsewhere.database_url, tmp_path / "new")
        restore_backup(place, tmp_path / "b")
        if keys.exists():
            shutil.copytree(keys, place.home / "keys")
        with psycopg.connect(place.database_url, autocommit=True) as connection:
            assert find_next_transaction(connection) >= sent >= made.next_xid
        new = LiveRouter(place.home, place.database_url, place.store, {
            **old.environ,
            "FLYTEWHEEL_HOME": str(place.home),
            "FLYTEWHEEL_DATABASE_URL": place.database_url,
            "FLYTEWHEEL_S3_URL": elsewhere.s3_url,
            "FLYTEWHEEL_S3_BUCKET": place.store.bucket,
        })  # fmt: skip
        try:
            assert new.registry.get_alias("oncall", "champion") == version
            assert {finding.state for finding in new.registry.audit()} == {"ok"}
            assert new.rows("SELECT interaction_id, body, xid::text FROM interactions") == interactions
            new.start()
            again = new.ask("oncall")
            assert again.status_code == 200
            assert again.json()["choices"] == words
        finally:
            new.stop()
            new.client.close()


def test_objects_that_were_copied_are_not_copied_again(make_empty: Callable[..., Place], tmp_path: Path) -> None:
    source = make_empty()
    migrate(source.database_url)
    for number in range(6):
        source.store.put_bytes(f"o/{number}", f"{number}".encode() * 1000)
    asked: list[str] = []

    class Dying(ObjectStore):
        def get_file(self, key: str, path: Path) -> str:
            asked.append(key)
            if len(asked) == 4:
                raise BackupError("died")
            return super().get_file(key, path)

    dying = Dying.__new__(Dying)
    dying.__dict__.update(source.store.__dict__)
    with pytest.raises(BackupError, match="died"):
        take_backup(source.database_url, dying, source.home, tmp_path / "b", tell)
    with pytest.raises(BackupError, match="no finished backup"):
        check_backup(tmp_path / "b", tell)
    noted = (tmp_path / "b" / "objects.part").read_text(encoding="utf-8").count("\n")
    assert 1 <= noted <= 5
    asked.clear()
    asked += ["-"] * 4
    take_backup(source.database_url, dying, source.home, tmp_path / "b", tell)
    assert len(asked) - 4 == 6 - noted
    assert [each.key for each in read_things(tmp_path / "b")] == [f"o/{number}" for number in range(6)]
    check_backup(tmp_path / "b", tell)
