"""What the router costs: CPU time a request and a streamed chunk, beside other proxies, in one run.

A load generator in C (`benchmarks/load.c`, compiled here) asks over 32 connections, each as soon as its last answer is
complete; the same program stands behind every contestant and answers with recorded bytes at once, or streams one event
each 4 ms. What is measured is the CPU time of the contestant's process with its children and threads, its writer to
PostgreSQL included. The rounds alternate, the figures are medians. The price of a chunk is the slope between long and
short streams. Ours is a worker's hot path with keys, routing by an experiment, logging to a real PostgreSQL and metrics
on (`benchmarks.router_child`); LiteLLM is measured where `$FLYTEWHEEL_LITELLM` names its command
(`make .venv-litellm`).
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import Goal, report
from benchmarks.router_contestants import Contestant, start_contestants
from flytewheel.api_keys import create_key
from flytewheel.database import migrate
from flytewheel.local import places, postgres

CONNECTIONS = 32
INTERVAL_US = 4000
SHORT, LONG = 10, 110  # events of a stream
FASTER, FASTER_CHUNK, THAN_LITELLM, OF_NGINX = 8.0, 3.0, 40.0, 15.0
SHARES = {"direct": 4.0, "nginx": 4.0, "ours": 1.0, "starlette": 0.15, "litellm": 0.02}  # of the requests of a round
HERE = Path(__file__).parent


@dataclass
class Spent:
    """CPU µs of each round."""

    request: list[float] = field(default_factory=list)
    chunk: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)


def measure(quick: bool) -> list[Goal]:
    """Every contestant that there is, in alternating rounds."""
    rounds, requests, streams = (3, 2500, 96) if quick else (7, 10_000, 320)
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flytewheel-router-")))
        folder.chmod(0o711)
        database_url = cleanup.enter_context(_run_postgres(folder))
        secret = create_key(database_url, name="benchmark", scopes=("serve",))[1]
        load = _compile(folder)
        asked = write_requests(folder, secret)
        port = cleanup.enter_context(_run_upstream(load, folder))
        contestants = cleanup.enter_context(start_contestants(folder, port, database_url))
        drive = lambda one, name, count: _drive(load, one, asked[name], count)  # noqa: E731
        expected = {name: drive(contestants[0], name, 64)["digest"] for name in asked}
        spent = {one.name: Spent() for one in contestants}
        for number in range(-1, rounds):  # the first warms up
            for one in contestants:
                found = run_round(one, drive, expected, requests, streams)
                if number >= 0:
                    for values, figure in zip((spent[one.name].request, spent[one.name].chunk), found, strict=False):
                        values.append(figure)
                    spent[one.name].latency_ms.append(found[2])
        _check_rows(database_url)
    return judge(spent)


def run_round(
    one: Contestant,
    drive: Callable[[Contestant, str, int], dict[str, Any]],
    expected: dict[str, str],
    requests: int,
    streams: int,
) -> tuple[float, float, float]:
    """CPU µs a request and a chunk, and the median latency in ms, of one contestant."""
    share = SHARES[one.name]
    costs: dict[str, float] = {}
    latency = 0.0
    for name, count in (("plain", requests), ("short", streams), ("long", streams)):
        count = max(CONNECTIONS, int(count * (share if name == "plain" else min(1.0, share * 4))))
        before = one.cpu_s()
        found = drive(one, name, count)
        if one.settle_s:
            time.sleep(one.settle_s)  # what is written behind the answers is spent by then
        costs[name] = (one.cpu_s() - before) / count * 1e6
        if found["ok"] != count or (one.exact and (found["differing"] or found["digest"] != expected[name])):
            raise SystemExit(f"{one.name}: {name} answers are not those of the upstream: {found}")
        latency = latency or found["p50_ms"]
    return costs["plain"], (costs["long"] - costs["short"]) / (LONG - SHORT), latency


def judge(spent: dict[str, Spent]) -> list[Goal]:
    """The goals, from the medians."""
    request = {name: statistics.median(one.request) for name, one in spent.items()}
    chunk = {name: statistics.median(one.chunk) for name, one in spent.items()}
    for name, one in spent.items():
        low, high = min(one.request), max(one.request)
        waited = statistics.median(one.latency_ms)
        print(
            f"{name:<10} {request[name]:8.1f} µs a request [{low:.1f}, {high:.1f}], {chunk[name]:6.1f} µs a chunk,"
            f" median latency under load {waited:.2f} ms"
        )
    goals = [
        Goal("Starlette + httpx over ours, a request", request["starlette"] / request["ours"], FASTER, at_most=False),
        Goal("Starlette + httpx over ours, a chunk", chunk["starlette"] / chunk["ours"], FASTER_CHUNK, at_most=False),
    ]
    if "nginx" in request:
        goals.append(Goal("ours over nginx, a request", request["ours"] / request["nginx"], OF_NGINX))
        print(f"ours over nginx, a chunk: {chunk['ours'] / chunk['nginx']:.1f}")
    else:
        print("nginx is not installed (apt-get install nginx-light): not measured")
    if "litellm" in request:
        ratio = request["litellm"] / request["ours"]
        goals.append(Goal("LiteLLM's proxy over ours, a request", ratio, THAN_LITELLM, at_most=False))
    else:
        print("LiteLLM is not at hand ($FLYTEWHEEL_LITELLM, `make .venv-litellm`): not measured")
    return goals


def write_requests(folder: Path, secret: str) -> dict[str, Path]:
    """The three requests as bytes, and the upstream's recorded answers beside them."""
    context = "The payments service restarts with `payctl restart --rolling`; its channel is #payments-oncall. "
    body: dict[str, Any] = {
        "model": "flytewheel/demo",
        "messages": [
            {"role": "system", "content": f"You answer on-call questions briefly.\n\nContext:\n{context * 3}"},
            {"role": "user", "content": "The payments service times out after the deployment. What do I do first?"},
        ],
        "user": "user-@@@@@@@@",
        "temperature": 0.2,
        "max_tokens": 64,
    }
    written = {}
    for name, more in (("plain", {}), ("short", _stream(SHORT)), ("long", _stream(LONG))):
        raw = json.dumps(body | more, separators=(",", ":")).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {secret}\r\nContent-Length: {len(raw)}\r\n\r\n"
        )
        written[name] = folder / f"{name}.request"
        written[name].write_bytes(head.encode() + raw)
    return written


