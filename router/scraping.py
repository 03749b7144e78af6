"""`/metrics`: what the processes counted, what they hold at the moment, and what runs left in PostgreSQL.

Figures from the database are read at most every 15 seconds, with a short limit, and never hold a scrape up for long: a
database that is away leaves the last ones standing, and `flytewheel_stored_age_seconds` says how old they are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from flytewheel.drift.figures import HOURS, StoredFigures, read_figures
from flytewheel.errors import FlytewheelError
from router.access.callers import READ
from router.access.needs import needs
from router.control import State

logger = logging.getLogger("router.scraping")

FRESH_S = 15.0
WAIT_S = 3.0

scraping = APIRouter(include_in_schema=False)


@dataclass(slots=True, eq=False)  # a collector is known by itself
class Stored(Collector):
    """The figures that were read last, and when, by the steady clock; None: never."""

    database_url: str
    figures: StoredFigures = field(default_factory=StoredFigures)
    read_at: float | None = None
    _task: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Reads anew what is too old; gives up waiting after a while, and the reading goes on."""
        if self.read_at is not None and time.monotonic() - self.read_at < FRESH_S:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
        await asyncio.wait({self._task}, timeout=WAIT_S)

    async def _read(self) -> None:
        try:
            self.figures = await asyncio.to_thread(read_figures, self.database_url)
            self.read_at = time.monotonic()
        except FlytewheelError as error:
            logger.info("metrics go on with what was read last: %s", error)

    def collect(self) -> Iterable[Metric]:
        """The figures as Prometheus has them."""
        figures = self.figures
        if self.read_at is not None:
            yield _gauge(
                "flytewheel_stored_age_seconds",
                "seconds since figures were read from the database",
                (),
                {(): time.monotonic() - self.read_at},
            )
        jobs = CounterMetricFamily("training_jobs", "turns that ended", labels=["status"])
        for status in ("success", "failed", "skipped"):
            jobs.add_metric([status], figures.jobs.get(status, 0))
        yield jobs
        durations = HistogramMetricFamily("training_duration_seconds", "seconds of turns that ended well")
        edges = [str(float(3600 * hours)) for hours in HOURS]
        counted = 0.0
        buckets = []
        for edge, count in zip([*edges, "+Inf"], figures.durations, strict=True):
            counted += count
            buckets.append((edge, counted))
        durations.add_metric([], buckets, figures.duration_sum_s)
        yield durations
        yield _gauge("model_quality_score", "estimates of an evaluation", ("model_version", "metric"), figures.quality)
        updates = CounterMetricFamily("model_updates", "versions that were given traffic", labels=["variant"])
        for variant, count in sorted(figures.updates.items()):
            updates.add_metric([variant], count)
        yield updates
        yield _gauge(
            "exploration_rate", "share of the users that meet it", ("experiment_id", "variant"), figures.exploration
        )
        yield _gauge(
            "flytewheel_capture_rate",
            "share of the newest 10,000 interactions that somebody reacted to",
            ("name",),
            figures.captured,
        )
        for part, text in (("interactions", "that the next small turn learns from"), ("size", "that make one due")):
            values = {key: float(pair[part == "size"]) for key, pair in figures.buffers.items()}
            yield _gauge(f"flytewheel_incremental_buffer_{part}", f"interactions {text}", ("name",), values)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


@scraping.get("/metrics", dependencies=[needs(READ)])
async def get_metrics(request: Request, state: State) -> Response:
    """Everything, in Prometheus's text form."""
    stored: Stored | None = getattr(request.app.state, "stored", None)
    if stored is None:
        stored = request.app.state.stored = Stored(state.database_url)
    await stored.refresh()
    log = await state.ask_log()
    for gauge, value in (
        (state.metrics.written, log.written),
        (state.metrics.waiting, log.waiting),
        (state.metrics.dropped, log.shed + log.refused),
        (state.metrics.spooled, log.spooled),
        (state.metrics.held, log.quarantined),
        (state.metrics.spool_bytes, log.spool_bytes),
    ):
        gauge.set(value)
    state.metrics.sample()
    own = CollectorRegistry()
    own.register(_Held(state))
    own.register(stored)
    text = generate_latest(state.metrics.registry) + generate_latest(own)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Held(Collector):
    """What this process holds at the moment: backends, and the means of rewards."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """Backends by state, and the mean reward of each arm."""
        backends = GaugeMetricFamily(
            "flytewheel_backend_state",
            "1 for the state that a loaded version is in",
            labels=["name", "version", "state"],
        )
        for backend in self._state.pool.all():
            backends.add_metric([backend.model.name, backend.model.version, str(backend.state)], 1)
        yield backends
        loaded = [((status.name, status.version), status) for status in (each.model for each in self._state.pool.all())]
        yield _gauge(
            "flytewheel_backend_breakers_open",
            "processes that do not ask a version for now, since it failed there",
            ("name", "version"),
            {key: float(status.breakers) for key, status in loaded},
        )
        yield _gauge(
            "flytewheel_backend_memory_bytes",
            "resident memory of a version's own process; adapters of one base share it",
            ("name", "version"),
            {key: float(status.memory_bytes) for key, status in loaded if status.memory_bytes is not None},
        )
        means = {key: total / count for key, (total, count) in self._state.metrics.read_rewards().items() if count > 0}
        yield _gauge("reward_mean", "mean reward of reactions", ("name", "version", "variant"), means)
