"""What a rule finds in a figure: contradictions, bounds, counts, and how many users would tell."""

from __future__ import annotations

import math
from typing import Any

import pytest

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.report import Evaluation
from flytewheel.evaluation.rules import least_users, users_to_tell
from flytewheel.recipe import GateSpec
from flytewheel.records import Decision, Interval
from tests.evaluation.verdicts import HOLD, NOTHING, PROMOTE, REJECT, compare, judge


@pytest.mark.parametrize(
    ("count", "decision", "words"),
    [
        (0, PROMOTE, "for: regressions 0; at most 0 was asked"),
        (1, REJECT, "against: regressions 1; at most 0 was asked"),
        (None, HOLD, "cannot tell: regressions is unknown, at most 0 was asked; it takes regression cases"),
        (math.nan, HOLD, "cannot tell: regressions is unknown"),
        (-math.inf, HOLD, "cannot tell: regressions is unknown"),
        (-1, HOLD, "cannot tell: regressions -1 is no count, at most 0 was asked"),
    ],
)
def test_a_count(count: float | None, decision: Decision, words: str) -> None:
    gate = GateSpec.model_validate({**NOTHING, "regressions": {"max": 0}})
    verdict = decide(Evaluation({}, {"regressions": count}), gate)
    assert verdict.decision is decision
    assert verdict.reasons[0].startswith(words)


def test_what_a_count_cannot_be_asked_for_holds() -> None:
    """A figure that a measure gives as a count, though the recipe takes it for a rate."""
    gate = GateSpec.model_validate({**NOTHING, "rouge_l": {"improve": True, "max": 3}})
    verdict = decide(Evaluation({}, {"rouge_l": 1}), gate)
    assert verdict.decision is HOLD
    assert verdict.reasons == (
        "cannot tell: rouge_l is a count, which can be asked for max and min, not for improve; correct gate.rouge_l",
        "for: rouge_l 1; at most 3 was asked",
    )


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (Interval(0.3, 0.4, 0.2), "its interval [0.4, 0.2] ends before it begins"),
        (Interval(0.3, 0.1, 0.2), "0.3 lies outside its interval [0.1, 0.2]"),
        (Interval(0.3, 0.2, 0.4, 1.0), "has an interval at level 1.0, which says nothing"),
        (Interval(0.3, 0.2, 0.4, math.nan), "has an interval at level nan"),
        (Interval(0.3, 0.2, 0.4, 0.5), "has an interval at level 0.5"),
        (Interval(0.3, 0.2, math.inf), "is missing or not a finite number"),
    ],
)
@pytest.mark.parametrize("asked", [{"improve": True}, {"max_worsening": 1.0}, {"min_lower_bound": 0.1}, {"max": 1}])
def test_an_interval_that_contradicts_itself_holds(span: Interval, words: str, asked: dict[str, Any]) -> None:
    found = Comparison(span, Interval(0.1, 0.0, 0.2), span, 99, 30)
    verdict = decide(Evaluation({"bleu": found}), GateSpec.model_validate({**NOTHING, "bleu": asked}))
    assert verdict.decision is HOLD
    assert words in verdict.reasons[0]
    assert "99 rows of 30 users" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("users", "low", "high", "decision", "words"),
    [
        (30, 0.51, 0.7, PROMOTE, "at 95% over 99 rows of 30 users; above 0.5 was asked"),
        (30, 0.5, 0.7, HOLD, "not clear of 0.5, above 0.5 was asked; collect more: at this spread about 31 users"),
        (30, 0.4, 0.7, HOLD, "collect more: at this spread about 120 users would tell"),
        (5, 0.51, 0.7, HOLD, "above 0.5 was asked; 5 users are too few to claim it, it takes 6: collect more"),
        (30, 0.3, 0.49, REJECT, "it had to be above 0.5"),
    ],
)
def test_a_bound_of_the_candidates_own_interval(
    users: int, low: float, high: float, decision: Decision, words: str
) -> None:
    """0.6 with 0.4 at the far end and 0.5 to be clear of: half as far takes four times the users, 30 · 4 = 120."""
    spread = Interval(min(0.6, high), low, high)
    found = Comparison(spread, Interval(0.5, 0.5, 0.5), spread, 99, users)
    gate = GateSpec.model_validate({**NOTHING, "bleu": {"min_lower_bound": 0.5}})
    verdict = decide(Evaluation({"bleu": found}), gate)
    assert verdict.decision is decision
    assert words in verdict.reasons[0]


def test_how_many_users_would_tell_by_hand() -> None:
    """An interval shrinks with one over the root: reach 0.3, distance 0.1, 20 users: 20 · 3² = 180."""
    assert users_to_tell(20, Interval(0.1, -0.2, 0.4), 0.0) == 180
    assert users_to_tell(20, Interval(-0.1, -0.3, 0.2), 0.0) == 180  # would tell, against it
    assert users_to_tell(20, Interval(0.0, -0.2, 0.2), 0.0) is None
    held = judge(("bleu",), bleu=compare(0.7, 0.6, -0.2, 0.4, users=20))
    assert held.reasons[0].endswith("collect more: at this spread about 180 users would tell")
    far = judge(("bleu",), bleu=compare(0.6 + 1e-9, 0.6, -0.2, 0.4, users=20))
    assert far.reasons[0].endswith("it would take more than 10,000,000 users to tell")


def test_least_users_by_hand() -> None:
    """2 * 2**-5 = 0.0625 > 0.05 >= 2 * 2**-6; at 90 %: 2 * 2**-5 <= 0.1."""
    assert [least_users(level) for level in (0.9, 0.95, 0.99)] == [5, 6, 8]
