"""Twenty ways of having no data that can be relied on: none of them advances anything."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.decision import Verdict, decide, list_rules
from flytewheel.experiment.guardrails import make_design
from flytewheel.experiment.metrics import StageCounts, UserSums
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Guardrail, MetricSpec
from flytewheel.records import to_jsonable

METRICS = ("thumbs_up_rate", "error_rate")
SPEC = AbTestingSpec(
    guardrails=[
        Guardrail(metric="thumbs_up_rate", relative_margin=0.2),
        Guardrail(metric="error_rate", absolute_margin=0.05),
    ]
)
EVEN = {"control": 0.5, "treatment": 0.5}
Change = Callable[[StageCounts], StageCounts]


def arm(metric: str, *, users: int = 400, first: int = 0) -> UserSums:
    generator = np.random.default_rng(len(metric))
    n = np.full(users, 10.0)
    rate = 0.7 if metric == "thumbs_up_rate" else 0.01
    return UserSums(generator.binomial(10, rate, users).astype(float), n, keys=np.arange(first, first + users))


def healthy() -> StageCounts:
    sums = {metric: {"control": arm(metric), "treatment": arm(metric, first=1000)} for metric in METRICS}
    return StageCounts({"control": 400, "treatment": 400}, sums, shares=EVEN)


def look(stages: list[StageCounts], *, spec: AbTestingSpec = SPEC, **evidence: Any) -> Verdict:
    """What a tick would decide with its dwell long over and nobody asked: it advances whatever is cleared."""
    analysis = analyse(make_design(spec), stages, look=1)
    given = {
        "users": analysis.users,
        "sample_ratios": analysis.sample_ratios,
        "guardrails": analysis.of("guardrail"),
        "primaries": analysis.of("primary"),
        "stage_hours": 1000.0,
        "age_hours": 1000.0,
        "newest_hours": 0.1,
        "approved": True,
        "rules": list_rules(spec, AutomationSpec(auto_rollout=True), next_share=0.5),
    }
    stored = json.loads(json.dumps(to_jsonable(given | evidence)))
    return decide(stored)


def change(name: str, arms: tuple[str, ...] = ("treatment",), **fields: Any) -> Change:
    """Changes the sums of one metric in these arms; a function is given the sums."""

    def apply(stage: StageCounts) -> StageCounts:
        sums = {metric: dict(by_arm) for metric, by_arm in stage.sums.items()}
        for each in arms:
            told = {field: made(sums[name][each]) if callable(made) else made for field, made in fields.items()}
            sums[name][each] = replace(sums[name][each], **told)
        return replace(stage, sums=sums)

    return apply


def keep(users: int, arms: tuple[str, ...] = ("control", "treatment")) -> Change:
    """Leaves the first users of these arms, in every metric."""

    def apply(stage: StageCounts) -> StageCounts:
        sums = {
            metric: {
                name: UserSums(each.numerators[:users], each.denominators[:users]) if name in arms else each
                for name, each in by_arm.items()
            }
            for metric, by_arm in stage.sums.items()
        }
        return StageCounts({name: users if name in arms else 400 for name in stage.users}, sums, shares=stage.shares)

    return apply


def fill(value: float) -> Callable[[UserSums], np.ndarray[Any, Any]]:
    return lambda sums: np.full(sums.users, value)


def put(value: float, field: str) -> Callable[[UserSums], np.ndarray[Any, Any]]:
    def make(sums: UserSums) -> np.ndarray[Any, Any]:
        changed: np.ndarray[Any, Any] = getattr(sums, field).copy()
        changed[0] = value
        return changed

    return make


def drop(stage: StageCounts) -> StageCounts:
    return replace(stage, sums={"thumbs_up_rate": stage.sums["thumbs_up_rate"]})


def only_before(stage: StageCounts) -> StageCounts:
    """The treatment's users were all there before the experiment, and none since."""
    sums = {metric: dict(by_arm) for metric, by_arm in stage.sums.items()}
    for by_arm in sums.values():
        old, nobody = by_arm["treatment"], np.empty(0)
        by_arm["treatment"] = UserSums(nobody, nobody, before=UserSums(old.numerators, old.denominators))
    return replace(stage, sums=sums, users={"control": 400, "treatment": 0}, shares={})


