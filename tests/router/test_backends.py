"""The pool over real llama.cpp processes: nobody waits for ever, nothing is left running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flytewheel.errors import RegistryError, RouterError
from router.backends.kinds import serve_by_llama
from router.backends.pool import BackendPool
from router.backends.served import ServedModel
from tests.router.spelling_model import write_spelling_model


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[[str, str], ServedModel]:
    file = write_spelling_model(tmp_path / "model.gguf", "stable")

    def fetch(name: str, version: str) -> ServedModel:
        if version == "gone":
            raise RegistryError("no such version")
        return ServedModel(name, version, "digest", file)

    return fetch


def test_closing_ends_a_backend_that_still_waits_for_its_answers(
    fetch: Callable[[str, str], ServedModel], tmp_path: Path
) -> None:
    async def run() -> int:
        pool = BackendPool(fetch, serve_by_llama(tmp_path / "logs"))
        backend = await pool.ensure("demo", "v1")
        assert backend.pid is not None
        pid = backend.pid
        backend.acquire()  # an answer that never ends
        await pool.keep_only(set())
        await asyncio.sleep(0)
        assert (backend.state, pool.all()) == ("draining", [])
        await pool.close()
        assert backend.state == "stopped"
        return pid

    assert not psutil.pid_exists(asyncio.run(run()))


def test_a_version_that_is_stopped_while_it_loads_can_be_loaded_again(
    fetch: Callable[[str, str], ServedModel], tmp_path: Path
) -> None:
    """As when one arm of a launch is refused while the other one still loads."""

    async def run() -> None:
        pool = BackendPool(fetch, serve_by_llama(tmp_path / "logs"))
        loading = asyncio.create_task(pool.ensure("demo", "v1"))
        async with asyncio.timeout(20):
            while pool.find_model("demo", "v1") is None:  # its files are here, and its process begins
                await asyncio.sleep(0.001)
            await pool.keep_only(set())
            with pytest.raises(RouterError, match="demo@v1 was stopped before it served"):
                await loading
            assert (await pool.ensure("demo", "v1")).state == "ready"
        await pool.close()

    asyncio.run(run())


def test_what_the_system_refuses_is_said(fetch: Callable[[str, str], ServedModel], tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")

    async def run() -> None:
        pool = BackendPool(fetch, serve_by_llama(tmp_path / "logs"))
        async with asyncio.timeout(20):
            with pytest.raises(RouterError, match=r"demo@v1 does not start: .*logs"):
                await pool.ensure("demo", "v1")
        await pool.close()

    asyncio.run(run())


def test_a_version_that_nobody_needs_is_no_failure_any_more(
    fetch: Callable[[str, str], ServedModel], tmp_path: Path
) -> None:
    async def run() -> None:
        pool = BackendPool(fetch, serve_by_llama(tmp_path / "logs"))
        with pytest.raises(RegistryError):
            await pool.ensure("demo", "gone")
        await pool.keep_only({("demo", "gone")})
        assert pool.failures == {("demo", "gone"): "no such version"}
        await pool.keep_only({("demo", "v1")})
        assert pool.failures == {}
        await pool.close()

    asyncio.run(run())


def test_concurrent_calls_share_one_loading(fetch: Callable[[str, str], ServedModel], tmp_path: Path) -> None:
    fetched: list[str] = []
    may_go = threading.Event()

    def slowly(name: str, version: str) -> ServedModel:
        fetched.append(version)
        may_go.wait(timeout=20)
        return fetch(name, version)

    async def run() -> None:
        pool = BackendPool(slowly, serve_by_llama(tmp_path / "logs"))
        loads = [asyncio.create_task(pool.ensure("demo", "v1")) for _ in range(5)]
        await asyncio.sleep(0)
        loads[0].cancel()  # one caller that gives up does not take the others along
        may_go.set()
        found = await asyncio.gather(*loads[1:])
        assert len(set(map(id, found))) == len(fetched) == 1
        await pool.close()

    asyncio.run(run())
