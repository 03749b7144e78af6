"""Processes of llama.cpp that are killed, stand still, or cannot say a word: real ones, under the pool."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from flytewheel.errors import RouterError
from router.backends.backend import Backend, Status
from router.backends.kinds import serve_by_llama
from router.backends.llama import ProbeRule
from router.backends.pool import BackendPool
from router.backends.served import ServedModel
from router.backends.view import BackendView
from tests.processes import find_children
from tests.router.spelling_model import CHAT_TEMPLATE, write_spelling_model

QUICK = ProbeRule(every_s=0.1, timeout_s=0.5, misses=3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_spelling_model(tmp_path / "model.gguf", "stable")


@asynccontextmanager
async def pooled(file: Path, logs: Path, probe: ProbeRule = QUICK) -> AsyncIterator[BackendPool]:
    pool = BackendPool(lambda name, version: ServedModel(name, version, "digest", file), serve_by_llama(logs, probe))
    try:
        yield pool
    finally:
        await pool.close()


async def wait_until(condition: Callable[[], Any], what: str) -> None:
    try:
        async with asyncio.timeout(40):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not in time: {what}") from None


def list_servers() -> list[psutil.Process]:
    return find_children("flytewheel.llama_server")


async def wait_back(backend: Backend, count: int) -> None:
    """Until it is ready after this many restarts."""
    await wait_until(lambda: (backend.restarts, backend.state) == (count, "ready"), f"it came back {count} times")


def test_one_that_stands_still_is_ended_and_comes_back(file: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with pooled(file, tmp_path) as pool:
            backend = await pool.ensure("demo", "v1")
            assert backend.pid is not None
            assert backend.model.warm_s is not None
            await wait_until(lambda: (backend.model.memory_bytes or 0) > 1 << 20, "its memory is told")
            stopped = backend.pid
            os.kill(stopped, signal.SIGSTOP)
            await wait_back(backend, 1)
            assert not psutil.pid_exists(stopped)
            assert backend.pid != stopped

    asyncio.run(run())


def test_one_that_works_is_left_alone_though_it_does_not_answer_its_probe(file: Path, tmp_path: Path) -> None:
    """`timeout_s` is shorter than any answer: every probe fails, and only the CPU time tells it from a dead one."""

    async def run() -> None:
        async with pooled(file, tmp_path, ProbeRule(every_s=0.5, timeout_s=1e-6, misses=5)) as pool:
            backend = await pool.ensure("demo", "v1")
            pid, body = backend.pid, {"model": backend.alias, "prompt": "x", "n_predict": 900, "ignore_eos": True}

            async def ask_on() -> None:
                while True:
                    async with backend.session.post(backend.url + "/completion", json=body) as answer:
                        await answer.read()

            asking = [asyncio.create_task(ask_on()) for _ in range(2)]
            await asyncio.sleep(3.5)  # seven probes; five without CPU time between them would end it
            assert (backend.state, backend.pid, backend.restarts) == ("ready", pid, 0)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(run())


def test_killed_while_it_loads_it_is_an_error_and_killed_later_it_comes_back(file: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with pooled(file, tmp_path) as pool:
            loading = asyncio.create_task(pool.ensure("demo", "v1"))
            await wait_until(list_servers, "its process is there")
            list_servers()[0].kill()
            with pytest.raises(RouterError, match="does not start"):
                await loading
            assert (pool.all(), list_servers()) == ([], [])
            backend = await pool.ensure("demo", "v1")  # and it can be loaded again
            for count in (1, 2):
                assert backend.pid is not None
                os.kill(backend.pid, signal.SIGKILL)
                await wait_back(backend, count)

    asyncio.run(run())


def test_one_that_loads_and_cannot_chat_gets_no_traffic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its template says more than its context holds: the file is whole, /health is fine, and every chat fails."""
    refusing = "x" * 3000 + CHAT_TEMPLATE
    monkeypatch.setattr("tests.router.spelling_model.CHAT_TEMPLATE", refusing)
    broken = write_spelling_model(tmp_path / "broken.gguf", "stable")

    async def run() -> None:
        async with pooled(broken, tmp_path) as pool:
            with pytest.raises(
                RouterError,
                match=r"does not answer a first prompt, so it gets no traffic: .* answered 400: .*context",
            ):
                await pool.ensure("demo", "v1")
            await wait_until(lambda: not list_servers(), "its process is gone")
            assert pool.failures

    asyncio.run(run())


def test_unloading_waits_for_the_answers_of_every_process_that_sends_requests(file: Path, tmp_path: Path) -> None:
    """Two other views, as two workers have them; what is said goes over the wire's form."""

    async def run() -> None:
        async with pooled(file, tmp_path) as pool:
            views: dict[str, BackendView] = {}
            for name in ("one", "two"):
                views[name] = BackendView(lambda serial, word, name=name: pool.hear(name, serial, word))  # type: ignore[misc]
            pool.attach("one", lambda status: views["one"].apply(Status.from_wire(status.to_wire())))
            await pool.ensure("demo", "v1")
            pool.attach("two", lambda status: views["two"].apply(Status.from_wire(status.to_wire())))  # a late one
            backends = [view.get("demo", "v1") for view in views.values()]
            assert all(backend is not None and backend.state == "ready" for backend in backends)
            one, two = (backend for backend in backends if backend is not None)
            assert one.pid is not None
            one.acquire()
            two.acquire()
            await pool.keep_only(set())
            await wait_until(lambda: one.state == two.state == "draining", "both were told")
            assert views["one"].get("demo", "v1") is None  # nobody new is sent there
            one.release()
            await asyncio.sleep(0.2)
            assert psutil.pid_exists(one.pid)  # the other one's answer runs
            pool.detach("two")  # its process was killed: nobody reads that answer any more
            await wait_until(lambda: one.state == "stopped" and not list_servers(), "it is taken down")
            for view in views.values():
                await view.close()

    asyncio.run(run())


def test_a_breaker_that_opens_in_a_worker_is_told_of(file: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with pooled(file, tmp_path) as pool:
            view = BackendView(lambda serial, word: pool.hear("worker", serial, word))
            pool.attach("worker", view.apply)
            here = await pool.ensure("demo", "v1")
            there = view.get("demo", "v1")
            assert there is not None
            for _ in range(5):
                there.breaker.fail(there.breaker.admit())
            assert (there.breaker.state, here.model.breakers, here.breaker.state) == ("open", 1, "closed")
            assert here.pid is not None
            os.kill(here.pid, signal.SIGKILL)  # another process starts with a clean record
            await wait_until(lambda: here.restarts == 1 and here.state == "ready", "it is back")
            assert (there.breaker.state, here.model.breakers) == ("closed", 0)
            there.breaker.pause(there.breaker.admit(), 10)
            assert here.model.breakers == 1
            pool.detach("worker")
            assert here.model.breakers == 0
            await view.close()

    asyncio.run(run())
