"""How a router ends, and is replaced, while answers run."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.ports import free_port
from tests.router.keeper.adapters import ask, serve, stream, workers
from tests.router.live import ROOT, LiveRouter, wait_until
from tests.servers.certificates import make_certificate
from tests.servers.vllm import VllmStandIn

END = ["data: [DONE]", ""]


@pytest.fixture(scope="module")
def router(make_busy: Callable[..., LiveRouter]) -> LiveRouter:
    router = make_busy(workers=2).start()
    serve(router, "ending", "stable")
    return router


def is_closed(router: LiveRouter) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", router.port, timeout=5)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


def test_a_running_stream_comes_to_its_end_and_is_logged(router: LiveRouter, server: VllmStandIn) -> None:
    process = router.process
    assert process is not None
    server.flowing.clear()
    try:
        with stream(router, "ending") as lines:
            process.terminate()
            wait_until(lambda: is_closed(router), what="no connection is taken any more")
            assert process.poll() is None
            server.flowing.set()
            assert list(lines)[-2:] == END
        assert process.wait(timeout=90) == 0
    finally:
        server.flowing.set()
    assert router.rows("SELECT body->>'response' FROM interactions") == [("stable",)]
    router.start()


def test_a_second_signal_ends_it_at_once(router: LiveRouter, server: VllmStandIn) -> None:
    process, pids = router.process, workers(router)
    assert process is not None
    server.flowing.clear()
    try:
        with stream(router, "ending") as lines:
            process.terminate()
            wait_until(lambda: is_closed(router), what="no connection is taken any more")
            process.terminate()
            assert process.wait(timeout=90) == 0
            with pytest.raises(httpx.TransportError):  # incomplete, closed or reset, as it comes
                list(lines)
    finally:
        server.flowing.set()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), what="its workers are gone")
    router.start()


def test_an_answer_that_does_not_end_does_not_hold_the_end_up(router: LiveRouter, server: VllmStandIn) -> None:
    router.stop()
    router.environ["FLYTEWHEEL_DRAIN_S"] = "0.3"
    router.start()
    server.flowing.clear()
    try:
        with stream(router, "ending") as lines:
            began = time.monotonic()
            assert router.stop() == 0
            assert time.monotonic() - began < 25  # not the 30 s that it would have
            with pytest.raises(httpx.TransportError):  # incomplete, closed or reset, as it comes
                list(lines)
    finally:
        server.flowing.set()
        del router.environ["FLYTEWHEEL_DRAIN_S"]
    router.start()


def test_workers_are_replaced_without_a_lost_request(router: LiveRouter, server: VllmStandIn) -> None:
    assert router.process is not None
    before = set(workers(router))
    failed: list[Exception] = []
    answered: list[str] = []
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            try:
                answered.append(ask(router, "ending"))
            except Exception as error:
                failed.append(error)

    client = threading.Thread(target=ask_on)
    server.flowing.clear()
    try:
        with stream(router, "ending") as lines:
            client.start()
            os.kill(router.process.pid, signal.SIGHUP)
            wait_until(lambda: len(set(workers(router)) - before) == 2, what="two new workers")
            wait_until(lambda: len(set(workers(router)) & before) == 1, what="the idle old one ended")
            server.flowing.set()
            assert list(lines)[-2:] == END
        wait_until(lambda: not set(workers(router)) & before, what="the old ones ended")
    finally:
        ended.set()
        server.flowing.set()
        client.join()
    assert not failed
    assert answered


def test_tls_serves_and_takes_renewed_files(
    make_busy: Callable[..., LiveRouter], server: VllmStandIn, tmp_path: Path
) -> None:
    router = make_busy()
    one, two = make_certificate(tmp_path, "one"), make_certificate(tmp_path, "two")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(one.chain.read_bytes())
    key.write_bytes(one.key.read_bytes())
    context = ssl.create_default_context()
    for each in (one, two):
        context.load_verify_locations(each.chain)

    def fetch() -> tuple[str, str]:
        connection = http.client.HTTPSConnection("127.0.0.1", router.port, timeout=20, context=context)
        try:
            connection.request("GET", "/healthz")
            certificate = connection.sock.getpeercert()
            assert connection.getresponse().status == 200
            return certificate["subject"][0][0][1], connection.sock.version()
        finally:
            connection.close()

    router.environ |= {"FLYTEWHEEL_TLS_CERTIFICATE": str(chain), "FLYTEWHEEL_TLS_KEY": str(key)}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("FLYTEWHEEL_")}
    command = [sys.executable, "-m", "router", "--port", str(router.port)]
    with (router.home / "router.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**plain, **router.environ}, stdout=log, stderr=log)
    try:

        def says(name: str) -> bool:
            try:
                return fetch()[0] == name
            except (ConnectionError, TimeoutError, ssl.SSLError):
                return False

        wait_until(lambda: says("one"), what="the first certificate", timeout_s=120)
        assert fetch()[1] == "TLSv1.3"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        connection = http.client.HTTPSConnection("127.0.0.1", router.port, timeout=20, context=old)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connection.request("GET", "/healthz")
        connection.close()
        chain.write_bytes(two.chain.read_bytes())  # half of it: not taken
        key.write_bytes(two.key.read_bytes())
        wait_until(lambda: says("two"), what="the renewed certificate")
    finally:
        process.terminate()
        assert process.wait(timeout=90) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 is beyond loopback"),
        (["--tls-certificate", "one.pem"], "TLS needs both"),
        (["--tls-certificate", "one.pem", "--tls-key", "none.key"], "TLS: there is no file"),
        (["--tls-certificate", "one.pem", "--tls-key", "two.key"], "do not go together"),
        (["--tls-certificate", "one.key", "--tls-key", "one.key"], "do not go together"),
        (["--workers", "0"], "--workers 0: expected 1 to 64"),
    ],
)
def test_what_cannot_be_served_is_one_line(router: LiveRouter, tmp_path: Path, arguments: list[str], said: str) -> None:
    for name in ("one", "two"):
        make_certificate(tmp_path, name)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("FLYTEWHEEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "router", "--port", str(free_port()), *arguments],
        cwd=tmp_path,
        env={**plain, **router.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