def _stream(events: int) -> dict[str, Any]:
    return {"stream": True, "max_tokens": events}


def _compile(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("benchmarks.router needs a C compiler for its load generator (apt-get install gcc libc6-dev)")
    subprocess.run([compiler, "-O2", "-o", folder / "load", HERE / "load.c"], check=True)
    return folder / "load"


def _drive(load: Path, one: Contestant, request: Path, count: int) -> dict[str, Any]:
    arguments = [load, "drive", str(one.port), str(CONNECTIONS), str(count), request]
    found: dict[str, Any] = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    return found


@contextmanager
def _run_upstream(load: Path, folder: Path) -> Iterator[int]:
    recorded = HERE / "router_answers"
    arguments = [load, "serve", recorded / "plain.json", recorded / "stream.txt", str(INTERVAL_US)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def _run_postgres(folder: Path) -> Iterator[str]:
    data = places.choose_place(folder, places.unprivileged_account())
    process, port = postgres.start(data, password="benchmark", log=folder / "postgres.log")
    try:
        url = postgres.server_url(port, "benchmark", postgres.DATABASE)
        migrate(url)
        yield url
    finally:
        postgres.stop(process)
        places.remove_place(folder)


def _check_rows(database_url: str) -> None:
    """Logging was on: the rows are there, of both arms, with whole answers."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT body ->> 'arm', count(*), bool_and((body -> 'completed')::bool) FROM interactions GROUP BY 1"
        ).fetchall()
    print("logged: " + ", ".join(f"{count} of {arm}" for arm, count, _ in sorted(rows)))
    if {arm for arm, _, whole in rows if whole} != {"control", "treatment"}:
        raise SystemExit(f"the interactions were not logged as they should be: {rows}")


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
