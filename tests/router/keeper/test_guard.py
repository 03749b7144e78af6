"""A keeper that is killed: its workers answer on, and the next one takes its place."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from benchmarks.soak.checks import sum_samples
from tests.router.keeper.adapters import ask, find_keeper, register, serve, stream, workers
from tests.router.live import LiveRouter, wait_until
from tests.servers.vllm import VllmStandIn


@pytest.fixture(scope="module")
def router(make_busy: Callable[..., LiveRouter]) -> LiveRouter:
    router = make_busy(workers=2).start()
    wait_until(lambda: has_keeper(router), what="both workers")
    return router


def has_keeper(router: LiveRouter) -> bool:
    """Whether a keeper answers, and both its workers serve."""
    try:
        told = router.get("/healthz").json()
    except httpx.TransportError:
        return False
    return bool(told["keeper"]) and told["workers"]["serving"] == 2


def kill_keeper(router: LiveRouter) -> int:
    pid = wait_until(lambda: find_keeper(router), what="a keeper")
    os.kill(pid, signal.SIGKILL)
    return int(pid)


def is_replaced(router: LiveRouter, pid: int) -> bool:
    return find_keeper(router) not in (None, pid) and has_keeper(router)


@contextmanager
def asking(router: LiveRouter, name: str) -> Iterator[tuple[list[str], list[Exception]]]:
    """A client that asks without a pause, over a connection for each request: what answered, and what failed."""
    answered: list[str] = []
    failed: list[Exception] = []
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            try:
                answered.append(ask(router, name))
            except Exception as error:
                failed.append(error)

    client = threading.Thread(target=ask_on)
    client.start()
    try:
        yield answered, failed
    finally:
        ended.set()
        client.join()


def test_workers_answer_while_the_keeper_is_away_and_the_next_one_takes_over(
    router: LiveRouter, server: VllmStandIn
) -> None:
    control, treatment = serve(router, "guarded", "stable"), register(router, "guarded", "candy")
    experiment = router.launch("guarded", control, treatment, share=0.5).json()["experiment"]["experiment_id"]
    assert router.send("PATCH", f"/experiments/{experiment}", {"share": 0.0}).status_code == 200
    old, counted = set(workers(router)), sum_samples(router.get("/metrics").text, "flytewheel_requests_total")
    server.flowing.clear()
    try:
        with stream(router, "guarded") as lines, asking(router, "guarded") as (answered, failed):
            killed = kill_keeper(router)
            with httpx.Client(timeout=20, trust_env=False) as client:  # the way to the keeper breaks, and it says so
                told = client.get(router.url + "/healthz").json()
            assert told["keeper"] is False or is_replaced(router, killed)
            seen = len(answered)
            wait_until(lambda: len(answered) > seen + 3, what="answers while there is no keeper")
            wait_until(lambda: is_replaced(router, killed), what="another keeper", timeout_s=60)
            wait_until(lambda: len(answered) > seen + 10, what="answers by the next keeper's workers")
            server.flowing.set()
            assert list(lines)[-2:] == ["data: [DONE]", ""]
    finally:
        server.flowing.set()
    assert failed == []
    assert set(answered) == {control}
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in old), what="the old workers have ended")
    assert sum_samples(router.get("/metrics").text, "flytewheel_requests_total") >= counted + len(answered)
    # What is changed now is true in every worker.
    assert router.send("PATCH", f"/experiments/{experiment}", {"share": 1.0}).status_code == 200
    assert {ask(router, "guarded", f"user-{n}") for n in range(12)} == {treatment}


def test_a_keeper_that_is_killed_again_and_again_is_started_again_and_again(router: LiveRouter) -> None:
    serve(router, "often", "stable")
    with asking(router, "often") as (answered, failed):
        for _ in range(3):  # the second and third most likely before they have taken over
            killed = kill_keeper(router)
            wait_until(lambda killed=killed: find_keeper(router) not in (None, killed), what="another keeper")
        wait_until(lambda: has_keeper(router), what="one that stays", timeout_s=90)
        seen = len(answered)
        wait_until(lambda: len(answered) > seen + 3, what="answers")
    assert failed == []
    wait_until(lambda: len(workers(router)) == 2, what="two workers and no more", timeout_s=60)


def test_told_to_end_while_no_keeper_is_there_the_rest_ends_after_its_answers(
    router: LiveRouter, server: VllmStandIn
) -> None:
    serve(router, "alone", "stable")
    pids = workers(router)
    server.flowing.clear()
    try:
        with stream(router, "alone") as lines:
            kill_keeper(router)
            assert router.process is not None
            router.process.terminate()
            server.flowing.set()
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        assert router.process.wait(timeout=60) in (0, 128 + signal.SIGKILL)  # by which of the two was heard of first
    finally:
        server.flowing.set()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    router.start()


def test_workers_come_and_go_without_a_lost_request(router: LiveRouter, server: VllmStandIn) -> None:
    serve(router, "sized", "stable")
    server.flowing.clear()
    try:
        with stream(router, "sized") as one, stream(router, "sized") as two, asking(router, "sized") as (_, failed):
            assert router.send("PUT", "/workers", {"count": 3}).json() == {"workers": 3}
            assert len(workers(router)) == 3
            assert router.send("PUT", "/workers", {"count": 1}).json() == {"workers": 1}
            assert router.get("/healthz").json()["workers"] == {"asked": 1, "serving": 1, "restarts": 0}
            server.flowing.set()
            assert [list(lines)[-2:] for lines in (one, two)] == [["data: [DONE]", ""]] * 2
            wait_until(lambda: len(workers(router)) == 1, what="the others ended after their answers")
            killed = kill_keeper(router)
            wait_until(lambda: find_keeper(router) not in (None, killed), what="another keeper")
            wait_until(
                lambda: router.get("/healthz").json().get("workers", {}).get("asked") == 1,
                what="it knows how many there are to be",
                timeout_s=60,
            )
    finally:
        server.flowing.set()
    assert failed == []
    refused = router.send("PUT", "/workers", {"count": 65})
    assert refused.status_code == 422
    if (cores := len(os.sched_getaffinity(0))) < 16:  # more than the machine can run: nothing would answer any more
        refused = router.send("PUT", "/workers", {"count": 4 * cores + 1})
        assert refused.status_code == 422
        assert f"expected at most {4 * cores}" in refused.text
        assert router.get("/healthz").json()["workers"]["asked"] == 1
    assert router.send("PUT", "/workers", {"count": 2}).status_code == 200


def test_readiness_ends_before_connections_are_refused(router: LiveRouter, server: VllmStandIn) -> None:
    """What a load balancer needs to look away in time; a second signal does without."""
    serve(router, "noticed", "stable")
    router.stop()
    router.environ["FLYTEWHEEL_DRAIN_NOTICE_S"] = "30"
    router.start()
    process = router.process
    assert process is not None
    try:
        process.terminate()
        wait_until(lambda: router.get("/readyz").status_code == 503, what="it says that it ends")
        assert router.get("/readyz").json()["reason"] == "the router is ending"
        assert ask(router, "noticed")  # over a new connection
        assert process.poll() is None
        began = time.monotonic()
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert time.monotonic() - began < 20
    finally:
        del router.environ["FLYTEWHEEL_DRAIN_NOTICE_S"]
