"""Marks beside versions: they add up, the earliest deadline counts, and what is blocked has a fallback or none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flytewheel.errors import RegistryError
from registry.store import ObjectStore
from registry.taints import Taint, find_fallback, list_taints, mark_tainted, read_taint, refuse_blocked
from registry.versions import Registry

NOW = datetime(2026, 11, 28, tzinfo=UTC)
MARK = Taint("erasure-1", NOW, "trained", NOW + timedelta(days=30))


def test_marks_add_up_and_the_earliest_deadline_counts(store: ObjectStore) -> None:
    mark_tainted(store, "oncall", "v1.202648.1", MARK)
    assert mark_tainted(store, "oncall", "v1.202648.1", MARK).marks == (MARK,), "once an erasure"
    later = replace(MARK, erasure="erasure-2", reason="inherited", deadline=NOW + timedelta(days=3))
    tainted = mark_tainted(store, "oncall", "v1.202648.1", later)
    assert read_taint(store, "oncall", "v1.202648.1") == tainted
    assert tainted.deadline == NOW + timedelta(days=3)
    assert [tainted.blocked(NOW + timedelta(days=days)) for days in (0, 2, 3, 99)] == [False, False, True, True]
    assert list_taints(store) == {("oncall", "v1.202648.1"): tainted}
    assert read_taint(store, "oncall", "v1.202648.2") is None


def test_many_erasures_at_once_leave_every_mark(store: ObjectStore) -> None:
    marks = [replace(MARK, erasure=f"erasure-{number}") for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda mark: mark_tainted(store, "oncall", "v1.202648.1", mark), marks))
    tainted = read_taint(store, "oncall", "v1.202648.1")
    assert tainted is not None
    assert {mark.erasure for mark in tainted.marks} == {mark.erasure for mark in marks}


def test_a_mark_without_a_deadline_blocks_nothing(store: ObjectStore) -> None:
    mark_tainted(store, "oncall", "v1.202648.1", replace(MARK, deadline=None))
    refuse_blocked(store, "oncall", "v1.202648.1", NOW + timedelta(days=9999))


def test_after_its_deadline_a_version_is_refused_in_one_line(store: ObjectStore) -> None:
    mark_tainted(store, "oncall", "v1.202648.1", MARK)
    refuse_blocked(store, "oncall", "v1.202648.1", NOW)
    with pytest.raises(
        RegistryError, match=r"oncall v1\.202648\.1 is tainted \(trained; erased 2026-11-28, may not serve"
    ):
        refuse_blocked(store, "oncall", "v1.202648.1", NOW + timedelta(days=30))


def test_the_fallback_is_the_newest_earlier_champion_that_is_not_blocked(store: ObjectStore, tmp_path: Path) -> None:
    registry = Registry(store)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    base = registry.register(
        "oncall", {"m": file}, facts={"kind": "base"}, key="base", now=NOW, base_version=True
    ).version
    made = [registry.register("oncall", {"m": file}, facts={}, key=f"k{n}", now=NOW).version for n in range(4)]
    for version in (made[0], made[1], made[3]):  # made[2] never served anybody
        registry.set_alias("oncall", "champion", version)
    assert find_fallback(registry, "oncall", made[3], []) == made[1]
    assert find_fallback(registry, "oncall", made[3], [made[1]]) == made[0]
    assert find_fallback(registry, "oncall", made[3], made) == base
    assert find_fallback(registry, "oncall", made[3], [*made, base]) is None


def test_a_mark_that_was_altered_is_refused_and_never_read_as_a_later_deadline(store: ObjectStore) -> None:
    mark_tainted(store, "oncall", "v1.202648.1", MARK)
    key = "taints/oncall/v1.202648.1"
    store.put_bytes(key, store.get_bytes(key).replace(b"2026-12-28", b"2029-12-28"))
    with pytest.raises(RegistryError, match=f"{key} was changed"):
        refuse_blocked(store, "oncall", "v1.202648.1", NOW)