CASES: dict[str, Change] = {
    "nobody at all": keep(0),
    "an empty treatment": keep(0, ("treatment",)),
    "an empty control": keep(0, ("control",)),
    "a metric that is missing": drop,
    "one user an arm": keep(1),
    "one user in the treatment": keep(1, ("treatment",)),
    "fewer users than the burn-in": keep(49),
    "zero denominators": change("thumbs_up_rate", ("control", "treatment"), denominators=fill(0.0)),
    "a zero denominator in one arm": change("thumbs_up_rate", denominators=fill(0.0)),
    "NaN in a numerator": change("error_rate", numerators=put(math.nan, "numerators")),
    "NaN in a denominator": change("error_rate", denominators=put(math.nan, "denominators")),
    "an infinite numerator": change("error_rate", numerators=put(math.inf, "numerators")),
    "an infinite denominator": change("error_rate", denominators=put(math.inf, "denominators")),
    "a negative denominator": change("error_rate", denominators=put(-1.0, "denominators")),
    "a rate below zero": change("error_rate", ("control", "treatment"), numerators=fill(-1.0)),
    "a rate above one": change("error_rate", ("control", "treatment"), numerators=fill(20.0)),
    "a treatment below zero": change("error_rate", numerators=fill(-1.0)),
    "a treatment above one": change("thumbs_up_rate", numerators=fill(11.0)),
    "one user above one": change("thumbs_up_rate", numerators=put(11.0, "numerators")),
    "nobody ever liked anything": change("thumbs_up_rate", ("control", "treatment"), numerators=fill(0.0)),
    "every request failed": change("error_rate", ("control", "treatment"), numerators=fill(10.0)),
    "a user who counts twice": change("error_rate", keys=put(1001, "keys")),
    "the treatment only before its exposure": only_before,
}


def test_without_a_fault_the_same_data_advance() -> None:
    assert look([healthy()]) == ("advance", ("all guardrails cleared, the stage's time is over",))


@pytest.mark.parametrize("name", CASES)
def test_no_data_never_advances(name: str) -> None:
    verdict = look([CASES[name](healthy())])
    assert verdict.decision in ("hold", "reject_at_max_duration", "stop_for_srm"), verdict
    young = look([CASES[name](healthy())], age_hours=30.0)
    assert young.decision in ("hold", "stop_for_srm"), young
    assert young.reasons


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ({"newest_hours": 25.0}, "stale: nothing was stored for more than 24 hours"),
        ({"newest_hours": -3.0}, "the newest interaction lies in the future: the clocks disagree"),
        ({"users": {"control": 400, "treatment": 0}}, "no users in treatment"),
    ],
    ids=["stale", "clocks that disagree", "an arm that nobody met"],
)
def test_what_is_counted_may_not_be_relied_on(evidence: dict[str, Any], reason: str) -> None:
    assert look([healthy()], **evidence) == ("hold", (reason,))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_splits_nobody_never_advances(share: float) -> None:
    stage = keep(0, ("treatment",) if share == 0 else ("control",))(healthy())
    verdict = look([replace(stage, shares={"control": 1 - share, "treatment": share})])
    assert verdict.decision == "hold"


def test_an_earlier_stage_that_was_cleared_does_not_clear_an_empty_one() -> None:
    assert look([healthy(), keep(0)(healthy())]).decision == "hold"
    assert look([keep(0)(healthy()), healthy()]).decision == "advance"  # an empty first stage takes nothing away


def test_when_every_user_is_capped_the_rates_still_count_and_nothing_else() -> None:
    spec = AbTestingSpec(
        guardrails=[], metrics=[MetricSpec(name="error_rate", role="guardrail", absolute_margin=0.05, cap=0.51)]
    )
    heavy = change("error_rate", ("control", "treatment"), numerators=fill(1.0), denominators=fill(1.0))
    verdict = look([heavy(healthy())], spec=spec)
    assert verdict.decision == "reject_at_max_duration"
    assert look([heavy(healthy())], spec=spec, age_hours=30.0).decision == "hold"
