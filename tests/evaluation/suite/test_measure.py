"""The suite's figures, from answers made here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.asking import Reply, Voice
from flytewheel.evaluation.measure import Compare, Examples, Heard, Measured
from flytewheel.evaluation.suite.measure import SuiteMeasure, assign_units, choose_cases
from flytewheel.records import Message, RegressionCase

COMPARE = Compare(200, 0.95, 7)
NOTHING = Examples((), (), ())


def case(number: int, *, user: str = "suite", samples: int = 1, **fields: Any) -> RegressionCase:
    """Answers with "yes" pass."""
    return RegressionCase(
        f"c{number:03d}", user, "ops", (Message(role="user", content=f"q{number}"),), "contains", "yes",
        samples=samples, temperature=1.0 if samples > 1 else 0.0, **fields,
    )  # fmt: skip


def speak(cases: list[RegressionCase], passed: list[int]) -> Voice:
    return Voice(
        tuple(
            tuple(Reply("yes" if sample < count else "no") for sample in range(one.samples))
            for one, count in zip(cases, passed, strict=True)
        )
    )


def measure(suite: SuiteMeasure, cases: list[RegressionCase], ours: list[int], theirs: list[int]) -> Measured:
    voices = [speak(cases, passed) for passed in (ours, theirs)]
    return suite.measure(Heard(NOTHING, *voices, Voice()), COMPARE)


def test_a_greedy_case_that_is_lost_is_a_regression() -> None:
    cases = [case(0), case(1), case(2), case(3)]
    found = measure(SuiteMeasure(cases), cases, [0, 1, 1, 0], [1, 0, 1, 0])
    assert found.counts == {"regressions": 1}
    assert (found.details["newly_failing"], found.details["newly_passing"]) == (["c000"], ["c001"])
    rate = found.metrics["regression_pass_rate"]
    assert (rate.candidate.estimate, rate.champion.estimate, rate.rows) == (0.5, 0.5, 4)
    assert set(found.metrics) == {"regression_pass_rate"}, "no prompt that was trained on"
    told = found.details["cases"][0]
    assert (told["outcome"], told["champion"], told["passed"], told["samples"]) == ("fails", "passes", 0, 1)


def test_every_case_is_asked_as_it_wants() -> None:
    asked = SuiteMeasure([case(0), replace(case(1, samples=5), temperature=0.7)]).asks()
    assert [(ask.samples, ask.temperature) for ask in asked] == [(1, 0.0), (5, 0.7)]


@pytest.mark.parametrize(
    ("ours", "theirs", "least", "regressions"),
    [
        (7, 10, 0.8, 0),  # a flaky day
        (1, 10, 0.8, 1),
        (5, 10, 0.8, 1),  # p = 0.01
        (0, 3, 0.8, 0),  # the champion failed before
        (0, 10, 0.3, 1),
        (10, 1, 0.8, 0),
    ],
)
def test_a_sampled_case_is_lost_when_chance_does_not_explain_it(
    ours: int, theirs: int, least: float, regressions: int
) -> None:
    cases = [case(0, samples=10, min_pass_rate=least)]
    found = measure(SuiteMeasure(cases), cases, [ours], [theirs])
    assert found.counts["regressions"] == regressions
    assert found.details["newly_passing"] == (["c000"] if ours > theirs else [])
    low, high = found.details["cases"][0]["bounds"]
    assert low <= ours / 10 <= high


def test_the_same_loss_among_many_cases_may_be_chance() -> None:
    alone, many = [case(0, samples=10)], [case(n, samples=10) for n in range(200)]
    assert measure(SuiteMeasure(alone), alone, [5], [10]).counts["regressions"] == 1
    assert measure(SuiteMeasure(many), many, [5] + [10] * 199, [10] * 200).counts["regressions"] == 0
    assert measure(SuiteMeasure(many), many, [1] + [10] * 199, [10] * 200).counts["regressions"] == 1


def test_the_rate_is_the_mean_of_shares() -> None:
    cases = [case(0, samples=10), case(1)]
    found = measure(SuiteMeasure(cases), cases, [7, 1], [10, 0])
    rate = found.metrics["regression_pass_rate"]
    assert (rate.candidate.estimate, rate.champion.estimate) == (pytest.approx(0.85), 0.5)


def test_muted_cases_are_told_and_count_nowhere() -> None:
    cases = [case(0), case(1), case(2)]
    suite = SuiteMeasure(cases, mutes={"c000": "flaky data (until 2026-12-01)", "gone": "no case"})
    found = measure(suite, cases, [0, 1, 1], [1, 1, 1])
    assert found.counts["regressions"] == 0
    assert found.details["muted_regressions"] == ["c000"]
    assert found.details["muted"] == [{"id": "c000", "reason": "flaky data (until 2026-12-01)"}]
    assert (found.details["asked"], found.details["counted"]) == (3, 2)
    assert found.metrics["regression_pass_rate"].candidate.estimate == 1.0
    assert found.notes == ("muted: regression case c000 fails now; flaky data (until 2026-12-01)",)
    everything = SuiteMeasure(cases, mutes=dict.fromkeys(("c000", "c001", "c002"), "why"))
    assert not measure(everything, cases, [0, 0, 0], [1, 1, 1]).metrics["regression_pass_rate"].candidate.known


def test_what_must_not_be_forgotten_has_a_rate_of_its_own() -> None:
    held, kept = [case(0, user="ann"), case(1, user="bob")], [case(2, user="eve"), case(3, user="joe")]
    found = measure(SuiteMeasure(held, kept), held + kept, [1, 1, 0, 1], [1, 1, 1, 1])
    assert found.metrics["regression_pass_rate"].candidate.estimate == 1.0
    assert found.metrics["kept_corrections_rate"].candidate.estimate == 0.5
    assert found.details["newly_failing"] == ["c002"], "it counts among the regressions all the same"
    assert found.counts["regressions"] == 1


def test_a_prompt_that_does_not_fit_fails() -> None:
    cases = [case(0), case(1, samples=5)]
    heard = Heard(NOTHING, Voice(((), ())), speak(cases, [1, 5]), Voice())
    found = SuiteMeasure(cases).measure(heard, COMPARE)
    assert found.counts["regressions"] == 2
    assert [one["samples"] for one in found.details["cases"]] == [1, 5]


def test_a_pattern_that_hangs_fails_and_is_named() -> None:
    slow = replace(case(0), check="regex", expected="(a|aa)+$")
    heard = Heard(NOTHING, Voice(((Reply("a" * 100 + "b"),),)), Voice(((Reply("aa"),),)), Voice())
    found = SuiteMeasure([slow]).measure(heard, COMPARE)
    assert found.details["newly_failing"] == ["c000"]
    assert "took too long, and count as failed: c000" in found.notes[0]


def test_of_too_many_the_hand_written_and_those_of_rollbacks_are_asked() -> None:
    cases = [case(n, origin="correction") for n in range(50)]
    cases += [case(100 + n, origin="rollback") for n in range(3)] + [case(200 + n) for n in range(4)]
    chosen = choose_cases(cases, 10)
    assert len(chosen) == 10
    assert {one.id for one in cases if one.origin != "correction"} < chosen
    assert choose_cases(list(reversed(cases)), 10) == chosen, "the same ones every time"
    assert choose_cases(cases, 2) == {one.id for one in cases if one.origin == "written"}
    suite = SuiteMeasure(cases, limit=10)
    asked = [one for one in cases if one.id in chosen]
    found = measure(suite, asked, [1] * 10, [1] * 10)
    assert found.details["left_out"] == 47
    assert "47 of 57 regression cases were not asked" in found.notes[0]


def test_a_faulty_case_is_told_at_once() -> None:
    with pytest.raises(EvaluationError, match=r"^regression case 'c000': 'a\(' is not a regular expression"):
        SuiteMeasure([], [replace(case(0), check="regex", expected="a(")])


def test_units_are_users_and_hand_written_cases_stand_alone() -> None:
    cases = [case(1), case(2), case(3, user="ann")]
    assert assign_units(cases) == ["case:c001", "case:c002", "user:ann"]
    assert assign_units([case(n, user="ann") for n in (1, 2)]) == ["case:c001", "case:c002"]
    assert assign_units([]) == []
