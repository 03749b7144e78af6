"""A look at an experiment: roles, stages, several arms and primaries, routers, what planned looks leave behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flytewheel.experiment.analysis.look import REPEATED, analyse
from flytewheel.experiment.analysis.records import Design, PastLook
from flytewheel.experiment.metrics import Metric, StageCounts, UserSums, find_metric

THUMBS = replace(find_metric("thumbs_up_rate"), relative_margin=0.05)
PRIMARY, GUARDRAIL, WATCH = (replace(THUMBS, role=role) for role in ("primary", "guardrail", "watch"))
EVEN = {"control": 0.5, "treatment": 0.5}


def arm(rate: float, users: int = 500, *, seed: int = 1, first: int = 0, votes: int = 10) -> UserSums:
    generator = np.random.default_rng(seed)
    own = generator.beta(4 * rate, 4 * (1 - rate), users)
    x = generator.binomial(votes, own).astype(float)
    return UserSums(x, np.full(users, float(votes)), keys=np.arange(first, first + users))


def stage(*, shares: dict[str, float] | None = None, name: str = THUMBS.name, **arms: UserSums) -> StageCounts:
    return StageCounts({key: sums.users for key, sums in arms.items()}, {name: arms}, shares=shares or EVEN)


def test_each_role_says_its_own_and_has_an_interval() -> None:
    found = analyse(
        Design((PRIMARY, GUARDRAIL, WATCH), looks=2),
        [stage(control=arm(0.7), treatment=arm(0.5, seed=2, first=1000))],
        look=1,
    )
    assert [one.outcome for one in found.findings] == ["worse", "harm", "watch"]
    for one in found.findings:
        assert one.interval is not None
        assert one.interval[0] < (one.difference or 0) < one.interval[1] < 0
        assert one.strata == 1


def test_better_is_for_planned_looks_and_stays_when_it_was_crossed() -> None:
    design = Design((PRIMARY,), looks=2)
    good, even = (
        stage(control=arm(0.5), treatment=arm(0.8, seed=2)),
        stage(control=arm(0.5), treatment=arm(0.5, seed=3)),
    )
    between = analyse(design, [good], look=0)
    assert (between.findings[0].outcome, between.findings[0].reason) == ("hold", "between the planned looks")
    assert between.to_history() == ()
    first = analyse(design, [good], look=1)
    assert first.findings[0].outcome == "better"
    assert first.findings[0].boundary == pytest.approx(2.9626, abs=1e-3)  # half of the looks, one side of 5 %
    for look in (0, 2):
        later = analyse(design, [even], look=look, history=first.to_history())
        assert later.findings[0].outcome == "better"


def test_worse_has_half_of_alpha() -> None:
    found = []
    for loss in np.linspace(0.0, 0.1, 26):
        counts = stage(control=arm(0.7), treatment=arm(0.7 - loss, seed=2))
        found.append(analyse(Design((PRIMARY,)), [counts], look=0).findings[0])
    log_e = [one.log_e_harm or 0.0 for one in found]
    assert any(np.log(20) < one < np.log(40) for one in log_e)
    assert [one.outcome == "worse" for one in found] == [one >= np.log(40) for one in log_e]


def test_information_may_be_the_clock() -> None:
    design = Design((PRIMARY,), looks=3, planned_information={THUMBS.name: 1e9})
    good = stage(control=arm(0.5), treatment=arm(0.6, seed=2))
    assert analyse(design, [good], look=1).findings[0].outcome == "hold"  # hardly any of the plan, hardly any α
    assert analyse(design, [good], look=3).findings[0].outcome == "better"  # the last look has all of it


def test_a_primary_goes_over_stages_and_a_guardrail_over_the_present_one() -> None:
    design = Design((PRIMARY, GUARDRAIL))
    bad, even = (stage(control=arm(0.7, first=0), treatment=arm(rate, seed=2, first=1000)) for rate in (0.4, 0.7))
    found = analyse(design, [bad, even], look=0)
    assert (found.findings[0].strata, found.findings[0].outcome) == (2, "worse")
    assert found.findings[1].outcome != "harm"
    alone = analyse(design, [even], look=0)
    assert replace(found.findings[1], reason="") == replace(alone.findings[1], reason="")


def test_a_stage_with_few_users_is_left_out_by_size() -> None:
    small = stage(control=arm(0.7, 30), treatment=arm(0.1, 30, first=1000))
    even = stage(control=arm(0.7), treatment=arm(0.7, seed=2, first=1000))
    found = analyse(Design((PRIMARY,)), [small, even], look=0).findings[0]
    assert found.strata == 1
    assert found.difference == analyse(Design((PRIMARY,)), [even], look=0).findings[0].difference


def test_who_stays_from_stage_to_stage_is_counted_as_one_user() -> None:
    one = stage(control=arm(0.7, seed=1), treatment=arm(0.7, seed=2, first=1000))
    alone = analyse(Design((PRIMARY,)), [one], look=0).findings[0]
    twice = analyse(Design((PRIMARY,)), [one, one], look=0).findings[0]
    assert twice.standard_error == pytest.approx(alone.standard_error, rel=2e-3)  # the same people say nothing new
    others = stage(control=arm(0.7, seed=1, first=5000), treatment=arm(0.7, seed=2, first=6000))
    apart = analyse(Design((PRIMARY,)), [one, others], look=0).findings[0]
    assert apart.standard_error == pytest.approx((alone.standard_error or 0) / 2**0.5, rel=2e-3)


def test_several_treatments_share_alpha_and_each_has_its_finding() -> None:
    thirds = {"control": 0.4, "a": 0.3, "b": 0.3}
    counts = stage(shares=thirds, control=arm(0.5, 400), a=arm(0.5, 300, seed=2), b=arm(0.9, 300, seed=3))
    found = analyse(Design((PRIMARY,)), [counts], look=1)
    assert [(one.arm, one.outcome) for one in found.findings] == [("a", "hold"), ("b", "better")]
    assert found.findings[1].boundary == pytest.approx(2.2414, abs=1e-3)  # α/2 an arm, a side of it: z of 1.25 %
    assert not found.mismatch


def test_two_primaries_are_told_by_holm() -> None:
    other = Metric("other", "ups", "votes", "lower", role="primary")
    sums = {THUMBS.name: {"control": arm(0.5), "treatment": arm(0.8, seed=2)}}
    sums["other"] = {"control": arm(0.5), "treatment": arm(0.5, seed=4)}
    counts = StageCounts({"control": 500, "treatment": 500}, sums, shares=EVEN)
    first, second = analyse(Design((PRIMARY, other)), [counts], look=1).findings
    assert (first.outcome, second.outcome) == ("better", "hold")
    assert second.boundary == pytest.approx(1.96, abs=1e-3)  # all of α is left for it


def test_each_router_is_held_against_the_shares() -> None:
    counts = stage(control=arm(0.7), treatment=arm(0.7, seed=2))
    routers = {"r1": {"control": 100, "treatment": 300}, "r2": {"control": 400, "treatment": 200}}
    found = analyse(Design((GUARDRAIL,)), [counts], look=0, routers=routers)
    assert [(one.router, one.mismatch) for one in found.sample_ratios] == [(None, False), ("r1", True), ("r2", True)]
    assert found.mismatch


def test_arms_drawn_anew_for_every_request_have_no_users_to_compare() -> None:
    counts = replace(stage(control=arm(0.7, 900), treatment=arm(0.7, 100)), shares={"control": None, "treatment": None})
    found = analyse(Design((GUARDRAIL,)), [counts], look=0)
    assert (found.sample_ratios[0].log_e, found.mismatch) == (None, False)


def test_a_heavy_user_is_capped_and_it_is_said() -> None:
    heavy = arm(0.7)
    heavy.numerators[0], heavy.denominators[0] = 5000.0, 5000.0
    counts = stage(control=arm(0.7, seed=2), treatment=heavy)
    plain, capped = (analyse(Design((replace(WATCH, cap=cap),)), [counts], look=0).findings[0] for cap in (None, 0.99))
    assert (plain.cap, plain.capped_users) == (None, 0)
    assert (capped.cap, capped.capped_users) == (10.0, 1)
    assert (capped.standard_error or 0) < 0.5 * (plain.standard_error or 0)


def test_a_user_who_counts_twice_is_no_data() -> None:
    twice = replace(arm(0.7), keys=np.zeros(500, dtype=int))
    found = analyse(Design((GUARDRAIL,)), [stage(control=arm(0.7), treatment=twice)], look=0).findings[0]
    assert (found.outcome, found.reason) == ("hold", REPEATED)


def test_a_metric_that_is_no_share_has_no_floor_from_a_rate() -> None:
    tokens = replace(find_metric("tokens_per_answer"), role="guardrail", relative_margin=0.1)
    generator = np.random.default_rng(6)
    arms = {name: UserSums(generator.gamma(20, 10, 400) * 5, np.full(400, 5.0)) for name in ("control", "treatment")}
    found = analyse(Design((tokens,)), [stage(name=tokens.name, **arms)], look=0).findings[0]
    assert (found.outcome, found.expected_events) == ("cleared", None)


def test_the_history_of_another_metric_is_not_mine() -> None:
    crossed = PastLook(1, "other", "treatment", 1000.0, 9.0)
    counts = stage(control=arm(0.7), treatment=arm(0.7, seed=2))
    assert analyse(Design((PRIMARY,), looks=2), [counts], look=0, history=[crossed]).findings[0].outcome == "hold"
