"""The previous champion stays loaded, so that a rollback waits for nothing; how many do is bounded."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from flytewheel.errors import StoreError
from router.backends.kinds import serve_by_llama
from router.backends.pool import BackendPool
from router.backends.served import ServedModel
from router.backends.spares import Spares
from tests.router.spelling_model import write_spelling_model


def choose(spares: Spares, *needed: tuple[str, str]) -> set[tuple[str, str]]:
    return set(asyncio.run(spares.choose(frozenset(needed))))


def test_those_that_were_left_last_are_kept() -> None:
    previous = {"a": "v1", "b": "v1", "c": "v1"}
    now = iter(range(100))
    spares = Spares(previous.get, 2, lambda: float(next(now)))
    assert len(choose(spares, ("a", "v1"), ("b", "v1"), ("c", "v1"))) == 0  # all in service
    assert choose(spares, ("a", "v2"), ("b", "v1"), ("c", "v1")) == {("a", "v1")}
    choose(spares, ("a", "v2"), ("b", "v1"), ("c", "v2"))
    assert choose(spares, ("a", "v2"), ("b", "v2"), ("c", "v2")) == {("b", "v1"), ("c", "v1")}
    assert choose(spares, ("a", "v1"), ("b", "v2"), ("c", "v2")) == {("b", "v1"), ("c", "v1")}
    assert choose(spares, ("b", "v2")) == {("b", "v1")}  # the other names are gone
    assert choose(Spares(previous.get, 0), ("a", "v2")) == set()


def test_while_the_store_is_away_what_it_said_last_holds() -> None:
    away = False

    def find(name: str) -> str | None:
        if away:
            raise StoreError("it is away")
        return "v1"

    spares = Spares(find, 1)
    assert choose(spares, ("a", "v2")) == {("a", "v1")}
    away = True
    assert choose(spares, ("a", "v2")) == {("a", "v1")}


def test_a_spare_stays_up_and_is_there_again_at_once(tmp_path: Path) -> None:
    file = write_spelling_model(tmp_path / "model.gguf", "stable")
    previous: dict[str, str] = {}

    def fetch(name: str, version: str) -> ServedModel:
        if version == "broken":
            raise StoreError("it is away")
        return ServedModel(name, version, "digest", file)

    async def settle(pool: BackendPool, *needed: tuple[str, str], loaded: set[str]) -> None:
        async with asyncio.timeout(30):
            while {backend.model.version for backend in pool.all() if backend.state == "ready"} != loaded:
                await pool.keep_only(set(needed))
                await asyncio.sleep(0.01)

    async def run() -> None:
        pool = BackendPool(fetch, serve_by_llama(tmp_path / "logs"), spares=Spares(previous.get, 1))
        try:
            first = await pool.ensure("demo", "v1")
            await pool.ensure("demo", "v2")
            previous["demo"] = "v1"
            await settle(pool, ("demo", "v2"), loaded={"v1", "v2"})
            assert (await pool.ensure("demo", "v1")) is first  # a rollback: the same process, already warm
            assert first.state == "ready"
            previous["demo"] = "v2"
            await settle(pool, ("demo", "v1"), loaded={"v1", "v2"})
            previous["demo"] = "v3"
            await settle(pool, ("demo", "v1"), loaded={"v1", "v3"})  # also one that was not loaded, as after a start
            previous["demo"] = "broken"
            await settle(pool, ("demo", "v1"), loaded={"v1"})
            for _ in range(5):
                await pool.keep_only({("demo", "v1")})
                await asyncio.sleep(0.05)
            assert pool.failures == {}  # nothing depends on it
        finally:
            await pool.close()

    asyncio.run(run())


def test_what_is_asked_for_while_the_spares_are_looked_up_stays(tmp_path: Path) -> None:
    """A list of what is needed is old once somebody asks for more: that is unloaded by the next list, or not at all."""
    file = write_spelling_model(tmp_path / "model.gguf", "stable")
    answer = threading.Event()

    def find(name: str) -> str | None:
        assert answer.wait(30)
        return None

    async def run() -> None:
        pool = BackendPool(
            lambda name, version: ServedModel(name, version, "digest", file),
            serve_by_llama(tmp_path / "logs"),
            spares=Spares(find, 1),
        )
        try:
            await pool.ensure("demo", "v1")
            await pool.keep_only({("demo", "v1")})
            second = await pool.ensure("demo", "v2")
            answer.set()
            for _ in range(20):
                await asyncio.sleep(0.02)
            assert second.state == "ready"
            async with asyncio.timeout(30):
                while len(pool.all()) > 1:
                    await pool.keep_only({("demo", "v1")})
                    await asyncio.sleep(0.02)
        finally:
            answer.set()
            await pool.close()

    asyncio.run(run())


@pytest.mark.parametrize("kept", [1, 3])
def test_a_failed_one_is_tried_once(kept: int) -> None:
    spares = Spares({"a": "v1"}.get, kept)
    choose(spares, ("a", "v2"))
    assert [spares.may_try(("a", "v1")) for _ in range(3)] == [True, False, False]
    choose(spares, ("a", "v1"))  # needed in between: whatever was wrong, somebody looked at it
    choose(spares, ("a", "v2"))
    assert spares.may_try(("a", "v1"))
