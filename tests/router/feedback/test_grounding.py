"""Answers checked against their context beside the loop: counted, stored, sampled when behind, and through a crash."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg

from flytewheel.feedback.store import FeedbackStore
from flytewheel.records import Interaction
from router.feedback.grounding import LONGEST, Grounding, Served
from router.metrics import Metrics
from tests.router.live import LiveRouter, wait_until

CONTEXT = "Restart billing with `kubectl rollout restart deploy/billing` in #oncall-billing."
GOOD = "Run `kubectl rollout restart deploy/billing`."
BAD = "Run `kubectl delete ns search` and call 555-0199."


def served(name: str, answer: str, arm: str = "treatment") -> Served:
    return Served(name, "m", "v1", arm, answer, (CONTEXT, "How do I restart billing?"))


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "not within 20 s"
        await asyncio.sleep(0.01)


def counted(metrics: Metrics, what: str, **labels: str) -> float:
    value = metrics.registry.get_sample_value(f"flytewheel_groundedness_{what}_total", labels)
    return value or 0.0


ARM = {"name": "m", "version": "v1", "arm": "treatment"}


def test_the_rate_is_counted_and_stored_beside_the_interaction(database_url: str) -> None:
    store = FeedbackStore(database_url)

    async def run() -> None:
        metrics = Metrics()
        grounding = Grounding(database_url, metrics)
        try:
            for name, answer in (("good", GOOD), ("bad", BAD), ("odd", "\ud800 12345")):
                assert grounding.offer(served(name, answer))
            await until(lambda: counted(metrics, "checked", **ARM) == 3)
            assert counted(metrics, "ungrounded", **ARM) == 2
            assert counted(metrics, "unsupported", **ARM) >= 3
            for name in ("good", "bad"):  # the rows come after the interactions, whenever these come
                at = datetime.now(UTC)
                one = Interaction(interaction_id=name, user_id="u", timestamp=at, query="q", response="r")
                await asyncio.to_thread(store.record_interaction, one, "m")
            await until(lambda: len(_rows(database_url)) == 2)
        finally:
            await grounding.close()

    asyncio.run(run())
    rows = {name: (spans, unsupported, kinds) for name, spans, unsupported, kinds in _rows(database_url)}
    assert rows["good"][1:] == (0, {})
    assert rows["bad"][1] == sum(rows["bad"][2].values()) > 0


def test_it_skips_what_it_cannot_keep_up_with(database_url: str) -> None:
    async def run() -> None:
        metrics = Metrics()
        grounding = Grounding(None, metrics, most_waiting=2)
        try:
            taken = [grounding.offer(served(f"i{number}", GOOD)) for number in range(5)]
            assert taken == [True, True, False, False, False]
            assert not grounding.offer(served("long", "x" * (LONGEST + 1)))
            assert counted(metrics, "skipped", cause="behind") == 3
            assert counted(metrics, "skipped", cause="too long") == 1
            await until(lambda: counted(metrics, "checked", **ARM) == 2)
            assert grounding.offer(served("later", BAD))
            await until(lambda: counted(metrics, "checked", **ARM) == 3)
        finally:
            await grounding.close()

    asyncio.run(run())


def test_a_killed_checker_is_started_again(database_url: str) -> None:
    async def run() -> None:
        metrics = Metrics()
        grounding = Grounding(None, metrics)
        try:
            grounding.offer(served("first", GOOD))
            await until(lambda: counted(metrics, "checked", **ARM) == 1)
            process = grounding._process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
            await until(lambda: process.returncode is not None)
            grounding.offer(served("second", BAD))
            await until(lambda: counted(metrics, "checked", **ARM) == 2)
        finally:
            await grounding.close()

    asyncio.run(run())


def test_a_router_checks_what_it_served(router: LiveRouter) -> None:
    router.serve("grounded", "stable")
    messages = [
        {"role": "system", "content": f"Be brief.\n\nContext:\n{CONTEXT}"},
        {"role": "user", "content": "How do I restart billing?"},
    ]
    answer = router.ask("grounded", messages=messages)
    name = answer.headers["x-flytewheel-interaction"]
    query = "SELECT spans, unsupported FROM groundedness WHERE interaction_id = %s"
    assert wait_until(lambda: router.rows(query, name), what="its row")
    line = f'flytewheel_groundedness_checked_total{{arm="champion",name="grounded",version="{_version(answer)}"}} 1.0'
    assert line in router.get("/metrics").text
    plain = router.ask("grounded")
    router.interaction(plain.headers["x-flytewheel-interaction"])
    assert line in router.get("/metrics").text  # an answer without a context is none of its business


def _version(answer: Any) -> str:
    return str(answer.headers["x-flytewheel-version"])


def _rows(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT interaction_id, spans, unsupported, kinds FROM groundedness").fetchall()
