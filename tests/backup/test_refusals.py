"""What is refused, and what a restore that was killed leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flytewheel.backup.bringing import restore_backup
from flytewheel.backup.manifest import MANIFEST, check_backup, object_file, read_things
from flytewheel.backup.tables import find_next_transaction, pass_transactions
from flytewheel.backup.taking import take_backup
from flytewheel.database import connect, migrate
from flytewheel.erase.erasure import Place
from flytewheel.errors import BackupError
from tests.backup.conftest import tell


@pytest.fixture
def made(make_empty: Callable[..., Place], tmp_path: Path) -> Path:
    """A small backup."""
    source = make_empty()
    migrate(source.database_url)
    with connect(source.database_url) as connection:
        connection.execute("INSERT INTO outbox (topic, body) VALUES ('t', '{}')")
    source.store.put_bytes("blobs/one", b"one")
    source.store.put_bytes("aliases/m/champion", b"v")
    take_backup(source.database_url, source.store, source.home, tmp_path / "b", tell)
    return tmp_path / "b"


def _list_files(folder: Path) -> list[Path]:
    things = [object_file(folder, each.sha256) for each in read_things(folder)]
    return [folder / "database" / "outbox", folder / "objects.jsonl", *things]


def test_a_torn_backup_is_refused_and_nothing_is_written(make_empty: Callable[..., Place], made: Path) -> None:
    target = make_empty()
    for path in _list_files(made):
        whole = path.read_bytes()
        for torn in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"\n", None):
            path.unlink()
            if torn is not None:
                path.write_bytes(torn)
            with pytest.raises(BackupError, match="torn backup"):
                restore_backup(target, made)
            path.write_bytes(whole)
    (made / MANIFEST).rename(made / "other")
    with pytest.raises(BackupError, match="holds no finished backup"):
        restore_backup(target, made)
    with connect(target.database_url) as connection:
        assert connection.execute("SELECT to_regclass('restores')").fetchone() == (None,)
    assert target.store.list() == []


def test_a_stack_that_holds_something_is_refused(make_empty: Callable[..., Place], made: Path) -> None:
    rows, objects, routed = make_empty(), make_empty(), make_empty()
    for place in (rows, objects, routed):
        migrate(place.database_url)
    with connect(rows.database_url) as connection:
        connection.execute("INSERT INTO outbox (topic, body) VALUES ('t', '{}')")
    objects.store.put_bytes("k", b"")
    with connect(routed.database_url) as connection:
        connection.execute("INSERT INTO router_replicas (replica_id) VALUES ('r')")
    for place, fault in ((rows, r"not empty \(outbox\)"), (objects, "1 objects, k"), (routed, "a router runs")):
        with pytest.raises(BackupError, match=fault):
            restore_backup(place, made)
        with connect(place.database_url) as connection:
            assert connection.execute("SELECT count(*) FROM restores").fetchone() == (0,)


def test_a_backup_of_a_newer_release_or_of_other_texts_is_refused(make_empty: Callable[..., Place], made: Path) -> None:
    told = json.loads((made / MANIFEST).read_bytes())
    for migrations, fault in (
        ([*told["migrations"], [99, "later", "d"]], "schema is at version"),
        ([[1, "tables", "other"], *told["migrations"][1:]], "another text of migration 0001_tables"),
    ):
        (made / MANIFEST).write_text(json.dumps({**told, "migrations": migrations}), encoding="utf-8")
        with pytest.raises(BackupError, match=fault):
            restore_backup(make_empty(), made)
    (made / MANIFEST).write_text(json.dumps({**told, "format": 2}), encoding="utf-8")
    with pytest.raises(BackupError, match="a newer form"):
        restore_backup(make_empty(), made)


def test_a_folder_that_holds_something_else_is_refused(make_empty: Callable[..., Place], made: Path) -> None:
    source = make_empty()
    migrate(source.database_url)
    with pytest.raises(BackupError, match="holds the backup of"):
        take_backup(source.database_url, source.store, source.home, made, tell)
    other = made.parent / "mine"
    other.mkdir()
    (other / "thesis.odt").touch()
    with pytest.raises(BackupError, match=r"holds thesis\.odt"):
        take_backup(source.database_url, source.store, source.home, other, tell)


class Killed(BaseException):
    """As SIGKILL: nothing catches it."""


@pytest.mark.parametrize("step", ["begun", "objects", "rows", "erasures"])
def test_a_restore_that_was_killed_goes_on_and_has_no_champion_before(
    make_empty: Callable[..., Place], made: Path, step: str
) -> None:
    target = make_empty()

    def die(after: str) -> None:
        if after == step:
            raise Killed

    with pytest.raises(Killed):
        restore_backup(target, made, after=die)
    assert target.store.list("aliases/") == []
    restore_backup(target, made)
    assert target.store.get_bytes("aliases/m/champion") == b"v"
    assert target.store.get_bytes("blobs/one") == b"one"
    with connect(target.database_url) as connection:
        assert connection.execute("SELECT topic FROM outbox").fetchall() == [("t",)]
        assert connection.execute("SELECT count(*) FROM restores WHERE ended_at IS NOT NULL").fetchone() == (1,)


def test_another_backup_does_not_go_on_where_one_was_killed(make_empty: Callable[..., Place], made: Path) -> None:
    target, source = make_empty(), make_empty()
    migrate(source.database_url)
    take_backup(source.database_url, source.store, source.home, made.parent / "other", tell)

    def die(after: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        restore_backup(target, made, after=die)
    with pytest.raises(BackupError, match="it was restored before"):
        restore_backup(target, made.parent / "other")


def test_transactions_of_the_other_server_are_passed(database_url: str) -> None:
    with connect(database_url) as connection:
        now = find_next_transaction(connection)
    pass_transactions(database_url, now + 3_000, tell)
    with connect(database_url) as connection:
        assert find_next_transaction(connection) >= now + 3_000
    with pytest.raises(BackupError, match=r"pg_resetwal --epoch 3"):
        pass_transactions(database_url, (2 << 32) + 5, tell)


def test_an_alias_that_moves_while_the_snapshot_is_taken_is_read_anew(
    make_empty: Callable[..., Place], tmp_path: Path
) -> None:
    source = make_empty()
    migrate(source.database_url)
    store = source.store
    store.put_bytes("aliases/m/champion", b"0")
    with connect(source.database_url) as connection:
        connection.execute("INSERT INTO outbox (topic, body) VALUES ('moves', '0')")
    reads = 0

    class Moving(type(store)):  # type: ignore[misc]
        def read(self, key: str) -> object:
            nonlocal reads
            reads += 1
            if reads == 2:  # between snapshot and second look, as a promotion does it: alias, then row
                store.put_bytes(key, b"1")
                with connect(source.database_url) as connection:
                    connection.execute("UPDATE outbox SET body = '1'")
            return super().read(key)

    moving = Moving.__new__(Moving)
    moving.__dict__.update(store.__dict__)
    take_backup(source.database_url, moving, source.home, tmp_path / "b", tell)
    target = make_empty()
    restore_backup(target, tmp_path / "b")
    assert reads == 4
    assert target.store.get_bytes("aliases/m/champion") == b"1"
    with connect(target.database_url) as connection:
        assert connection.execute("SELECT body FROM outbox").fetchall() == [(1,)]


def test_checking_alone_says_what_a_backup_holds(made: Path) -> None:
    backup = check_backup(made, tell)
    assert (backup.rows, backup.objects) == (1, 2)
