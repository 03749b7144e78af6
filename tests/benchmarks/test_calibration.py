"""The simulator: what it computes for many runs at once is what `analyse` says of each."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration import scalar
from benchmarks.calibration.crowd import Crowd, add_up, draw_events, sum_users
from benchmarks.calibration.latencies import draw_latencies
from benchmarks.calibration.looks import (
    LEVEL,
    are_better,
    are_called_apart_by_t_test,
    weigh_guardrail,
    weigh_primary,
)
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.records import Design, PastLook
from flytewheel.experiment.metrics import StageCounts, find_metric

THUMBS = replace(find_metric("thumbs_up_rate"), relative_margin=0.05)
CROWDS = [
    Crowd(users=600, days=4, effect=-0.1, stages=((0, 0.3),), per_day=1.5),
    Crowd(users=900, days=3, usage=1.2, mood=0.5, effect=0.15),
    Crowd(users=300, days=2, rate=0.95),
]
EVEN = {"control": 0.5, "treatment": 0.5}


@pytest.mark.parametrize("number", range(3))
def test_all_hours_at_once_say_what_analyse_says_at_each(number: int) -> None:
    crowd = CROWDS[number]
    events = draw_events(crowd, np.random.default_rng(number))
    moments = add_up(events, crowd)[None]
    guarded, primary = weigh_guardrail(THUMBS, moments), weigh_primary(THUMBS, moments)
    design = Design((replace(THUMBS, role="primary"), replace(THUMBS, role="guardrail")), looks=crowd.days)
    history: tuple[PastLook, ...] = ()
    for hour in (0, 5, *range(23, crowd.hours, 24)):
        look = (hour + 1) // 24 if (hour + 1) % 24 == 0 else 0
        stage = StageCounts({}, {THUMBS.name: sum_users(events, crowd, hour=hour, stage=0)}, shares=EVEN)
        first, second = analyse(design, [stage], look=look, history=history).findings
        history += analyse(design, [stage], look=look, history=history).to_history()
        assert bool(primary.told[0, hour]) == (first.interval is not None)
        if first.interval is not None:
            assert first.difference == pytest.approx(primary.difference[0, hour], rel=1e-9)
            assert first.log_e_harm == pytest.approx(primary.log_e_worse[0, hour], rel=1e-7)
            assert first.interval[1] - first.interval[0] == pytest.approx(2 * primary.half[0, hour], rel=1e-9)
        assert (first.outcome == "worse") == bool(primary.worse()[0, hour])
        assert (guarded.held[0, hour] < 0) == (second.log_e_harm is not None)
        if second.log_e_harm is not None:
            assert second.log_e_harm == pytest.approx(guarded.log_e_harm[0, hour], rel=1e-7)
            assert second.log_e_cleared == pytest.approx(guarded.log_e_cleared[0, hour], rel=1e-7)
        outcome = "harm" if guarded.harmed(LEVEL)[0, hour] else "cleared" if guarded.cleared(LEVEL)[0, hour] else "hold"
        assert second.outcome == outcome
    called = bool(are_better(primary, slice(23, None, 24), crowd.days)[0])
    assert called == (first.outcome == "better") or first.outcome == "worse"


def test_what_is_better_at_a_planned_look_is_called_so_by_both() -> None:
    crowd = replace(CROWDS[1], effect=0.25, usage=0.0, mood=0.0)
    events = draw_events(crowd, np.random.default_rng(1))
    design = Design((replace(THUMBS, role="primary"),), looks=crowd.days)
    history: tuple[PastLook, ...] = ()
    outcomes = []
    for look in range(1, crowd.days + 1):
        sums = sum_users(events, crowd, hour=24 * look - 1, stage=0)
        found = analyse(design, [StageCounts({}, {THUMBS.name: sums}, shares=EVEN)], look=look, history=history)
        history += found.to_history()
        outcomes.append(found.findings[0].outcome)
    assert outcomes[-1] == "better"
    assert are_better(weigh_primary(THUMBS, add_up(events, crowd)[None]), slice(23, None, 24), crowd.days).all()


def test_moments_are_those_of_users() -> None:
    crowd = Crowd(users=200, days=4, per_day=2.0, stages=((0, 0.2), (1, 0.5)), drift=0.3)
    events = draw_events(crowd, np.random.default_rng(3))
    moments = add_up(events, crowd)
    for hour, stage in ((10, 0), (23, 0), (24, 1), (95, 1)):
        for place, sums in enumerate(sum_users(events, crowd, hour=hour, stage=stage).values()):
            x, n = sums.numerators, sums.denominators
            assert moments[:, hour, place] == pytest.approx([sums.users, x.sum(), n.sum(), x @ x, x @ n, n @ n])


def test_latencies_are_counted_beyond_the_controls_quantile() -> None:
    moments = draw_latencies(np.random.default_rng(4), slower=1.3, share=0.5, days=2, per_day=5.0, users=2000)
    slow, timed = moments[1, -1], moments[2, -1]
    assert slow[0] == pytest.approx(0.05 * timed[0], abs=1.5)
    # log 1.3/1.05 over σ = 0.5 moves Φ(−1.645) = 0.05 to Φ(−1.218) = 0.112
    assert slow[1] / timed[1] == pytest.approx(0.112, abs=0.01)
    assert moments[0, -1].sum() == pytest.approx(2000, abs=5)


def test_the_simulator_bites_and_the_shipped_analysis_holds() -> None:
    crowd = Crowd(users=1000)
    moments = np.stack([add_up(draw_events(crowd, np.random.default_rng([1, run])), crowd) for run in range(150)])
    daily = slice(23, None, 24)
    assert are_called_apart_by_t_test(moments, daily).mean() > 0.25
    primary = weigh_primary(THUMBS, moments)
    apart = are_better(primary, daily, crowd.days) | primary.worse().any(axis=1)
    assert apart.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_ramps_and_thompson_run_through_analyse() -> None:
    called = [scalar.ramp(np.random.default_rng([2, run]), every_hours=56) for run in range(5)]
    called += [scalar.thompson(np.random.default_rng([3, run])) for run in range(5)]
    assert sum(one.apart for one in called) <= 2
