"""Starts what `benchmarks.router` compares, each in processes of its own on loopback, and counts their CPU time."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

LITELLM = "FLYTEWHEEL_LITELLM"  # the command of LiteLLM's proxy, in an environment of its own: its pins are not ours
START_S = 120.0
# No network for prices, and no key: it asks for less than ours does.
_OPEN_LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}


@dataclass(frozen=True)
class Contestant:
    """A proxy. `exact`: its answers are the upstream's bytes; `settle_s`: how long it works on behind its answers."""

    name: str
    port: int
    process: psutil.Process | None
    exact: bool = True
    settle_s: float = 0.0

    def cpu_s(self) -> float:
        """Seconds of its processes and threads so far, in user mode and the kernel, as the scheduler counts them.

        `/proc/PID/task/*/schedstat` counts nanoseconds; psutil's times are multiples of 10 ms, 400 requests of nginx.
        """
        if self.process is None:
            return 0.0
        found = [self.process, *self.process.children(recursive=True)]
        tasks = [task for one in found for task in Path(f"/proc/{one.pid}/task").glob("*/schedstat")]
        if not tasks:
            return sum(times.user + times.system for times in (one.cpu_times() for one in found))
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def start_others(folder: Path, upstream: int) -> Iterator[list[Contestant]]:
    """All but ours that can be started here; the first is the upstream itself."""
    with ExitStack() as cleanup:
        found = [Contestant("direct", upstream, None)]
        if (nginx := shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")) is not None:
            found.append(cleanup.enter_context(run_contestant(folder, "nginx", write_nginx(folder, nginx, upstream))))
        found.append(cleanup.enter_context(run_contestant(folder, "starlette", _child("starlette", upstream))))
        if command := os.environ.get(LITELLM):
            arguments = write_litellm(folder, command, upstream)
            found.append(
                cleanup.enter_context(
                    run_contestant(
                        folder, "litellm", arguments, environ={**os.environ, **_OPEN_LITELLM}, exact=False, settle_s=0.6
                    )
                )
            )
        yield found


def _child(kind: str, upstream: int, *more: str) -> tuple[int, list[str]]:
    port = find_port()
    url = f"http://127.0.0.1:{upstream}"
    return port, [sys.executable, "-m", "benchmarks.router_child", kind, str(port), url, *more]


def write_nginx(folder: Path, nginx: str, upstream: int) -> tuple[int, list[str]]:
    """One worker, connections kept on both sides, nothing buffered, nothing logged."""
    port = find_port()
    places = " ".join(
        f"{name}_temp_path {folder}/nginx-{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; {places}\n"
        f"upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://up; proxy_http_version 1.1;"
        ' proxy_set_header Connection ""; proxy_buffering off; } } }\n'
    )
    return port, [nginx, "-c", str(config), "-e", str(folder / "nginx.log")]


def write_litellm(folder: Path, command: str, upstream: int) -> tuple[int, list[str]]:
    """One worker that passes one model on to an OpenAI-compatible server; no database, no key of its own."""
    port = find_port()
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: flytewheel/demo\n"
        f"    litellm_params: {{model: openai/demo, api_base: 'http://127.0.0.1:{upstream}/v1', api_key: none}}\n"
        "litellm_settings: {telemetry: false, num_retries: 0}\n"
    )
    return port, [command, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


@contextmanager
def run_contestant(
    folder: Path,
    name: str,
    what: tuple[int, list[str]],
    *,
    environ: Mapping[str, str] | None = None,
    exact: bool = True,
    settle_s: float = 0.0,
) -> Iterator[Contestant]:
    """A contestant that listens, on a port, by a command line (`what`); it is told to end when the context does."""
    port, arguments = what
    environ = {**(environ or os.environ), "NO_PROXY": "127.0.0.1"}
    log = folder / f"{name}.log"
    with log.open("wb") as said, subprocess.Popen(arguments, env=environ, stdout=said, stderr=said) as process:
        try:
            _wait(name, port, process, log)
            yield Contestant(name, port, psutil.Process(process.pid), exact, settle_s)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{name} does not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def find_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
