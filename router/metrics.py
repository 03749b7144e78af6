"""What the router counts for Prometheus, in every process, and one place where all of it is read.

`arm` is the assigned one, also where the control had to answer for the treatment. Latencies are those of language
models: from a millisecond (a cached answer of a small one) to two minutes. Names without the prefix `flytewheel_` are
those of the reference design. Families are added here, one line each; counting belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from router.cells import Cells, read_folder
from router.tallies import Count, Family, Gathered, Spread

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
SCORES = (-1.0, -0.5, 0.0, 0.5, 1.0)
ARM = ("name", "version", "arm")
NO_TIER, OTHER_TIER = "none", "other"


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """The children of one model's arm at one version: look them up once for a route."""

    answered: Count
    latency: Spread
    first_token: Spread
    prompt_tokens: Count
    completion_tokens: Count
    reward_sum: Count
    reward_count: Count


@dataclass(frozen=True, slots=True)
class SaidCounts:
    """The children that one kind of event about one arm counts into."""

    events: Count
    liked: Count | None
    disliked: Count | None
    of_arm: ArmCounts | None


class Metrics:
    """The router's metrics; `registry` gives those of all processes whose folder is the same."""

    def __init__(self, folder: Path | None = None, *, tiers: frozenset[str] = frozenset()) -> None:
        """Counts into a file of `folder`, or into memory of this process alone.

        Args:
            folder: shared by the processes of one router.
            tiers: the values of `user_tier` that are known; any other is counted as `other`.
        """
        self.cells = Cells(folder)
        self._tiers = tiers
        self._families: list[Family[Count] | Family[Spread]] = []
        self._samplers: list[Callable[[], None]] = []
        self._arms: dict[tuple[str, str, str], ArmCounts] = {}
        self._said: dict[tuple[Any, ...], SaidCounts] = {}
        self._add_requests()
        self._add_feedback()
        self._add_stores()
        self._add_keeper()
        for family in self._families:
            if family.kind == "gauge":
                family.zero()  # of a process that was killed here
        self._read = self.cells.read if folder is None else lambda: read_folder(folder)
        self.registry = CollectorRegistry()
        self.registry.register(Gathered(self._families, self._read))

    # -- families

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Family[Count]:
        """A new counter; Prometheus sees it with `_total` at its end."""
        return self._keep(Family(self.cells, Count, "counter", name, text, labels))

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Family[Count]:
        """A new gauge; over the processes that live it is a sum."""
        return self._keep(Family(self.cells, Count, "gauge", name, text, labels))

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), bounds: tuple[float, ...] = SECONDS
    ) -> Family[Spread]:
        """A new histogram with these upper bounds."""
        family = Family(self.cells, Spread, "histogram", name, text, labels, bounds=bounds)
        self._families.append(family)
        return family

    def _keep(self, family: Family[Count]) -> Family[Count]:
        self._families.append(family)
        return family

    def _add_requests(self) -> None:
        self.requests = self.counter("flytewheel_requests", "answered and failed requests", (*ARM, "status"))
        self.errors = self.counter("flytewheel_errors", "requests without a whole answer, by cause", (*ARM, "cause"))
        self.latency = self.histogram("flytewheel_latency_seconds", "seconds to the last token", ARM)
        self.first_token = self.histogram(
            "flytewheel_first_token_seconds", "seconds to the first bytes of the answer", ARM
        )
        self.tokens = self.counter("flytewheel_tokens", "tokens as the backends counted them", (*ARM, "kind"))
        self.fallbacks = self.counter(
            "flytewheel_fallbacks", "requests that the control answered for the treatment", ("name", "version")
        )
        self.held_back = self.counter(
            "flytewheel_backend_held_back",
            "requests that a version was not asked for: its breaker was open, or it was full",
            ("name", "version", "reason"),
        )
        self.assignments = self.counter(
            "flytewheel_assignments", "requests by the arm that their user was given", ("experiment_id", "variant")
        )
        self.in_flight = self.gauge("flytewheel_in_flight", "requests under way").labels()

    def _add_feedback(self) -> None:
        self.feedback = self.counter("feedback_events", "feedback events stored", ("feedback_type", "user_tier"))
        self.scores = self.histogram(
            "feedback_score_distribution", "rewards of feedback events, in [-1, 1]", bounds=SCORES
        ).labels()
        self.conversions = self.counter(
            "ab_test_conversions",
            "reactions to answers of an experiment; converted: the reward is above 0",
            ("experiment_id", "variant", "converted"),
        )
        self.reward_sum = self._keep(
            Family(self.cells, Count, "sum", "flytewheel_reward_points", "rewards added up", ARM)
        )
        self.reward_count = self.counter("flytewheel_rewards", "rewards that were counted", ARM)

        self.grounding_checked = self.counter(
            "flytewheel_groundedness_checked", "answers that were checked against their context", ARM
        )
        self.grounding_ungrounded = self.counter(
            "flytewheel_groundedness_ungrounded", "of those, answers that say what their context does not hold", ARM
        )
        self.grounding_spans = self.counter(
            "flytewheel_groundedness_spans", "numbers, names, commands, quotations in checked answers", ARM
        )
        self.grounding_unsupported = self.counter(
            "flytewheel_groundedness_unsupported", "of those, what the context does not hold", ARM
        )
        self.grounding_skipped = self.counter(
            "flytewheel_groundedness_skipped", "answers that were not checked, by cause", ("cause",)
        )

    def _add_stores(self) -> None:
        self.written = self.gauge("flytewheel_interactions_written", "rows stored since the start").labels()
        self.waiting = self.gauge("flytewheel_interactions_waiting", "rows not written yet").labels()
        self.dropped = self.gauge("flytewheel_interactions_dropped", "rows lost since the start").labels()
        self.spool_bytes = self.gauge("flytewheel_spool_bytes", "bytes in the spool on disk").labels()
        self.spooled = self.gauge("flytewheel_events_spooled", "events laid into the spool since the start").labels()
        self.held = self.gauge("flytewheel_log_quarantined", "rows that could not be stored since the start").labels()

    def _add_keeper(self) -> None:
        self.database_age = self.gauge(
            "flytewheel_database_age_seconds", "seconds since the database was heard of; -1: never"
        ).labels()
        self.control_only = self.gauge(
            "flytewheel_control_only", "1: nobody meets a treatment, the database is away for too long"
        ).labels()
        self.workers = self.gauge("flytewheel_workers", "processes that answer").labels()
        self.worker_restarts = self.gauge("flytewheel_worker_restarts", "workers that ended by themselves").labels()

    # -- what is counted often

    def of_arm(self, name: str, version: str, arm: str) -> ArmCounts:
        """The children of an arm, always the same ones."""
        key = (name, version, arm)
        found = self._arms.get(key)
        if found is None:
            found = self._arms[key] = ArmCounts(
                answered=self.requests.labels(*key, "200"),
                latency=self.latency.labels(*key),
                first_token=self.first_token.labels(*key),
                prompt_tokens=self.tokens.labels(*key, "prompt"),
                completion_tokens=self.tokens.labels(*key, "completion"),
                reward_sum=self.reward_sum.labels(*key),
                reward_count=self.reward_count.labels(*key),
            )
        return found

    def count_call(
        self,
        name: str,
        version: str,
        arm: str,
        status: str,
        *,
        first_s: float | None = None,
        last_s: float | None = None,
        tokens: Mapping[str, int] | None = None,
    ) -> None:
        """Counts a call that ended; the times are None where no answer began."""
        of_arm = self._arms.get((name, version, arm)) or self.of_arm(name, version, arm)
        if status == "200":
            of_arm.answered.inc()
        else:
            self.requests.labels(name, version, arm, status).inc()
            if status != "fallback":
                self.errors.labels(name, version, arm, status).inc()
        if last_s is not None:
            of_arm.latency.observe(last_s)
        if first_s is not None:
            of_arm.first_token.observe(first_s)
        if tokens:
            if (count := tokens.get("prompt_tokens")) is not None:
                of_arm.prompt_tokens.inc(count)
            if (count := tokens.get("completion_tokens")) is not None:
                of_arm.completion_tokens.inc(count)

    def count_feedback(
        self,
        feedback_type: str,
        reward: float | None,
        *,
        tier: Any = None,
        experiment_id: str | None = None,
        name: str = "",
        version: str = "",
        arm: str | None = None,
        times: int = 1,
    ) -> None:
        """Counts a stored event, or `times` alike. `reward` is in [-1, 1], or None where it has none of its own."""
        key = (feedback_type, tier if type(tier) is str else bool(tier), experiment_id, name, version, arm)
        found = self._said.get(key)
        if found is None:
            if len(self._said) > 10_000:  # tiers are the clients' own words
                self._said.clear()
            split = None if experiment_id is None or arm is None else (experiment_id, arm)
            found = self._said[key] = SaidCounts(
                events=self.feedback.labels(feedback_type, self.name_tier(tier)),
                liked=self.conversions.labels(*split, "true") if split else None,
                disliked=self.conversions.labels(*split, "false") if split else None,
                of_arm=self.of_arm(name, version, arm or "champion") if name else None,
            )
        found.events.inc(times)
        if reward is None:
            return
        self.scores.observe(reward, times)
        converted = found.liked if reward > 0 else found.disliked
        if converted is not None:
            converted.inc(times)
        if found.of_arm is not None:
            found.of_arm.reward_sum.inc(reward * times)
            found.of_arm.reward_count.inc(times)

    def read_rewards(self) -> dict[tuple[str, ...], tuple[float, float]]:
        """Sum and number of the rewards of each model, version and arm, over all processes."""
        found: dict[str, dict[tuple[str, ...], float]] = {self.reward_sum.name: {}, self.reward_count.name: {}}
        for series in self._read():
            if series.family in found:
                known = found[series.family]
                known[series.labels] = known.get(series.labels, 0.0) + series.values[0]
        sums, counts = found[self.reward_sum.name], found[self.reward_count.name]
        return {key: (sums.get(key, 0.0), count) for key, count in counts.items()}

    def name_tier(self, tier: Any) -> str:
        """The label of a user's tier: clients send it, so only known ones become labels."""
        if not tier:
            return NO_TIER
        return tier if isinstance(tier, str) and tier in self._tiers else OTHER_TIER

    # -- what is looked up now and then

    def watch(self, sampler: Callable[[], None]) -> None:
        """Has `sampler` set gauges whenever `sample` is called: every second, and before a scrape."""
        self._samplers.append(sampler)

    def sample(self) -> None:
        """Brings this process's gauges up to date."""
        for sampler in self._samplers:
            sampler()

    async def keep_sampled(self, every_s: float = 1.0) -> None:
        """Samples for ever: a worker's gauges are read by others."""
        while True:
            self.sample()
            await asyncio.sleep(every_s)
