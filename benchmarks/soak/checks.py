"""What is looked at beside the traffic: memory and metrics while it runs, the database when it is over."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.soak.place import Place
from benchmarks.soak.traffic import Tally

EVERY_S = 2.0
SCRAPE_EVERY = 3  # samples


@dataclass(slots=True)
class Memory:
    """Resident MiB of one process over time."""

    role: str
    at_s: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)

    def grown(self, warm_s: float, seconds: float) -> float | None:
        """MiB between the first and the last quarter of what came after the warm-up; None for too short a life."""
        kept = [(at, mib) for at, mib in self._keep(warm_s, seconds) if at <= seconds]
        if len(kept) < 8 or kept[-1][0] - kept[0][0] < 0.4 * (seconds - warm_s):
            return None
        quarter = max(2, len(kept) // 4)
        first, last = kept[:quarter], kept[-quarter:]
        return statistics.median(mib for _, mib in last) - statistics.median(mib for _, mib in first)

    def slope(self, warm_s: float, seconds: float) -> float:
        """Theil and Sen's, in MiB a minute."""
        kept = self._keep(warm_s, seconds)[:: 1 + len(self.at_s) // 300]
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(kept) for b in kept[n + 1 :] if b[0] > a[0]]
        return 60 * statistics.median(slopes) if slopes else 0.0

    def _keep(self, warm_s: float, seconds: float) -> list[tuple[float, float]]:
        """Samples after the warm-up of the run, and of this process where it began later."""
        begin = max(warm_s, self.at_s[0] + 0.1 * seconds)
        return [(at, mib) for at, mib in zip(self.at_s, self.mib, strict=True) if at >= begin]


@dataclass(slots=True)
class Watch:
    """Samples of one run."""

    memory: dict[int, Memory] = field(default_factory=dict)
    fallen: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    scrapes: int = 0
    without_keeper: int = 0
    counted: float = 0.0

    async def run(self, place: Place) -> None:
        """Samples until it is cancelled."""
        began, number = time.perf_counter(), 0
        headers = {"authorization": f"Bearer {place.key}"}
        async with httpx.AsyncClient(base_url=place.url, timeout=10, trust_env=False, headers=headers) as client:
            while True:
                self._sample(place, time.perf_counter() - began)
                if number % SCRAPE_EVERY == 0:
                    await self.scrape(client)
                number += 1
                await asyncio.sleep(EVERY_S)

    def _sample(self, place: Place, at_s: float) -> None:
        keeper = place.find_keeper()
        found = [("keeper", keeper)] if keeper is not None else []
        found += [(f"worker {slot}", worker) for slot, worker in enumerate(place.find_workers())]
        for role, process in found:
            try:
                mib = process.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                continue
            memory = self.memory.setdefault(process.pid, Memory(role))
            memory.at_s.append(at_s)
            memory.mib.append(mib)

    async def scrape(self, client: httpx.AsyncClient) -> None:
        """Reads the metrics: the total of requests may never fall, whoever was killed."""
        try:
            answer = await client.get("/metrics")
        except httpx.TransportError:
            return  # its connection was a killed worker's; the next one counts
        if answer.status_code == 503 and "the keeper does not answer" in answer.text:
            self.without_keeper += 1  # it was killed
            return
        if answer.status_code != 200:
            self.refused.append(f"{answer.status_code}: {answer.text[:200]}")
            return
        total = sum_samples(answer.text, "flytewheel_requests_total")
        self.scrapes += 1
        if total < self.counted:
            self.fallen.append(f"{self.counted:.0f} → {total:.0f}")
        self.counted = total


def sum_samples(text: str, name: str) -> float:
    """The sum of a metric's samples, by prometheus_client's parser."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds of what was acknowledged and answered."""

    lost: int
    doubled: int
    changed: int
    without_interaction: int
    unlogged: int


def wait_replayed(place: Place, tally: Tally, timeout_s: float) -> float:
    """Waits until nothing more comes into the database; returns the seconds that took, from now on."""
    began, last, since = time.monotonic(), -1, time.monotonic()
    while time.monotonic() - began < timeout_s:
        counted = _count(place)
        if counted != last:
            last, since = counted, time.monotonic()
        elif time.monotonic() - since > 10 or _missing(place, tally) == 0:
            return since - began
        time.sleep(0.5)
    return timeout_s


def check_stored(place: Place, tally: Tally) -> Stored:
    """Compares the database with what clients were told, by id."""
    events = [(event, interaction, number) for event, (interaction, number) in tally.acknowledged.items()]
    with psycopg.connect(place.database_url) as connection:
        _bring(connection, "told", "event_id text, interaction_id text, number int", events)
        _bring(connection, "answered", "interaction_id text", [(one,) for one in tally.answered])
        return Stored(
            lost=_ask(
                connection,
                "SELECT count(*) FROM told WHERE NOT EXISTS"
                " (SELECT FROM feedback_events e WHERE e.event_id = told.event_id)",
            ),
            doubled=_ask(
                connection,
                "SELECT count(*) FROM (SELECT interaction_id FROM feedback_events JOIN told USING (interaction_id)"
                " GROUP BY interaction_id HAVING count(*) > 1) AS more",
            ),
            changed=_ask(
                connection,
                "SELECT count(*) FROM told JOIN feedback_events e USING (event_id)"
                " WHERE e.interaction_id <> told.interaction_id OR (e.metadata ->> 'number')::int <> told.number"
                " OR e.feedback_type <> CASE told.number % 2 WHEN 1 THEN 'thumbs_up' ELSE 'thumbs_down' END",
            ),
            without_interaction=_ask(
                connection,
                "SELECT count(*) FROM told WHERE NOT EXISTS"
                " (SELECT FROM interactions i WHERE i.interaction_id = told.interaction_id)",
            ),
            unlogged=_ask(
                connection,
                "SELECT count(*) FROM answered WHERE NOT EXISTS"
                " (SELECT FROM interactions i WHERE i.interaction_id = answered.interaction_id)",
            ),
        )


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; not a number without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _missing(place: Place, tally: Tally) -> int:
    found = check_stored(place, tally)
    return found.lost + found.unlogged


def _count(place: Place) -> int:
    with psycopg.connect(place.database_url) as connection:
        return _ask(connection, "SELECT (SELECT count(*) FROM interactions) + (SELECT count(*) FROM feedback_events)")


def _bring(connection: psycopg.Connection[Any], table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    connection.execute(f"CREATE TEMP TABLE {table} ({columns}) ON COMMIT DROP".encode())
    with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(f"ANALYZE {table}".encode())


def _ask(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
