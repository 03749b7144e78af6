"""The simulator: what it computes for many runs at once is what `analyse` says of each."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration.__main__ import judge
from benchmarks.calibration.adaptive import Policy, add_up_weighted, play
from benchmarks.calibration.crowd import Crowd, Events, add_up, draw_events, sum_users
from benchmarks.calibration.latencies import draw_latencies
from benchmarks.calibration.looks import (
    LEVEL,
    Primaries,
    are_called_apart_by_t_test,
    find_better,
    pool_stages,
    weigh_guardrail,
    weigh_primary,
)
from benchmarks.calibration.ramp import RAMP, draw_ramps, weigh_ramp
from benchmarks.calibration.regimes import REGIMES, Bound
from flytewheel.experiment.analysis.adaptive import weigh_users
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.records import Design, Finding, PastLook
from flytewheel.experiment.metrics import StageCounts, find_metric

THUMBS = replace(find_metric("thumbs_up_rate"), relative_margin=0.05)
PRIMARY = replace(THUMBS, role="primary")
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
            assert first.log_e_harm == pytest.approx(primary.log_e_worse[0, hour], rel=1e-9)
            assert first.interval[1] - first.interval[0] == pytest.approx(2 * primary.half[0, hour], rel=1e-9)
        assert (first.outcome == "worse") == bool(primary.worse()[0, hour])
        assert (guarded.held[0, hour] < 0) == (second.log_e_harm is not None)
        if second.log_e_harm is not None:
            assert second.log_e_harm == pytest.approx(guarded.log_e_harm[0, hour], rel=1e-9)
            assert second.log_e_cleared == pytest.approx(guarded.log_e_cleared[0, hour], rel=1e-9)
        outcome = "harm" if guarded.harmed(LEVEL)[0, hour] else "cleared" if guarded.cleared(LEVEL)[0, hour] else "hold"
        assert second.outcome == outcome
    called = bool(find_better(primary, range(23, crowd.hours, 24), crowd.days)[0])
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
    assert find_better(weigh_primary(THUMBS, add_up(events, crowd)[None]), range(23, crowd.hours, 24), crowd.days).all()


def test_moments_are_those_of_users() -> None:
    crowd = Crowd(users=200, days=4, per_day=2.0, stages=((0, 0.2), (1, 0.5)), drift=0.3)
    events = draw_events(crowd, np.random.default_rng(3))
    moments = add_up(events, crowd)
    for hour, stage in ((10, 0), (23, 0), (24, 1), (95, 1)):
        for place, sums in enumerate(sum_users(events, crowd, hour=hour, stage=stage).values()):
            x, n = sums.numerators, sums.denominators
            assert moments[:, hour, place] == pytest.approx([sums.users, x.sum(), n.sum(), x @ x, x @ n, n @ n])


@pytest.mark.parametrize("seed", range(2))
def test_all_hours_of_a_ramp_at_once_say_what_analyse_says_of_its_stages(seed: int) -> None:
    crowd = replace(RAMP, users=1500, drift=0.4)
    events = draw_events(crowd, np.random.default_rng(seed))
    found = weigh_ramp(THUMBS, draw_ramps(crowd, [np.random.default_rng(seed)]), crowd)
    told = 0
    for hour in (3, 20, 50, 95, 96, 97, 100, 150, 191, 192, 195, 250, 335):
        stage = int(np.searchsorted(crowd.ends, hour, side="right"))
        counts = [_count(events, crowd, crowd.hours, earlier) for earlier in range(stage)]
        [one] = analyse(Design((PRIMARY,), looks=3), [*counts, _count(events, crowd, hour, stage)], look=0).findings
        told += one.interval is not None
        _equal(one, found, hour)
    assert told >= 9


def _count(events: Events, crowd: Crowd, hour: int, stage: int) -> StageCounts:
    return StageCounts({}, {THUMBS.name: sum_users(events, crowd, hour=hour, stage=stage)}, shares=EVEN)


def _equal(one: Finding, found: Primaries, hour: int) -> None:
    assert bool(found.told[0, hour]) == (one.interval is not None)
    if one.interval is not None:
        half = (one.interval[1] - one.interval[0]) / 2
        assert one.standard_error is not None
        assert [one.difference, one.standard_error**2, one.log_e_harm, half] == pytest.approx(
            [each[0, hour] for each in (found.difference, found.variance, found.log_e_worse, found.half)], rel=1e-9
        )


@pytest.mark.parametrize("policy", ["thompson", "epsilon_greedy", "linucb"])
def test_all_hours_of_an_allocation_that_learns_say_what_analyse_says_of_weighed_users(policy: Policy) -> None:
    crowd = Crowd(users=800, days=4, per_day=2.0, effect=-0.2)
    [played] = play(policy, crowd, [np.random.default_rng(6)])
    moments = add_up_weighted(played, crowd)[None]
    found, guarded = weigh_primary(THUMBS, moments), weigh_guardrail(THUMBS, moments)
    weights = weigh_users(played.propensities)
    design = Design((PRIMARY, replace(THUMBS, role="guardrail")))
    for hour in (5, 23, 60, 95):
        arms = sum_users(played.events, crowd, hour=hour, stage=0)
        sums = {arm: replace(each, weights=weights[each.keys]) for arm, each in arms.items()}
        first, second = analyse(design, [StageCounts({}, {THUMBS.name: sums}, shares=EVEN)], look=0).findings
        _equal(first, found, hour)
        assert (guarded.held[0, hour] < 0) == (second.log_e_harm is not None)
        if second.log_e_harm is not None:
            assert second.log_e_harm == pytest.approx(guarded.log_e_harm[0, hour], rel=1e-9)
            assert second.log_e_cleared == pytest.approx(guarded.log_e_cleared[0, hour], rel=1e-9)
    assert found.told[0, 95]
    treated = played.events.treated
    assert treated[played.events.hour > 72].mean() < 0.35  # what earns a fifth less is given less


def test_weights_make_up_for_what_an_allocation_learnt() -> None:
    """LinUCB sends the better topic to either arm by luck: the plain difference errs, the weighed one does not."""
    crowd = Crowd(users=1200, days=5, per_day=2.0)
    played = play("linucb", crowd, [np.random.default_rng([7, run]) for run in range(60)])
    z = []
    for moments in ([add_up(one.events, crowd) for one in played], [add_up_weighted(one, crowd) for one in played]):
        found = weigh_primary(THUMBS, np.stack(moments))
        z.append(found.difference[:, -1] / np.sqrt(found.variance[:, -1]))
    assert (np.abs(z[0]) > 1.96).mean() > 0.3
    assert (np.abs(z[1]) > 1.96).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 60)


def test_latencies_are_counted_beyond_the_controls_frozen_quantile() -> None:
    crowd = Crowd(users=20_000, days=1, per_day=6.0)
    events = draw_latencies(crowd, np.random.default_rng(4), slower=1.3)
    early = ~events.treated & (events.hour == 0)
    assert events.good[early].sum() == pytest.approx(0.05 * early.sum(), abs=1)
    shares = [events.good[events.treated == arm].mean() for arm in (False, True)]
    assert shares[0] == pytest.approx(0.05, abs=0.01)  # some 2,500 answers of the first hour
    # log 1.3/1.05 over σ = 0.5 moves Φ(−1.645) = 0.05 to Φ(−1.218) = 0.112
    assert shares[1] / shares[0] == pytest.approx(0.112 / 0.05, rel=0.12)
    few = Crowd(users=200, days=3, per_day=2.0)
    slow = draw_latencies(few, np.random.default_rng(5), slower=1.0)
    assert slow.good.mean() == pytest.approx(0.05, abs=0.025)  # 200 answers of 50 users take more than an hour


def test_what_is_pooled_over_stages_adds_up() -> None:
    crowd = Crowd(users=300, days=3, per_day=2.0, stages=((0, 0.2), (1, 0.5), (2, 0.9)))
    events = draw_events(crowd, np.random.default_rng(8))
    pooled = pool_stages(add_up(events, crowd)[None], crowd.ends)
    for hour in (5, 30, 71):
        for arm in (0, 1):
            mine = (events.hour <= hour) & (events.treated == arm)
            assert pooled[0, 1:3, hour, arm] == pytest.approx([events.good[mine].sum(), mine.sum()])


def test_the_simulator_bites_and_the_shipped_analysis_holds() -> None:
    crowd = Crowd(users=1000)
    moments = np.stack([add_up(draw_events(crowd, np.random.default_rng([1, run])), crowd) for run in range(150)])
    daily = slice(23, None, 24)
    assert are_called_apart_by_t_test(moments, daily).mean() > 0.25
    primary = weigh_primary(THUMBS, moments)
    apart = find_better(primary, range(23, crowd.hours, 24), crowd.days) | primary.worse().any(axis=1)
    assert apart.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_every_regime_says_what_its_bounds_ask_and_the_same_with_the_same_seed() -> None:
    first, again = (draw_ramps(RAMP, [np.random.default_rng(3)]).moments for _ in range(2))
    assert np.array_equal(first, again)
    for regime in REGIMES:
        runs = 2 if "50/50, correlation" in regime.name else 1
        told = regime.play([np.random.default_rng([2, run]) for run in range(runs)])
        for bound in regime.bounds:
            assert len(told[bound.told]) == runs
    names = " ".join(regime.name for regime in REGIMES)
    for asked in ("50/50", "10/90", "ramp", "correlation 0,", "heavy", "autocorr", "Thompson", "ε-greedy", "LinUCB"):
        assert asked.rstrip(",") in names
    bites = {regime.name for regime in REGIMES if any(bound.told == "naive" for bound in regime.bounds)}
    assert len(bites) == 7  # every regime of identical arms with correlation, fixed or given by Thompson sampling


def test_a_share_is_held_against_its_bound_and_slack() -> None:
    at_most, at_least = Bound("x", "x", 0.05), Bound("x", "x", 0.95, at_most=False)
    told = np.zeros(100)
    told[:11] = 1
    assert judge("r", at_most, told).holds  # 0.05 + 3·√(0.05·0.95/100) = 0.115
    told[11] = 1
    assert not judge("r", at_most, told).holds
    assert judge("r", at_least, 1 - told).bound == pytest.approx(0.95 - 0.0654, abs=1e-4)
    assert judge("r", Bound("x", "x", 3.0, median=True), np.array([1.0, 3.0, 99.0])).holds
