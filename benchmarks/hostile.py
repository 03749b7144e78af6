"""Hostile requests against a whole router: `python -m benchmarks.hostile [--quick] [--json FILE]`.

100,000 malformed requests (benchmarks/hostile_bodies.py) go to every endpoint of a real router with a real model behind
it, on raw connections, while a healthy client asks all the time. Not one answer may be a 5xx, the process must be the
same at the end, its log must hold no traceback, and the healthy client must have been answered.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httptools
import httpx

from benchmarks import Goal, report
from benchmarks.hostile_bodies import make_requests
from benchmarks.hostile_targets import list_targets
from tests.router.hosting import host_router
from tests.router.live import ADMIN_KEY, API_KEY, LiveRouter

COUNT, QUICK = 100_000, 3_000
CONNECTIONS = 16
PATIENCE_S = 0.7  # for an answer that may never come, because the request never ends
SEED = 20261128


@dataclass
class Outcome:
    """What came of the requests."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    failures: list[tuple[int, bytes, bytes]] = field(default_factory=list)  # status, answer, request
    healthy: int = 0
    unhealthy: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    seconds: float = 0.0


class _Answer:
    """One answer, as httptools tells it."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.done = False
        self.status = 0
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.done = False

    def on_message_complete(self) -> None:
        self.done = self.status >= 200


async def send_all(port: int, requests: Iterable[bytes], healthy: bytes | None = None) -> Outcome:
    """Sends requests over a few connections at a time; `healthy`, where given, is asked all the while."""
    outcome, pending = Outcome(), iter(requests)
    started = time.monotonic()

    async def work() -> None:
        for request in pending:
            await _send(port, request, outcome)

    watch = asyncio.create_task(_stay_healthy(port, healthy, outcome)) if healthy else None
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    if watch is not None:
        watch.cancel()
    outcome.seconds = time.monotonic() - started
    return outcome


async def _send(port: int, request: bytes, outcome: Outcome) -> None:
    outcome.sent += 1
    answer = await _exchange(port, request, PATIENCE_S)
    if answer is None or not answer.status:
        outcome.unanswered += 1
        return
    outcome.statuses[answer.status] += 1
    if answer.status >= 500:
        outcome.failures.append((answer.status, answer.body[:300], request[:2000]))


async def _exchange(port: int, request: bytes, patience_s: float) -> _Answer | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = _Answer()
    try:
        writer.write(request)
        while not answer.done:
            data = await asyncio.wait_for(reader.read(65536), 30.0 if answer.status else patience_s)
            if not data:
                break
            answer.parser.feed_data(data)
    except (TimeoutError, OSError, httptools.HttpParserError):
        pass
    finally:
        writer.transport.abort()
    return answer


async def _stay_healthy(port: int, request: bytes, outcome: Outcome) -> None:
    while True:
        started = time.monotonic()
        answer = await _exchange(port, request, 30.0)
        outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - started)
        if answer is not None and answer.status == 200 and answer.done:
            outcome.healthy += 1
        else:
            outcome.unhealthy.append("no answer" if answer is None else f"{answer.status} {answer.body[:200]!r}")
        await asyncio.sleep(0.02)


def attack(router: LiveRouter, count: int, seed: int = SEED) -> Outcome:
    """Serves a model and sends `count` hostile requests to every endpoint."""
    router.serve("demo", "stable")
    asked = router.ask("demo")
    targets = list_targets(
        router.get("/openapi.json").json(),
        "flytewheel/demo",
        asked.headers["x-flytewheel-interaction"],
        asked.headers["x-flytewheel-receipt"],
    )
    keys = [ADMIN_KEY.encode(), ADMIN_KEY.encode(), API_KEY.encode()]
    body = b'{"model":"flytewheel/healthy","messages":[{"role":"user","content":"?"}],"max_tokens":2}'
    router.serve("healthy", "stable")
    healthy = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer " + API_KEY.encode()
        + b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body)
    )  # fmt: skip
    return asyncio.run(send_all(router.port, make_requests(targets, keys, seed, count), healthy))


def find_faults(log: str) -> Iterator[str]:
    """The lines of a router's log that tell of an error nobody foresaw."""
    for line in log.splitlines():
        if "Traceback" in line or "Exception in ASGI" in line:
            yield line


def measure(quick: bool) -> list[Goal]:
    """Starts services and a router of its own."""
    count = QUICK if quick else COUNT
    with tempfile.TemporaryDirectory(prefix="flytewheel-hostile-") as folder, host_router(Path(folder)) as router:
        assert router.process is not None
        before = router.process.pid
        outcome = attack(router, count)
        alive = router.process.poll() is None and router.process.pid == before
        status = httpx.get(router.url + "/healthz", trust_env=False).json()["status"]
        log = (router.home / "router.log").read_text()
    print(f"{outcome.sent} requests in {outcome.seconds:.0f} s: {dict(sorted(outcome.statuses.items()))},", end=" ")
    print(
        f"{outcome.unanswered} without an answer; {outcome.healthy} healthy answers, slowest {outcome.slowest_s:.2f} s"
    )
    shown: Counter[tuple[int, bytes]] = Counter((status, body) for status, body, _ in outcome.failures)
    for (code, said), times in shown.most_common(12):
        example = next(request for status, body, request in outcome.failures if (status, body) == (code, said))
        print(f"  {times} × {code} {said!r}\n    {example[:600]!r}", file=sys.stderr)
    faults = list(find_faults(log))
    for line in faults[:5]:
        print(f"  {line}", file=sys.stderr)
    if os.environ.get("FLYTEWHEEL_DEBUG") or faults:
        print(log[-6000:], file=sys.stderr)
    return [
        Goal("answers of 5xx", len(outcome.failures), 0),
        Goal("tracebacks in the log", len(faults), 0),
        Goal("crashes", 0 if alive else 1, 0),
        Goal("healthy requests that were not answered", len(outcome.unhealthy), 0),
        Goal("seconds that a healthy request waited at most", outcome.slowest_s, 5),
        Goal(f"the router is {status} at the end", 1 if status == "ready" else 0, 1, at_most=False),
        Goal("malformed requests", outcome.sent, count, at_most=False),
    ]


if __name__ == "__main__":
    sys.exit(report(measure, __doc__ or ""))
