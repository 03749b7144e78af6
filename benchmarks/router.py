"""What the router costs: CPU time a request and a streamed chunk, beside other proxies, in one run, at one load.

A load generator in C (`benchmarks/load.c`) asks over 32 connections, each again as soon as it is answered: every
contestant is judged at this load, with the same body, before the same upstream (`benchmarks/upstream.c`; both compiled
here), which answers with bytes recorded from llama.cpp: at once, or one event each 4 ms. It is the one load that says
what a request costs and nothing else: a proxy that is always busy pays for no wake-ups and no idle moments, and what
holds at full load says how many machines a team needs. A price at 200 requests a second (LiteLLM: 20, it takes no more)
is printed beside; there most of the time of all goes into waking up, and the ratios are nearer to 1. The price of a
chunk is the slope between long and short streams.

What is measured is the CPU time of the contestant's processes and all their threads: of ours (`benchmarks.
router_shipped`) keeper, worker and the writer to PostgreSQL, with keys, routing by an experiment, logging and metrics
on. Its requests bring no passage, whose support a process beside it would check (`benchmarks.groundedness` says what
that costs). The rounds alternate, the figures are medians. An idle router's price is measured first. LiteLLM is
measured where `$FLYTEWHEEL_LITELLM` names its command (`make .venv-litellm`).
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
from benchmarks.router_contestants import Contestant, start_others
from benchmarks.router_shipped import run_router
from flytewheel.api_keys import create_key
from flytewheel.database import migrate
from flytewheel.local import places, postgres

CONNECTIONS = 32
INTERVAL_US = 4000
SHORT, LONG = 10, 110  # events of a stream
FASTER, FASTER_CHUNK, THAN_LITELLM, OF_NGINX = 8.0, 3.0, 40.0, 15.0
MOST_IDLE = 2.0  # % of a core; 0.8 to 1.3 were seen
RATE, RATE_LITELLM = 200.0, 20.0  # requests a second
SHARES = {"direct": 4.0, "nginx": 4.0, "ours": 1.0, "starlette": 0.2, "litellm": 0.02}  # of the requests of a round
HERE = Path(__file__).parent


@dataclass
class Spent:
    """CPU µs of each round: a request, one at a slow pace, a chunk; and the median latency at that pace in ms."""

    request: list[float] = field(default_factory=list)
    paced: list[float] = field(default_factory=list)
    chunk: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)


def measure(quick: bool) -> list[Goal]:
    """Every contestant that there is, in alternating rounds."""
    rounds, sizes, idle_s = (3, (3000, 200, 64), 10.0) if quick else (7, (10_000, 1000, 320), 20.0)
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flytewheel-router-")))
        folder.chmod(0o711)
        database_url = cleanup.enter_context(_run_postgres(folder))
        secret = create_key(database_url, name="benchmark", scopes=("serve",))[1]
        load, upstream = _compile(folder, "load"), _compile(folder, "upstream")
        asked = write_requests(folder, secret)
        port = cleanup.enter_context(_run_upstream(upstream))
        contestants = cleanup.enter_context(start_others(folder, port))
        contestants.append(cleanup.enter_context(run_router(folder / "ours", port, database_url)))

        def drive(one: Contestant, name: str, count: int, rate: float = 0.0) -> dict[str, Any]:
            arguments: list[str | Path] = [load, str(one.port), str(CONNECTIONS), str(count), asked[name], str(rate)]
            done = subprocess.run(arguments, check=True, capture_output=True, text=True)
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        expected = {name: drive(contestants[0], name, 64)["digest"] for name in asked}
        spent = {one.name: Spent() for one in contestants}
        idle = measure_idle(contestants[-1], idle_s)
        for number in range(-1, rounds):  # the first warms up
            for one in contestants:
                found = run_round(one, drive, expected, sizes if number >= 0 else (1000, 50, 32))
                if number >= 0:
                    for name, figure in found.items():
                        getattr(spent[one.name], name).append(figure)
        _check_rows(database_url)
    return [*judge(spent), Goal("ours idle, % of a core", idle, MOST_IDLE)]


def measure_idle(one: Contestant, seconds: float) -> float:
    """The CPU time of a contestant that nobody asks anything, in % of a core; it has a moment to come to rest first."""
    time.sleep(2.0)
    before, began = one.cpu_s(), time.monotonic()
    time.sleep(seconds)
    return 100 * (one.cpu_s() - before) / (time.monotonic() - began)


def run_round(
    one: Contestant, drive: Callable[..., dict[str, Any]], expected: dict[str, str], sizes: tuple[int, int, int]
) -> dict[str, float]:
    """The figures of `Spent` of one contestant. `sizes`: requests, paced requests, streams."""
    share, rate = SHARES[one.name], RATE_LITELLM if one.name == "litellm" else RATE
    costs: dict[str, float] = {}
    waited: dict[str, float] = {}
    for name, request, count, pace in (
        ("request", "plain", int(sizes[0] * share), 0.0),
        ("paced", "plain", int(sizes[1] * rate / RATE), rate),
        ("short", "short", int(sizes[2] * min(1.0, share * 4)), 0.0),
        ("long", "long", int(sizes[2] * min(1.0, share * 4)), 0.0),
    ):
        count = max(CONNECTIONS, count)
        before = one.cpu_s()
        found = drive(one, request, count, pace)
        time.sleep(one.settle_s)  # what is written behind the answers is spent by then
        costs[name] = (one.cpu_s() - before) / count * 1e6
        waited[name] = found["p50_ms"]
        if found["ok"] != count or (one.exact and (found["differing"] or found["digest"] != expected[request])):
            raise SystemExit(f"{one.name}: {name} answers are not those of the upstream: {found}")
    chunk = (costs["long"] - costs["short"]) / (LONG - SHORT)
    return {"request": costs["request"], "paced": costs["paced"], "chunk": chunk, "latency_ms": waited["paced"]}


def judge(spent: dict[str, Spent]) -> list[Goal]:
    """The goals, from the medians."""
    request, paced, chunk, waited = (
        {name: statistics.median(getattr(one, figure)) for name, one in spent.items()}
        for figure in ("request", "paced", "chunk", "latency_ms")
    )
    for name, one in spent.items():
        print(
            f"{name:<10} {request[name]:8.1f} µs a request [{min(one.request):.1f}, {max(one.request):.1f}],"
            f" {chunk[name]:6.1f} a chunk; at a slow pace {paced[name]:8.1f} [{min(one.paced):.1f},"
            f" {max(one.paced):.1f}], median latency {waited[name]:.2f} ms"
        )
    for name in request.keys() - {"direct", "ours"}:
        parts = request[name] / request["ours"], chunk[name] / chunk["ours"], paced[name] / paced["ours"]
        print(f"{name} over ours: {parts[0]:.4g} a request, {parts[1]:.4g} a chunk, {parts[2]:.4g} at a slow pace")
    goals = [
        Goal("Starlette + httpx over ours, a request", request["starlette"] / request["ours"], FASTER, at_most=False),
        Goal("Starlette + httpx over ours, a chunk", chunk["starlette"] / chunk["ours"], FASTER_CHUNK, at_most=False),
    ]
    if "nginx" in request:
        goals.append(Goal("ours over nginx, a request", request["ours"] / request["nginx"], OF_NGINX))
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
            {"role": "system", "content": f"You answer on-call questions briefly. {context * 3}"},
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


def _compile(folder: Path, name: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("benchmarks.router needs a C compiler for its load generator (apt-get install gcc libc6-dev)")
    subprocess.run([compiler, "-O2", "-o", folder / name, HERE / f"{name}.c"], check=True)
    return folder / name


@contextmanager
def _run_upstream(upstream: Path) -> Iterator[int]:
    recorded = HERE / "router_answers"
    arguments: list[str | Path] = [upstream, recorded / "plain.json", recorded / "stream.txt", str(INTERVAL_US)]
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
