"""Real workers, killed and stopped at many moments."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable

import httpx
import psutil
import pytest

from tests.router.keeper.adapters import ask, register, serve, stream, workers
from tests.router.live import ADMIN, LiveRouter, wait_until
from tests.servers.vllm import VllmStandIn


@pytest.fixture(scope="module")
def router(make_busy: Callable[..., LiveRouter]) -> LiveRouter:
    router = make_busy(workers=2).start()
    wait_until(lambda: router.get("/healthz").json()["workers"]["serving"] == 2, what="both workers")
    return router


def list_peers(pid: int) -> set[int]:
    """The ports of the clients that a process has connections with."""
    return {found.raddr.port for found in psutil.Process(pid).net_connections() if found.raddr}


def is_whole(router: LiveRouter, restarts: int) -> bool:
    """Whether both workers serve, after so many were started again: just after a kill nobody has noticed it yet."""
    told = router.get("/healthz").json()["workers"]
    return bool(told["serving"] == 2 and told["restarts"] >= restarts)


def is_free(port: int) -> bool:
    """Whether somebody else could listen there."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_what_a_control_call_changed_is_true_in_every_worker(router: LiveRouter) -> None:
    control, treatment = serve(router, "shared", "stable"), register(router, "shared", "candy")
    experiment = router.launch("shared", control, treatment, share=0.5).json()["experiment"]["experiment_id"]
    for share, expected in ((1.0, treatment), (0.0, control), (1.0, treatment), (0.0, control)):
        assert router.send("PATCH", f"/experiments/{experiment}", {"share": share}).status_code == 200
        assert {ask(router, "shared", f"user-{n}") for n in range(12)} == {expected}


def test_killed_workers_are_started_again_and_the_rest_answers(router: LiveRouter) -> None:
    """Requests that a killed worker held are lost; of those sent afterwards, none."""
    version = serve(router, "killed", "stable")
    moments = random.Random(7)
    lost: list[Exception] = []
    answered: list[str] = []
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            try:
                answered.append(ask(router, "killed"))
            except (OSError, http.client.HTTPException) as error:
                lost.append(error)

    clients = [threading.Thread(target=ask_on) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for kills in range(1, 5):
            time.sleep(moments.uniform(0.0, 0.1))  # the moment is what is tried here
            os.kill(moments.choice(workers(router)), signal.SIGKILL)
            seen = len(answered)
            wait_until(lambda seen=seen: len(answered) > seen + 4, what="answers by the other worker")
            wait_until(lambda kills=kills: is_whole(router, kills), what="both workers again")
    finally:
        ended.set()
        for client in clients:
            client.join()
    assert set(answered) == {version}
    assert len(lost) <= 4 * len(clients)


def test_a_worker_that_hangs_does_not_hold_a_change_up_for_ever(router: LiveRouter) -> None:
    control, treatment = serve(router, "hung", "stable"), register(router, "hung", "candy")
    experiment = router.launch("hung", control, treatment, share=0.5).json()["experiment"]["experiment_id"]
    # The call itself must not be the hung worker's to pass on.
    with httpx.Client(timeout=30, trust_env=False, headers=ADMIN) as client:
        network = client.get(router.url + "/healthz").extensions["network_stream"]
        port = network.get_extra_info("client_addr")[1]
        pids = {
            pid: {c.raddr.port for c in psutil.Process(pid).net_connections() if c.raddr} for pid in workers(router)
        }
        (hung,) = (pid for pid, ports in pids.items() if port not in ports)
        os.kill(hung, signal.SIGSTOP)
        answer = client.patch(f"{router.url}/experiments/{experiment}", json={"share": 1.0})
    assert answer.status_code == 200
    wait_until(lambda: not psutil.pid_exists(hung), what="the hung one is gone")
    wait_until(lambda: len(workers(router)) == 2, what="another worker")
    assert {ask(router, "hung", f"user-{n}") for n in range(8)} == {treatment}


def test_a_version_is_unloaded_after_the_answers_of_all_workers(router: LiveRouter, server: VllmStandIn) -> None:
    first = serve(router, "drained", "stable")
    alias = f"flytewheel/drained@{first}"
    server.flowing.clear()
    try:
        with stream(router, "drained") as one, stream(router, "drained") as two:
            second = serve(router, "drained", "candy")
            third = serve(router, "drained", "bread")
            assert ask(router, "drained") == third != second
            assert alias in server.adapters
            server.flowing.set()
            assert [list(lines)[-2:] for lines in (one, two)] == [["data: [DONE]", ""]] * 2
        wait_until(lambda: alias not in server.adapters, what="the first champion unloaded")
    finally:
        server.flowing.set()


def test_workers_end_with_a_killed_keeper_after_their_answers(
    make_busy: Callable[..., LiveRouter], server: VllmStandIn
) -> None:
    router = make_busy(workers=2).start()
    serve(router, "orphan", "stable")
    pids = workers(router)
    server.flowing.clear()
    try:
        with stream(router, "orphan") as lines:
            router.kill()
            wait_until(lambda: is_free(router.port), what="the port is free for another router")
            assert any(psutil.pid_exists(pid) for pid in pids)  # who still answers
            server.flowing.set()
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), what="the old workers ended")
        assert ask(router.start(), "orphan")
    finally:
        server.flowing.set()
