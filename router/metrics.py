"""What the router counts for Prometheus. `arm` is the assigned one, also where the control had to answer for the
treatment.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The router's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "flytewheel_requests",
            "answered and failed requests",
            ["name", "version", "arm", "status"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "flytewheel_latency_seconds",
            "seconds to the last token",
            ["name", "version", "arm"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_token = Histogram(
            "flytewheel_first_token_seconds",
            "seconds to the first bytes of the answer",
            ["name", "version", "arm"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "flytewheel_fallbacks",
            "requests that the control answered for the treatment",
            ["name", "version"],
            registry=self.registry,
        )
        self.held_back = Counter(
            "flytewheel_backend_held_back",
            "requests that a version was not asked for: its breaker was open, or it was full",
            ["name", "version", "reason"],
            registry=self.registry,
        )
        self.feedback = Counter("feedback_events", "feedback events stored", ["feedback_type"], registry=self.registry)
        self.waiting = Gauge("flytewheel_interactions_waiting", "rows not written yet", registry=self.registry)
        self.dropped = Gauge("flytewheel_interactions_dropped", "rows lost since the start", registry=self.registry)
