"""A person who was erased does not come back with a backup from before (flytewheel.backup.ledger)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flytewheel.backup.bringing import restore_backup
from flytewheel.backup.ledger import LEDGER, gather_entries, read_ledger, tell_backups
from flytewheel.backup.taking import take_backup
from flytewheel.database import connect
from flytewheel.erase.erasure import Place, erase_user
from flytewheel.errors import BackupError, FeedbackError
from flytewheel.forgotten import read_forgotten
from registry.store import ObjectStore
from registry.taints import read_taint
from tests.backup.conftest import KEY, tell
from tests.erase.conftest import make_stage
from tests.erase.stage import MARIA, MARKERS, Stage
from tests.erase.test_erasure import fill, place_of
from tests.rows import list_tables, read_rows


@pytest.fixture
def stage(
    database_url: str, store: ObjectStore, services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return make_stage(services, database_url, store, tmp_path / "stage")


def _find_markers(place: Place) -> set[str]:
    """Which of her words are anywhere in the database or the store."""
    with connect(place.database_url) as connection:
        texts = [row for name in list_tables(connection) for row in read_rows(connection, name)]
    texts += [place.store.get_bytes(key).decode("utf-8", "replace") for key in place.store.list()]
    everything = "\n".join(texts)
    return {name for name, words in {**MARKERS, "user": MARIA}.items() if words in everything}


def test_she_does_not_come_back_and_what_learnt_from_her_is_tainted(
    stage: Stage, make_empty: Callable[..., Place], tmp_path: Path
) -> None:
    versions = fill(stage)
    place = place_of(stage)
    before, after = tmp_path / "backups" / "before", tmp_path / "elsewhere" / "after"
    take_backup(place.database_url, place.store, place.home, before, tell)
    assert read_ledger(before) == []
    erasure = erase_user(place, MARIA, by="tests").erasure
    assert tell_backups(place.home, place.database_url) == ([before], [])
    take_backup(place.database_url, place.store, place.home, after, tell)
    (known,) = read_ledger(before)
    assert known.erasure_id == erasure.erasure_id
    assert known.ids
    assert MARIA.encode() not in (before / LEDGER).read_bytes()

    stranger = make_empty(key="another key, as long as that")
    with pytest.raises(FeedbackError, match="another key"):
        restore_backup(stranger, before)
    with connect(stranger.database_url) as connection:
        assert connection.execute("SELECT to_regclass('interactions')").fetchone() == (None,)

    target = make_empty()
    assert restore_backup(target, before).erased == (erasure.erasure_id,)
    assert _find_markers(target) == set()
    with connect(target.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM erasures WHERE ended_at IS NULL").fetchone() == (0,)
        assert connection.execute("SELECT count(*) > 20 FROM interactions").fetchone() == (True,)
        ids = {row[0] for row in connection.execute("SELECT keyed FROM erased_ids").fetchall()}
        assert read_forgotten(connection, KEY)
    assert set(known.ids) <= ids
    assert read_taint(target.store, "oncall", versions["trained"]) is not None
    assert read_taint(target.store, "oncall", versions["clean"]) is None

    (before / LEDGER).unlink()  # the list beside it was lost: a newer backup is given, or lies beside it
    assert gather_entries(before, []) == {}
    assert gather_entries(before, [after]) == {erasure.erasure_id: known}
    with pytest.raises(BackupError, match=r"expected a backup's folder"):
        restore_backup(make_empty(), before, [tmp_path / "nowhere"])
    shutil.move(after, before.parent / "after")
    assert gather_entries(before, []) == {erasure.erasure_id: known}


def test_a_backup_that_is_away_is_said(stage: Stage, tmp_path: Path) -> None:
    stage.store.ensure_bucket()
    place = place_of(stage)
    take_backup(place.database_url, place.store, place.home, tmp_path / "gone", tell)
    shutil.rmtree(tmp_path / "gone")
    assert tell_backups(place.home, place.database_url) == ([], [tmp_path / "gone"])
