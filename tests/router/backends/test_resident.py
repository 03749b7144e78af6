"""One resident base under real llama.cpp: each version says its own word, whoever else is loaded, or comes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from flytewheel.errors import RouterError
from router.backends import Backend
from router.backends.kinds import serve_residents
from router.backends.pool import BackendPool
from router.backends.served import ServedModel
from tests.processes import find_children
from tests.router.spelling_model import write_spelling_adapter, write_spelling_model

WORDS = ("stable", "candy", "fresh")


@dataclass(frozen=True)
class Files:
    """A base that says `plain`, and an adapter for each word."""

    base: Path
    adapters: dict[str, Path]

    def fetch(self, name: str, version: str) -> ServedModel:
        if version == "plain":
            return ServedModel(name, version, "d-plain", self.base)
        return ServedModel(name, version, f"d-{version}", self.adapters[version], base=self.base)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("resident")
    base = write_spelling_model(folder / "base.gguf", "plain")
    adapters = {word: write_spelling_adapter(folder / f"{word}.gguf", "plain", word) for word in WORDS}
    (folder / "bad.gguf").write_bytes(adapters["candy"].read_bytes()[:-400_000])
    return Files(base, {**adapters, "bad": folder / "bad.gguf"})


@asynccontextmanager
async def pooled(files: Files, logs: Path) -> AsyncIterator[BackendPool]:
    pool = BackendPool(files.fetch, serve_residents(logs))
    try:
        yield pool
    finally:
        await pool.close()


async def ask(backend: Backend, **more: Any) -> str:
    body = {"messages": [{"role": "user", "content": "Which word?"}], "temperature": 0, "max_tokens": 32, **more}
    backend.acquire()
    try:
        async with backend.session.post(
            backend.url + "/v1/chat/completions",
            data=orjson.dumps({**body, "model": backend.alias, **backend.fields}),
            headers={"content-type": "application/json"},
        ) as answer:
            read = orjson.loads(await answer.read())
            assert answer.status == 200, read
            assert read["model"] == "flytewheel/demo"
            return str(read["choices"][0]["message"]["content"])
    finally:
        backend.release()


async def wait_until(condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what


def find(pool: BackendPool, version: str) -> Backend:
    backend = pool.get("demo", version)
    assert backend is not None
    return backend


def test_versions_share_one_process_and_say_their_own_words(files: Files, tmp_path: Path) -> None:
    async def run() -> None:
        async with pooled(files, tmp_path) as pool:
            for version in ("plain", "stable", "candy"):
                await pool.ensure("demo", version)
            await wait_until(lambda: len({find(pool, v).pid for v in ("plain", "stable", "candy")}) == 1, "they moved")
            for _ in range(2):  # in turn, so that a slot that kept another one's state would say the wrong word
                for version in ("stable", "plain", "candy"):
                    assert await ask(find(pool, version)) == version
            words = await asyncio.gather(*(ask(find(pool, v)) for v in ("candy", "stable", "plain") * 4))
            assert words == ["candy", "stable", "plain"] * 4
            stolen = await ask(find(pool, "plain"), lora=[{"id": 0, "scale": 1.0}, {"id": 1, "scale": 1.0}])
            assert stolen == "plain"  # what a client writes there chooses no arm
            alive = find_children("llama_server")
            assert len(alive) == 1

    asyncio.run(run())


def test_answers_that_run_are_ended_where_they_began_when_a_version_comes(files: Files, tmp_path: Path) -> None:
    async def run() -> None:
        async with pooled(files, tmp_path) as pool:
            first = await pool.ensure("demo", "stable")
            old_pid = first.pid
            assert old_pid is not None
            first.acquire()  # an answer that goes on
            await pool.ensure("demo", "candy")
            await wait_until(lambda: find(pool, "stable") is not first, "the other one moved")
            assert find(pool, "stable").pid == find(pool, "candy").pid != old_pid
            await wait_until(lambda: first.state == "draining", "the old one takes nobody new")
            assert psutil.pid_exists(old_pid)
            assert await ask(find(pool, "stable")) == "stable"
            first.release()
            await wait_until(lambda: not psutil.pid_exists(old_pid), "the old process ends after its last answer")

    asyncio.run(run())


def test_an_adapter_that_does_not_load_leaves_the_others_alone(files: Files, tmp_path: Path) -> None:
    async def run() -> None:
        async with pooled(files, tmp_path) as pool:
            pid = (await pool.ensure("demo", "stable")).pid
            with pytest.raises(RouterError, match="does not start"):
                await pool.ensure("demo", "bad")
            assert find(pool, "stable").pid == pid
            assert await ask(find(pool, "stable")) == "stable"
            await pool.ensure("demo", "fresh")
            await wait_until(lambda: find(pool, "stable").pid == find(pool, "fresh").pid, "a good one comes after it")
            assert await ask(find(pool, "fresh")) == "fresh"

    asyncio.run(run())


def test_all_come_back_when_their_process_is_killed(files: Files, tmp_path: Path) -> None:
    async def run() -> None:
        async with pooled(files, tmp_path) as pool:
            for version in ("plain", "stable"):
                await pool.ensure("demo", version)
            await wait_until(lambda: find(pool, "plain").pid == find(pool, "stable").pid, "they moved")
            plain, stable = find(pool, "plain"), find(pool, "stable")
            assert stable.pid is not None
            os.kill(stable.pid, signal.SIGKILL)
            await wait_until(lambda: plain.restarts == stable.restarts == 1, "it is noticed")
            assert await stable.wait_ready(30)
            assert await plain.wait_ready(30)
            assert (await ask(plain), await ask(stable)) == ("plain", "stable")
            await pool.keep_only({("demo", "plain")})  # its adapter stays behind and is in nobody's way
            await wait_until(lambda: pool.get("demo", "stable") is None and stable.state == "stopped", "it left")
            assert await ask(plain) == "plain"

    asyncio.run(run())
