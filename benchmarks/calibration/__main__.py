"""How often the shipped analysis errs, and how soon it finds harm, on simulated crowds of 4,000 users over 14 days.

`python -m benchmarks.calibration [--quick] [--runs 1000] [--json FILE]`; 10,000 runs by hand. Seeds are fixed; beside
each goal stands its Monte Carlo slack, three standard errors of the goal's own share at that many runs. Arms that are
identical may be called different in at most 5 % of experiments, over all looks together:
- *decided*: a primary is called better at a planned daily look or worse at any look (daily, hourly);
- *interval*: the always-valid interval misses the truth at any look (daily, hourly): coverage at every stopping time.
The reference design's own analysis, a t-test on every response looked at daily, runs on the same draws.

Assumed traffic: for identical arms half a rating a user and day; for detection and clearance 6 requests a user and day,
2 of them rated, ratings and latencies correlated 0.2 within a user and errors 0.02 (they come from machines).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks import Goal, report
from benchmarks.calibration import scalar
from benchmarks.calibration.crowd import Crowd, add_up, draw_events
from benchmarks.calibration.latencies import draw_latencies
from benchmarks.calibration.looks import (
    LEVEL,
    are_better,
    are_called_apart_by_t_test,
    weigh_guardrail,
    weigh_primary,
)
from flytewheel.experiment.metrics import find_metric

THUMBS = replace(find_metric("thumbs_up_rate"), relative_margin=0.05)
ERRORS = replace(find_metric("error_rate"), absolute_margin=0.01)
LATENCY = replace(find_metric("latency_p95"), relative_margin=0.05)
SEED = 8
DAILY = slice(23, None, 24)
CANARY, HALF = ((0, 0.1),), ((0, 0.5),)
VOTES, REQUESTS = 2.0, 6.0  # a user and day
ERROR_CORRELATION = 0.02

SAME = {
    "50/50, correlation 0.2": Crowd(),
    "10/90": Crowd(stages=CANARY),
    "correlation 0": Crowd(correlation=0.0),
    "correlation 0.5": Crowd(correlation=0.5),
    "heavy-tailed usage": Crowd(usage=1.5),
    "autocorrelated users": Crowd(mood=1.0),
}


def measure(quick: bool, runs: int | None = None) -> list[Goal]:
    """Every regime; `runs` experiments each, fewer where one takes many looks of the scalar kind."""
    runs = runs or (100 if quick else 1000)
    goals = [*_tell_same(runs), *_tell_strata(runs), *_tell_margin(runs), *_tell_harm(runs), _tell_healthy(runs)]
    return goals


def _at_most(name: str, share: float, runs: int, bound: float = 0.05) -> Goal:
    slack = 3 * math.sqrt(bound * (1 - bound) / runs)
    return Goal(f"{name} ({runs:,} runs, slack {slack:.3f})", float(share), bound + slack, at_most=True)


def _at_least(name: str, share: float, runs: int, bound: float) -> Goal:
    slack = 3 * math.sqrt(bound * (1 - bound) / runs)
    return Goal(f"{name} ({runs:,} runs, slack {slack:.3f})", float(share), bound - slack, at_most=False)


def _draw(crowd: Crowd, runs: int, regime: int) -> NDArray[np.float64]:
    """Moments of many experiments, `(runs, 6, hours, 2)`."""
    moments = np.empty((runs, 6, crowd.hours, 2))
    for run in range(runs):
        moments[run] = add_up(draw_events(crowd, np.random.default_rng([SEED, regime, run])), crowd)
    return moments


def _tell_same(runs: int) -> Iterator[Goal]:
    for regime, (name, crowd) in enumerate(SAME.items()):
        moments = _draw(crowd, runs, regime)
        primary, guarded = weigh_primary(THUMBS, moments), weigh_guardrail(THUMBS, moments)
        better, worse, missed = are_better(primary, DAILY, crowd.days), primary.worse(), primary.misses(0.0)
        told = [("daily", DAILY), ("hourly", slice(None))]
        for often, looks in told:
            yield _at_most(f"A/A, {name}, {often}: decided", (better | worse[:, looks].any(axis=1)).mean(), runs)
            yield _at_most(f"A/A, {name}, {often}: interval misses", missed[:, looks].any(axis=1).mean(), runs)
        yield _at_most(f"A/A, {name}, hourly: guardrail calls harm", guarded.harmed(LEVEL).any(axis=1).mean(), runs)
        naive = are_called_apart_by_t_test(moments, DAILY).mean()
        if crowd.correlation >= 0.2:
            yield _at_least(f"A/A, {name}: a t-test on every response, daily", naive, runs, 0.30)


def _tell_strata(runs: int) -> Iterator[Goal]:
    hourly = max(20, runs // 20)
    regimes: list[tuple[str, int, Callable[[np.random.Generator], scalar.Called]]] = [
        ("ramp with drifting baseline, daily", runs, lambda generator: scalar.ramp(generator, every_hours=24)),
        ("ramp with drifting baseline, hourly", hourly, lambda generator: scalar.ramp(generator, every_hours=1)),
        ("Thompson allocation", runs, scalar.thompson),
    ]
    for regime, (name, many, play) in enumerate(regimes, 20):
        called = [play(np.random.default_rng([SEED, regime, run])) for run in range(many)]
        yield _at_most(f"A/A, {name}: decided", np.mean([one.apart for one in called]), many)
        yield _at_most(f"A/A, {name}: interval misses", np.mean([one.missed for one in called]), many)


def _tell_margin(runs: int) -> Iterator[Goal]:
    for regime, (name, stages) in enumerate((("10/90", CANARY), ("50/50", HALF)), 30):
        moments = _draw(Crowd(stages=stages, effect=-0.05), runs, regime)
        guarded, primary = weigh_guardrail(THUMBS, moments), weigh_primary(THUMBS, moments)
        cleared = guarded.cleared(LEVEL).any(axis=1).mean()
        yield _at_most(f"thumbs 5 % down, at the margin, {name}, hourly: cleared", cleared, runs)
        missed = primary.misses(0.7 * -0.05).any(axis=1).mean()
        yield _at_most(f"thumbs 5 % down, {name}, hourly: interval misses the truth", missed, runs)
    crowd = Crowd(stages=CANARY, rate=0.008, effect=1.25, correlation=ERROR_CORRELATION, per_day=2.0)
    cleared = weigh_guardrail(ERRORS, _draw(crowd, runs, 32)).cleared(LEVEL).any(axis=1).mean()
    yield _at_most("errors 0.8 → 1.8 %, at the margin, 10/90, hourly: cleared", cleared, runs)
    for regime, share in enumerate((0.1, 0.5), 33):
        moments = _draw_latencies(runs, regime, slower=1.05, share=share, days=14, per_day=1.0)
        cleared = weigh_guardrail(LATENCY, moments).cleared(LEVEL).any(axis=1).mean()
        yield _at_most(f"p95 5 % up, at the margin, share {share:g}, daily: cleared", cleared, runs)


def _draw_latencies(
    runs: int, regime: int, *, slower: float, share: float, days: int, per_day: float
) -> NDArray[np.float64]:
    generators = (np.random.default_rng([SEED, regime, run]) for run in range(runs))
    given = {"slower": slower, "share": share, "days": days, "per_day": per_day}
    return np.stack([draw_latencies(generator, **given) for generator in generators])  # type: ignore[arg-type]


def _tell_harm(runs: int) -> Iterator[Goal]:
    moments = _draw_latencies(runs, 40, slower=1.2, share=0.1, days=5, per_day=REQUESTS)
    harmed = weigh_guardrail(LATENCY, moments).harmed(LEVEL)
    yield _at_least("p95 20 % up, 10 % canary, 5 days: harm", harmed.any(axis=1).mean(), runs, 0.99)
    first = np.where(harmed.any(axis=1), harmed.argmax(axis=1) + 1, 99)
    yield Goal("p95 20 % up, 10 % canary: median day of harm", float(np.median(first)), 3.0, at_most=True)
    crowd = Crowd(
        days=5, stages=CANARY, rate=0.008, effect=0.03 / 0.008 - 1, correlation=ERROR_CORRELATION, per_day=REQUESTS
    )
    harmed = weigh_guardrail(ERRORS, _draw(crowd, runs, 41)).harmed(LEVEL)
    yield _at_least("errors 0.8 → 3 %, 10 % canary, by day 5: harm", harmed.any(axis=1).mean(), runs, 0.99)
    crowd = Crowd(days=4, stages=CANARY, effect=-0.1, per_day=VOTES)
    worse = weigh_primary(THUMBS, _draw(crowd, runs, 42)).worse()
    yield _at_least("thumbs 10 % down, 10 % canary, by day 4: worse", worse.any(axis=1).mean(), runs, 0.95)


def _tell_healthy(runs: int) -> Goal:
    many = max(50, runs // 2)
    days = 10  # of the fourteen that it may take: what clears by then clears in time
    latency = weigh_guardrail(
        LATENCY, _draw_latencies(many, 50, slower=1.0, share=0.5, days=days, per_day=REQUESTS)
    ).cleared(LEVEL)
    thumbs = weigh_guardrail(THUMBS, _draw(Crowd(days=days, per_day=VOTES), many, 51)).cleared(LEVEL)
    crowd = Crowd(days=days, rate=0.008, correlation=ERROR_CORRELATION, per_day=REQUESTS / 2)  # half the evidence
    errors = weigh_guardrail(ERRORS, _draw(crowd, many, 52)).cleared(LEVEL)
    together = (latency & thumbs[:, DAILY] & errors[:, DAILY]).any(axis=1)
    return _at_least("healthy release, 50/50: all three cleared at one look by day 10", together.mean(), many, 0.9)


if __name__ == "__main__":
    runs = {"runs": {"type": int, "help": "experiments a regime (1,000; with --quick 100)"}}
    sys.exit(report(measure, __doc__ or "", runs))
