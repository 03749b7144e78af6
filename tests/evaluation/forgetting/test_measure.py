"""What counts as forgotten."""

from __future__ import annotations

import math

import pytest

from flytewheel.evaluation.asking import Reply, Voice
from flytewheel.evaluation.forgetting.measure import ForgettingMeasure
from flytewheel.evaluation.measure import Compare, Examples, Heard, Measured
from flytewheel.evaluation.perplexity import Score
from flytewheel.records import Message, RegressionCase

COMPARE = Compare(samples=300, level=0.95, seed=1)
CASES = [
    RegressionCase(f"c{n}", "suite", "facts", (Message(role="user", content=f"{n}?"),), "contains", "yes")
    for n in range(20)
]


def say(passing: int, nats: float = -20.0, *, texts: int = 16) -> Voice:
    replies = tuple((Reply("yes" if n < passing else "no"),) for n in range(20))
    return Voice(replies, (Score(nats, 10),) * texts)


def measure(ours: Voice, theirs: Voice, bare: Voice, least: int = 10) -> Measured:
    return ForgettingMeasure(CASES, least).measure(Heard(Examples((), (), ()), ours, theirs, bare), COMPARE)


def test_only_what_the_base_passes_counts() -> None:
    """The base passes 12 of 20; of these the candidate fails 3 and the champion none; what it learnt is no matter."""
    found = measure(say(9), say(20), say(12))
    figure = found.metrics["forgetting_share"]
    assert (figure.candidate.estimate, figure.champion.estimate, figure.users) == (0.25, 0.0, 12)
    assert figure.candidate.low is not None
    assert figure.candidate.high is not None
    assert 0 <= figure.candidate.low < 0.25 < figure.candidate.high <= 1
    assert found.details["forgotten"] == ["c9", "c10", "c11"]
    assert found.details["forgotten_by_topic"] == {"facts": 3}
    assert len(found.answers) == 12


@pytest.mark.parametrize(("passed", "known"), [(0, False), (9, False), (10, True)])
def test_too_few_cases_are_unknown_with_the_reason(passed: int, known: bool) -> None:
    found = measure(say(0), say(passed), say(passed))
    assert found.metrics["forgetting_share"].candidate.known is known
    told = f"the bare base passes {passed} of 20 general cases and it takes 10"
    assert any(told in note for note in found.notes) is not known


def test_an_unasked_case_is_failed() -> None:
    ours = say(20)
    found = measure(Voice(((), *ours.replies[1:]), ours.scores), say(20), say(20))
    assert found.metrics["forgetting_share"].candidate.estimate == 1 / 20


def test_perplexity_is_a_multiple_of_the_bases() -> None:
    """Two nats a token under the base, three under the candidate: a ratio of e; the base itself has one."""
    found = measure(say(20, -30.0), say(20), say(20)).metrics["general_perplexity_ratio"]
    assert found.candidate.estimate == pytest.approx(math.e)
    assert (found.champion.estimate, found.rows) == (1.0, 16)
    assert not measure(say(20, math.nan), say(20), say(20)).metrics["general_perplexity_ratio"].candidate.known
