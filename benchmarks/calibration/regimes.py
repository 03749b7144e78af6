"""The regimes: what is drawn in each, what is told of every run, and what share of the runs may be told so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.calibration.adaptive import Policy, add_up_weighted, play
from benchmarks.calibration.crowd import Bools, Crowd, Floats, add_up, draw_events
from benchmarks.calibration.latencies import draw_latencies
from benchmarks.calibration.looks import (
    ALPHA,
    LEVEL,
    Primaries,
    are_called_apart_by_t_test,
    find_better,
    misses_guardrail,
    pool_stages,
    weigh_guardrail,
    weigh_primary,
)
from benchmarks.calibration.ramp import RAMP, draw_ramps, weigh_ramp
from flytewheel.experiment.metrics import find_metric

THUMBS = replace(find_metric("thumbs_up_rate"), relative_margin=0.05)
ERRORS = replace(find_metric("error_rate"), absolute_margin=0.01)
LATENCY = replace(find_metric("latency_p95"), relative_margin=0.05)
CANARY = ((0, 0.1),)
VOTES, REQUESTS = 2.0, 6.0  # a user and day
ERROR_CORRELATION = 0.02
TRAFFIC = f"{REQUESTS:.0f} requests, {VOTES:.0f} ratings a user and day"

Generators = list[np.random.Generator]
Told = Mapping[str, Floats | Bools]  # of each run, by what is told


@dataclass(frozen=True, slots=True)
class Bound:
    """`share` of the runs, at most or at least; of a `median` the figure itself, without slack."""

    told: str
    text: str
    share: float
    at_most: bool = True
    median: bool = False


@dataclass(frozen=True, slots=True)
class Regime:
    """`play` draws one run a generator, and tells of each what `bounds` ask."""

    name: str
    play: Callable[[Generators], Told]
    bounds: Sequence[Bound]


# ------------------------------------------------------------------------------------------------------ identical arms

_SAME = (
    Bound("daily", "daily: decided", 0.05),
    Bound("hourly", "hourly: decided", 0.05),
    Bound("missed_daily", "daily: interval misses", 0.05),
    Bound("missed", "hourly: interval misses", 0.05),
    Bound("harmed", "hourly: guardrail calls harm", 0.05),
)
_BITES = Bound("naive", "a t-test on every response, daily", 0.30, at_most=False)


def _list_same() -> list[Regime]:
    crowds = {
        "50/50, correlation 0.2": Crowd(),
        "10/90": Crowd(stages=CANARY),
        "correlation 0": Crowd(correlation=0.0),
        "correlation 0.5": Crowd(correlation=0.5),
        "heavy-tailed usage": Crowd(usage=1.5),
        "autocorrelated users": Crowd(mood=1.0),
    }
    plain = [
        Regime(f"A/A, {name}", partial(_tell_same, crowd), (*_SAME, _BITES) if crowd.correlation else _SAME)
        for name, crowd in crowds.items()
    ]
    policies: dict[str, Policy] = {
        "Thompson allocation": "thompson",
        "ε-greedy allocation": "epsilon_greedy",
        "LinUCB allocation": "linucb",
    }
    learning = [
        Regime(
            f"A/A, {name}",
            partial(_tell_adaptive, policy, JOINING),
            (*_SAME, _BITES) if policy == "thompson" else _SAME,
        )
        for name, policy in policies.items()
    ]
    return [*plain, Regime("A/A, ramp with drifting baseline", _tell_ramp, (*_SAME, _BITES)), *learning]


def _tell_same(crowd: Crowd, generators: Generators) -> Told:
    moments = _draw(crowd, generators)
    guarded = weigh_guardrail(THUMBS, moments).harmed(LEVEL).any(axis=1)
    naive = are_called_apart_by_t_test(moments, DAILY)
    return {**_tell(crowd, weigh_primary(THUMBS, moments), _days(crowd)), "harmed": guarded, "naive": naive}


def _tell_ramp(generators: Generators) -> Told:
    sums = draw_ramps(RAMP, generators)
    guarded = weigh_guardrail(THUMBS, sums.moments).harmed(LEVEL).any(axis=1)
    naive = are_called_apart_by_t_test(pool_stages(sums.moments, RAMP.ends), DAILY)
    ends = [end - 1 for end in RAMP.ends]
    return {**_tell(RAMP, weigh_ramp(THUMBS, sums, RAMP), ends), "harmed": guarded, "naive": naive}


def _tell_adaptive(policy: Policy, crowd: Crowd, generators: Generators) -> Told:
    played = play(policy, crowd, generators)
    moments = np.stack([add_up_weighted(one, crowd) for one in played])
    guarded = weigh_guardrail(THUMBS, moments)
    primary = weigh_primary(THUMBS, moments)
    naive = are_called_apart_by_t_test(np.stack([add_up(one.events, crowd) for one in played]), DAILY)
    return {
        **_tell(crowd, primary, _days(crowd)),
        "harmed": guarded.harmed(LEVEL).any(axis=1),
        "cleared": guarded.cleared(LEVEL).any(axis=1),
        "naive": naive,
    }


def _tell(crowd: Crowd, primary: Primaries, planned: Sequence[int]) -> Told:
    """Better at a planned look, or worse at any; and whether an interval ever missed the truth."""
    better, worse = find_better(primary, planned, len(planned)), primary.worse()
    missed = primary.misses(crowd.rate * crowd.effect)
    return {
        "better": better,
        "worse": worse.any(axis=1),
        "daily": better | worse[:, DAILY].any(axis=1),
        "hourly": better | worse.any(axis=1),
        "missed_daily": missed[:, DAILY].any(axis=1),
        "missed": missed.any(axis=1),
    }


# ---------------------------------------------------------------------------------------------------------- the margin

_CLEARED = Bound("cleared", "hourly: cleared", 0.05)
_MISSED = Bound("missed", "hourly: interval misses the truth", 0.05)


def _list_margin() -> list[Regime]:
    errors = Crowd(stages=CANARY, rate=0.008, effect=1.25, correlation=ERROR_CORRELATION, per_day=2.0)
    found = [
        Regime(f"thumbs 5 % down, at the margin, {name}", partial(_tell_thumbs, crowd), (_CLEARED, _MISSED))
        for name, crowd in (("10/90", Crowd(stages=CANARY, effect=-0.05)), ("50/50", Crowd(effect=-0.05)))
    ]
    found.append(Regime("errors 0.8 → 1.8 %, at the margin, 10/90", partial(_tell_errors, errors), (_CLEARED, _MISSED)))
    found += [
        Regime(
            f"p95 5 % up, at the margin, {name}",
            partial(_tell_latency, Crowd(stages=((0, share),), per_day=1.0), 1.05),
            (_CLEARED, _MISSED),
        )
        for name, share in (("10/90", 0.1), ("50/50", 0.5))
    ]
    found.append(
        Regime(
            "thumbs 5 % down, at the margin, Thompson allocation",
            partial(_tell_adaptive, "thompson", replace(JOINING, effect=-0.05)),
            (_CLEARED, _MISSED),
        )
    )
    return found


def _tell_thumbs(crowd: Crowd, generators: Generators) -> Told:
    moments = _draw(crowd, generators)
    primary, guarded = weigh_primary(THUMBS, moments), weigh_guardrail(THUMBS, moments)
    return {
        "worse": primary.worse().any(axis=1),
        "missed": primary.misses(crowd.rate * crowd.effect).any(axis=1),
        "harmed": guarded.harmed(LEVEL).any(axis=1),
        "cleared": guarded.cleared(LEVEL).any(axis=1),
    }


def _tell_errors(crowd: Crowd, generators: Generators) -> Told:
    moments = _draw(crowd, generators)
    guarded = weigh_guardrail(ERRORS, moments)
    return {
        "missed": misses_guardrail(ERRORS, moments, crowd.rate * crowd.effect).any(axis=1),
        "harmed": guarded.harmed(LEVEL).any(axis=1),
        "cleared": guarded.cleared(LEVEL).any(axis=1),
        "worse": weigh_primary(ERRORS, moments).worse(ALPHA / 2).any(axis=1),  # by Holm, one of two
    }


def _tell_latency(crowd: Crowd, slower: float, generators: Generators) -> Told:
    moments = np.stack([add_up(draw_latencies(crowd, each, slower=slower), crowd) for each in generators])
    guarded = weigh_guardrail(LATENCY, moments)
    harmed = guarded.harmed(LEVEL)
    return {
        "missed": misses_guardrail(LATENCY, moments, 0.0).any(axis=1),  # the truth at the margin, and only there
        "harmed": harmed.any(axis=1),
        "cleared": guarded.cleared(LEVEL).any(axis=1),
        "day": np.where(harmed.any(axis=1), harmed.argmax(axis=1) // 24 + 1.0, 99.0),
    }


# ---------------------------------------------------------------------------------------------------- harm, and health


def _list_harm() -> list[Regime]:
    latency = Crowd(days=5, stages=CANARY, per_day=REQUESTS)
    errors = Crowd(
        days=5, stages=CANARY, rate=0.008, effect=0.03 / 0.008 - 1, correlation=ERROR_CORRELATION, per_day=REQUESTS
    )
    thumbs = Crowd(days=4, stages=CANARY, effect=-0.1, per_day=VOTES)
    canary = f"10 % canary, {TRAFFIC}"
    return [
        Regime(
            f"p95 20 % up, {canary}, 5 days",
            partial(_tell_latency, latency, 1.2),
            (
                Bound("harmed", "harm", 0.99, at_most=False),
                Bound("day", "median day of harm", 3.0, median=True),
            ),
        ),
        Regime(
            f"errors 0.8 → 3 %, correlation {ERROR_CORRELATION}, {canary}, by day 5",
            partial(_tell_errors, errors),
            (Bound("harmed", "harm", 0.99, at_most=False), _MISSED),
        ),
        Regime(
            f"errors 0.8 → 3 %, correlation 0.2, a primary beside thumbs, {canary}, by day 5",
            partial(_tell_errors, replace(errors, correlation=0.2)),
            (Bound("worse", "worse", 0.99, at_most=False), _MISSED),
        ),
        Regime(
            f"thumbs 10 % down, {canary}, by day 4",
            partial(_tell_thumbs, thumbs),
            (Bound("worse", "worse", 0.95, at_most=False), _MISSED),
        ),
        Regime(
            "thumbs 15 % down, Thompson allocation, 14 days",
            partial(_tell_adaptive, "thompson", replace(JOINING, effect=-0.15)),
            (Bound("harmed", "harm", 0.95, at_most=False), _MISSED),
        ),
        Regime(
            f"healthy release, 50/50, {TRAFFIC}, within 14 days",
            _tell_healthy,
            (Bound("cleared", "thumbs, errors and p95 cleared at one hourly look", 0.90, at_most=False),),
        ),
    ]


def _tell_healthy(generators: Generators) -> Told:
    answered = Crowd(per_day=REQUESTS)
    slow = np.stack([add_up(draw_latencies(answered, each, slower=1.0), answered) for each in generators])
    cleared = weigh_guardrail(LATENCY, slow).cleared(LEVEL)
    cleared &= weigh_guardrail(THUMBS, _draw(Crowd(per_day=VOTES), generators)).cleared(LEVEL)
    errors = replace(answered, rate=0.008, correlation=ERROR_CORRELATION)
    cleared &= weigh_guardrail(ERRORS, _draw(errors, generators)).cleared(LEVEL)
    return {"cleared": cleared.any(axis=1)}


def _draw(crowd: Crowd, generators: Generators) -> Floats:
    """Moments of many experiments, `(runs, 6, hours, 2)`."""
    return np.stack([add_up(draw_events(crowd, generator), crowd) for generator in generators])


def _days(crowd: Crowd) -> list[int]:
    return list(range(23, crowd.hours, 24))


DAILY = slice(23, None, 24)
JOINING = Crowd(per_day=1.0)
REGIMES = (*_list_same(), *_list_margin(), *_list_harm())
