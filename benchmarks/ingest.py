"""Feedback as it comes in: durable requests and batches a second over HTTP, and how soon a reward is known elsewhere.

A real router process (or several: `--workers`), a real PostgreSQL that syncs, a load generator in C. Every request
rates an interaction of its own with a receipt of its own. Afterwards the database is counted: each acknowledged event
once. Asked are 3,000 requests and 30,000 events a second on two cores, by the clock; the same without the noise of
other work is CPU time: two cores have 667 µs for a request and 66.7 µs for an event, for all that takes part: router,
PostgreSQL and the generator.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg

from benchmarks import Goal, report
from flytewheel.database import migrate
from flytewheel.feedback.logs import encode_body
from flytewheel.local import objects, places, postgres
from flytewheel.records import Interaction
from registry.store import ObjectStore
from router.receipts import Receipt, ReceiptBook

WORKERS = 2  # as many as the cores that the goals are for
SINGLES_S, BATCHED_S = 3_000, 30_000  # requests and events a second, on two cores
PUSH_MS = 10.0
BATCH = 100
CONNECTIONS = 64
NAME = "bench"
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Place:
    """The router under test."""

    port: int
    database_url: str
    assignment_key: str
    admin_key: str
    processes: tuple[psutil.Process, ...]

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, by program, with all children, also those that have ended."""
        ended = os.times()  # children of ours: the generator, and nothing else between two looks
        spent = {"router": 0.0, "postgres": 0.0, "generator": ended.children_user + ended.children_system}
        for root, label in zip(self.processes, spent, strict=False):
            for process in (root, *root.children(recursive=True)):
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                spent[label] += times.user + times.system
                if process is root:
                    spent[label] += times.children_user + times.children_system
        return spent


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the generator gave."""

    ok: int
    seconds: float
    p50_ms: float
    p99_ms: float
    router_us: float
    postgres_us: float
    generator_us: float

    @property
    def cpu_us(self) -> float:
        return self.router_us + self.postgres_us + self.generator_us


def measure(quick: bool, workers: int) -> list[Goal]:
    """Singles, batches, push; then the count."""
    singles, batches, pushed = (3_000, 200, 200) if quick else (30_000, 3_000, 2_000)
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flytewheel-ingest-")))
        folder.chmod(0o711)
        replay = build_generator(folder)
        place = cleanup.enter_context(open_place(folder, workers))
        receipts = store_interactions(place, singles + batches * BATCH + pushed)
        one = [write_request(write_item(*each)) for each in receipts[:singles]]
        rest = receipts[singles : singles + batches * BATCH]
        many = [write_request(write_batch(rest[at : at + BATCH])) for at in range(0, len(rest), BATCH)]
        drive(replay, place, folder, one[:200], 1)  # what is started lazily is started
        alone = drive(replay, place, folder, one, 1)
        tell("single", alone, 1)
        batched = drive(replay, place, folder, many, BATCH)
        tell("batches of 100", batched, BATCH)
        events = batched.ok * BATCH
        waits = measure_push(place, receipts[-pushed:])
        median, p99 = waits[len(waits) // 2], waits[int(0.99 * len(waits))]
        print(f"push: median {median:.2f} ms, p99 {p99:.2f} ms over {len(waits)}")
        lost, doubled = count_events(place, alone.ok + events + len(waits))
    return [
        Goal("durable feedback requests a second, by the clock", alone.ok / alone.seconds, SINGLES_S, at_most=False),
        Goal("CPU µs a request: router, PostgreSQL, generator", alone.cpu_us, 2e6 / SINGLES_S),
        Goal("events a second in batches, by the clock", events / batched.seconds, BATCHED_S, at_most=False),
        Goal("CPU µs an event in batches: all three", batched.cpu_us, 2e6 / BATCHED_S),
        Goal("from request to subscriber, p99 in ms", p99, PUSH_MS),
        Goal("acknowledged events that are not stored", lost, 0),
        Goal("events that are stored twice", doubled, 0),
    ]


def tell(what: str, load: Load, events: int) -> None:
    """Prints one run."""
    print(
        f"{what}: {load.ok * events / load.seconds:,.0f} events/s, answers median {load.p50_ms:.1f} ms,"
        f" p99 {load.p99_ms:.1f} ms; µs of CPU an event: router {load.router_us:.1f},"
        f" PostgreSQL {load.postgres_us:.1f}, generator {load.generator_us:.1f}"
    )


def build_generator(folder: Path) -> Path:
    """Compiles replay.c."""
    program = folder / "replay"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the load generator needs a C compiler (Debian: apt install gcc libc6-dev)")
    subprocess.run([compiler, "-O2", "-o", program, ROOT / "benchmarks" / "replay.c"], check=True)
    return program


@contextmanager
def open_place(folder: Path, workers: int) -> Iterator[Place]:
    """PostgreSQL, a store, and a router that serves no model: feedback needs none."""
    with ExitStack() as cleanup:
        data_dir = places.choose_place(folder, places.unprivileged_account())
        database, port = postgres.start(data_dir, password="bench", log=folder / "postgres.log", durable=True)
        cleanup.callback(postgres.stop, database)
        database_url = postgres.server_url(port, "bench", postgres.DATABASE)
        migrate(database_url)
        store, store_port = objects.start(
            folder / "objects", log=folder / "objects.log", access_key="bench", secret_key="bench-secret", bucket=NAME
        )
        cleanup.callback(objects.stop, store)
        ObjectStore(objects.server_url(store_port), "bench", "bench-secret", NAME).ensure_bucket()
        keys = secrets.token_hex(16), secrets.token_hex(16)
        router, router_port = start_router(folder, database_url, objects.server_url(store_port), keys, workers)
        cleanup.callback(stop_router, router)
        server = psutil.Process(database.pid)
        yield Place(router_port, database_url, *keys, (psutil.Process(router.pid), server))


def start_router(
    folder: Path, database_url: str, store_url: str, keys: tuple[str, str], workers: int
) -> tuple[subprocess.Popen[bytes], int]:
    """Starts `python -m router` and waits until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("FLYTEWHEEL_")}
    environ = {
        "FLYTEWHEEL_HOME": str(folder / "home"),
        "FLYTEWHEEL_DATABASE_URL": database_url,
        "FLYTEWHEEL_S3_URL": store_url,
        "FLYTEWHEEL_S3_ACCESS_KEY": "bench",
        "FLYTEWHEEL_S3_SECRET_KEY": "bench-secret",
        "FLYTEWHEEL_S3_BUCKET": NAME,
        "FLYTEWHEEL_ASSIGNMENT_KEY": keys[0],
        "FLYTEWHEEL_ADMIN_KEY": keys[1],
    }
    (folder / "home").mkdir()
    command = [sys.executable, "-m", "router", "--port", str(port)]
    if workers > 1:
        command += ["--workers", str(workers)]
    with (folder / "router.log").open("wb") as log:
        router = subprocess.Popen(command, cwd=ROOT, env={**plain, **environ}, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as probe:
                probe.sendall(b"GET /healthz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
                if b" 200 " in probe.recv(100):
                    return router, port
        except OSError:
            pass
        if router.poll() is not None or time.monotonic() > deadline:
            router.kill()
            raise SystemExit(f"the router did not start: {(folder / 'router.log').read_text()[-2000:]}")
        time.sleep(0.05)


def stop_router(router: subprocess.Popen[bytes]) -> None:
    """Stops it, by force where it does not go."""
    router.terminate()
    try:
        router.wait(20)
    except subprocess.TimeoutExpired:
        router.kill()
        router.wait()


def store_interactions(place: Place, count: int) -> list[tuple[str, str]]:
    """Stores interactions by COPY; their ids and receipts."""
    book, now = ReceiptBook(place.assignment_key.encode()), datetime.now(UTC)
    receipts = []
    with psycopg.connect(place.database_url) as connection, connection.cursor() as cursor:
        query = 'COPY interactions (interaction_id, source, user_id, "timestamp", body, digest) FROM STDIN'
        with cursor.copy(query) as copy:
            for number in range(count):
                name, user = secrets.token_hex(16), f"user-{number % 4_000}"
                body, digest = encode_body(
                    Interaction(interaction_id=name, user_id=user, timestamp=now, query="q", response="r")
                )
                copy.write_row((name, NAME, user, now, body, digest))
                given = Receipt(name, user, NAME, "v1.202647.1", "control", 0.75, "e1", int(now.timestamp() * 1000))
                receipts.append((name, book.sign(given)))
    return receipts


def write_item(name: str, receipt: str) -> bytes:
    """One reaction with an id of its own."""
    return orjson.dumps(
        {
            "interaction_id": name,
            "receipt": receipt,
            "feedback_type": "rating",
            "rating": 4,
            "event_id": f"bench-{name}",
            "comment": "what I was looking for",
        }
    )


def write_batch(receipts: Sequence[tuple[str, str]]) -> bytes:
    """A batch of them."""
    return b'{"events":[' + b",".join(write_item(*each) for each in receipts) + b"]}"


def write_request(body: bytes) -> bytes:
    """The bytes of a request."""
    head = "POST /v1/feedback HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json"
    return f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def drive(replay: Path, place: Place, folder: Path, requests: Sequence[bytes], events: int) -> Load:
    """Sends each request once; CPU times are per event."""
    file = folder / "requests"
    file.write_bytes(b"".join(len(each).to_bytes(4, "little") + each for each in requests))
    before = place.cpu_s()
    done = subprocess.run(
        [replay, str(place.port), str(min(CONNECTIONS, len(requests))), file], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the generator stopped: {done.stderr}\n{(folder / 'router.log').read_text()[-2000:]}")
    after = place.cpu_s()
    said = json.loads(done.stdout)
    if said["other"]:
        first = said["first_other"]
        raise SystemExit(f"{said['other']} of {len(requests)} requests were refused, the first with {first}")
    spent = [1e6 * (after[name] - before[name]) / (len(requests) * events) for name in before]
    return Load(said["ok"], said["seconds"], said["p50_ms"], said["p99_ms"], *spent)


def measure_push(place: Place, receipts: Sequence[tuple[str, str]], every_s: float = 0.005) -> list[float]:
    """Milliseconds from the first byte of a request to the subscriber's line, sorted: 200 requests a second."""
    sent: dict[str, float] = {}
    waits: list[float] = []
    ready, done = threading.Event(), threading.Event()
    listener = socket.create_connection(("127.0.0.1", place.port))
    listener.settimeout(20)
    head = f"GET /v1/rewards HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {place.admin_key}\r\n"
    listener.sendall(head.encode() + b"accept: text/event-stream\r\n\r\n")

    def listen() -> None:
        rest = b""
        while len(waits) < len(receipts):
            got = listener.recv(1 << 16)
            arrived = time.perf_counter()
            lines = (rest + got).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if line.startswith(b"retry:"):
                    ready.set()
                if line.startswith(b"data:"):
                    waits.append(1e3 * (arrived - sent[orjson.loads(line[5:])["event_id"]]))
        done.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    if not ready.wait(20):
        raise SystemExit("the stream of rewards did not open")
    time.sleep(1.5)  # a process looks once a second whether anybody listens; until then the table tells, 20 s later
    with socket.create_connection(("127.0.0.1", place.port)) as sender:
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due = time.perf_counter()
        for name, receipt in receipts:
            due += every_s
            time.sleep(max(0.0, due - time.perf_counter()))
            sent[f"bench-{name}"] = time.perf_counter()
            sender.sendall(write_request(write_item(name, receipt)))
            said = read_answer(sender)
            if b" 201 " not in said[:20]:
                raise SystemExit(f"a request of the push was refused: {said.decode(errors='replace')}")
    if not done.wait(20):
        raise SystemExit(f"{len(receipts) - len(waits)} of {len(receipts)} rewards did not arrive")
    listener.close()
    return sorted(waits)


def read_answer(connection: socket.socket) -> bytes:
    """One answer, head and body."""
    said = b""
    while True:
        head, found, body = said.partition(b"\r\n\r\n")
        if found:
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(body) >= int(length[15:]):
                return said
        said += connection.recv(1 << 16)


def count_events(place: Place, acknowledged: int) -> tuple[int, int]:
    """How many acknowledged events are not stored, and how many rows are more than one event's."""
    query = "SELECT count(*), count(DISTINCT interaction_id) FROM feedback_events WHERE event_id LIKE 'bench-%'"
    deadline = time.monotonic() + 60
    while True:
        with psycopg.connect(place.database_url) as connection:
            rows, interactions = connection.execute(query).fetchone() or (0, 0)
        if rows >= acknowledged or time.monotonic() > deadline:
            return max(0, acknowledged - rows), rows - interactions
        time.sleep(0.1)


if __name__ == "__main__":
    more: dict[str, dict[str, Any]] = {"workers": {"type": int, "default": WORKERS, "help": "processes of the router"}}
    sys.exit(report(measure, "durable feedback over HTTP, and how soon its reward is known", more))
