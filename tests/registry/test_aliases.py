from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import RegistryError
from registry.store import ObjectStore
from registry.versions import Registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAME = "assistant"


@pytest.fixture
def minutes() -> Iterator[int]:
    return count()


@pytest.fixture
def registry(store: ObjectStore, minutes: Iterator[int]) -> Registry:
    return Registry(store, clock=lambda: NOW + timedelta(minutes=next(minutes)))


@pytest.fixture
def versions(registry: Registry, tmp_path: Path) -> list[str]:
    (tmp_path / "model.gguf").write_bytes(b"weights")
    files = {"model.gguf": tmp_path / "model.gguf"}
    return [registry.register(NAME, files, facts={}, key=f"run-{each}", now=NOW).version for each in range(4)]


def test_aliases_move_by_compare_and_set(registry: Registry, versions: list[str]) -> None:
    one, two = versions[:2]
    assert registry.get_alias(NAME, "canary") is None
    assert registry.set_alias(NAME, "canary", one, expect="")
    assert not registry.set_alias(NAME, "canary", one)
    with pytest.raises(RegistryError, match=f"stands for {one}, not {two} as expected"):
        registry.set_alias(NAME, "canary", two, expect=two)
    with pytest.raises(RegistryError, match="not nothing as expected"):
        registry.set_alias(NAME, "canary", two, expect="")
    assert registry.set_alias(NAME, "canary", two, expect=one, by="kim", reason="a second try")
    assert registry.set_alias(NAME, "canary", one, expect=two)  # back: an old record's ETag must not return
    assert registry.aliases(NAME) == {"canary": one}
    assert registry.show(NAME, "canary").version == one
    moves = registry.history(NAME, "canary")
    assert [(each.was, each.version, each.by, each.reason) for each in moves] == [
        ("", one, "", ""),
        (one, two, "kim", "a second try"),
        (two, one, "", ""),
    ]
    assert [each.at for each in moves] == [NOW + timedelta(minutes=minute) for minute in range(3)]


def test_of_eight_movers_with_one_expectation_one_moves(registry: Registry, versions: list[str]) -> None:
    registry.set_alias(NAME, "champion", versions[3])
    barrier = threading.Barrier(8)

    def move(index: int) -> bool:
        barrier.wait(timeout=30)
        try:  # two and two, and two more, with one wish
            return registry.set_alias(NAME, "champion", versions[index % 3], expect=versions[3], by=str(index))
        except RegistryError:
            return False

    with ThreadPoolExecutor(8) as pool:
        moved = list(pool.map(move, range(8)))
    assert sum(moved) == 1
    assert registry.get_alias(NAME, "champion") == versions[moved.index(True) % 3]
    assert [each.by for each in registry.history(NAME, "champion")] == ["", str(moved.index(True))]


def test_previous_follows_the_champion_and_rolling_back_goes_one_step_further(
    registry: Registry, versions: list[str], store: ObjectStore
) -> None:
    one, two, three, _ = versions
    for each in (one, two, three):
        assert registry.promote(NAME, each, by="kim", reason=f"won with {each}")
    assert registry.promote(NAME, three) is None
    assert registry.aliases(NAME) == {"champion": three, "previous": two}
    assert store.list(f"aliases/{NAME}/") == [f"aliases/{NAME}/champion"]  # one record: nothing to tear apart

    back = registry.roll_back(NAME, by="ada", reason="it sulks")
    assert (back.was, back.version, back.kind) == (three, two, "rollback")
    assert registry.aliases(NAME) == {"champion": two, "previous": one}  # not the one that was just left
    assert registry.show(NAME, "previous").version == one
    with pytest.raises(RegistryError, match=f"stands for {two}, not {three} as expected"):
        registry.roll_back(NAME, three)
    registry.roll_back(NAME, two)
    assert registry.aliases(NAME) == {"champion": one}
    with pytest.raises(RegistryError, match=f"nothing was champion before {one}"):
        registry.roll_back(NAME)
    assert [(each.kind, each.was, each.version) for each in registry.history(NAME, "previous")] == [
        ("promote", "", one),
        ("promote", one, two),
        ("promote", two, three),
        ("rollback", three, two),
        ("rollback", two, one),
    ]
    with pytest.raises(RegistryError, match="'previous' follows the champion"):
        registry.set_alias(NAME, "previous", one)
    with pytest.raises(RegistryError, match="there is no model 'helper'"):
        registry.promote("helper", one)


def test_promoting_takes_an_alias_and_the_champion_that_is_expected(registry: Registry, versions: list[str]) -> None:
    registry.set_alias(NAME, "challenger", versions[1])
    registry.promote(NAME, versions[0])
    with pytest.raises(RegistryError, match=f"stands for {versions[0]}, not {versions[2]} as expected"):
        registry.promote(NAME, "challenger", versions[2])
    moved = registry.promote(NAME, "challenger", versions[0])
    assert moved is not None
    assert (moved.was, moved.version) == tuple(versions[:2])


def test_a_kill_after_the_move_loses_no_history(
    registry: Registry, versions: list[str], store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote(NAME, versions[0], by="kim")

    create = store.put_if_absent

    def stop(key: str, data: bytes) -> Any:
        if "alias-champion-2" in key:  # the entry about the second move
            raise KeyboardInterrupt
        return create(key, data)

    with monkeypatch.context() as patch:
        patch.setattr(store, "put_if_absent", stop)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(NAME, versions[1], by="ada")
    assert registry.aliases(NAME) == {"champion": versions[1], "previous": versions[0]}
    assert [each.by for each in registry.history(NAME, "champion")] == ["kim", "ada"]  # from the record itself
    registry.promote(NAME, versions[2], by="lee")
    assert [each.by for each in registry.history(NAME, "champion")] == ["kim", "ada", "lee"]
    assert [entry["by"] for entry in registry.log(NAME) if entry["what"] == "alias"] == ["kim", "ada", "lee"]


def test_a_trail_is_kept_short_and_the_journal_whole(registry: Registry, versions: list[str]) -> None:
    for turn in range(30):
        registry.promote(NAME, versions[turn % 2])
    assert len(registry.history(NAME, "champion")) == 30
    for _ in range(20):
        registry.roll_back(NAME)
    with pytest.raises(RegistryError, match="nothing was champion before"):
        registry.roll_back(NAME)


def test_a_record_of_another_alias_is_not_taken_for_this_one(
    registry: Registry, versions: list[str], store: ObjectStore
) -> None:
    registry.set_alias(NAME, "champion", versions[0])
    registry.set_alias(NAME, "challenger", versions[1])
    store.put_bytes(f"aliases/{NAME}/champion", store.get_bytes(f"aliases/{NAME}/challenger"))
    with pytest.raises(RegistryError, match=f"aliases/{NAME}/champion was changed"):
        registry.show(NAME, "champion")
