"""Which questions a log can answer, and the one sentence by which the others are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flytewheel.errors import ExperimentError
from flytewheel.experiment.off_policy.answers import Answers
from flytewheel.experiment.off_policy.question import ask
from flytewheel.experiment.off_policy.targets import apply_policy

ARMS = ("control", "treatment", "third")
VERSIONS = {"control": "v1", "treatment": "v2", "third": "v3"}


def log(users: int = 1_000, *, topics: tuple[str, ...] = ("billing", "code"), share: float = 0.3) -> Answers:
    """Billing earns 0.5 with the control and 0 with the treatment, code the other way round; nobody met the third."""
    chance = np.random.default_rng(4)
    topic = chance.integers(0, len(topics), users)
    arms = (chance.random(users) < share).astype(np.int64)
    return Answers(
        ARMS,
        np.arange(users),
        arms,
        np.where(arms == 1, share, 1 - share),
        np.where(topic == arms, 0.5, 0.0) + chance.normal(0, 0.2, users),
        [topics[each] for each in topic],
        np.column_stack([np.ones(users), topic == 0, topic == 1]),
    )


def question(answers: Answers, policy: str, **more: Any) -> Any:
    return ask(policy, *apply_policy(policy, answers, VERSIONS), **more)


def test_routing_by_topic_is_known_to_earn_what_it_would() -> None:
    found = question(log(), "topic:billing=control,*=v2")
    assert found.refusal is None
    assert [each.method for each in found.estimates] == ["IPS", "SNIPS", "DR"]
    for each in found.estimates:
        assert each.interval[0] < 0.5 < each.interval[1]
    assert found.difference.interval[0] > 0
    assert 400 < found.effective_users < 700


def test_a_split_and_everybody() -> None:
    even = question(log(), "control=0.5,treatment=0.5")
    assert even.estimates[2].value == pytest.approx(0.25, abs=0.05)
    everybody = question(log(), "treatment")
    assert everybody.effective_users == pytest.approx(300, abs=40)


def test_a_learnt_policy_is_asked_about_other_users() -> None:
    found = question(log(), "linucb")
    assert (found.users, found.refusal) == (500, None)
    assert found.estimates[2].interval[0] < 0.9 * 0.5 < found.estimates[2].interval[1]
    assert found.difference.interval[0] > 0


@pytest.mark.parametrize(
    ("change", "policy", "said"),
    [
        ({}, "third", "arm 'third' was never served"),
        ({}, "topic:billing=third,*=control", "arm 'third' was never served"),
        ({"propensities": np.where(np.arange(1_000) < 3, np.nan, 0.5)}, "treatment", "3 of 1,000 answers"),
        ({"propensities": np.where(np.arange(1_000) < 3, 0.0, 0.5)}, "treatment", "3 of 1,000 answers"),
        ({"propensities": np.full(1_000, 1.5)}, "treatment", "damaged"),
        ({"rewards": np.full(1_000, np.nan)}, "treatment", "damaged"),
        ({"propensities": np.full(1_000, 0.5)}, "treatment", "the weights are"),
        ({"users": np.arange(1_000) % 40}, "treatment", "as 37 users would, and 100 are needed"),
    ],
)  # fmt: skip
def test_what_the_log_does_not_hold_is_refused_in_one_sentence(change: dict[str, Any], policy: str, said: str) -> None:
    found = question(replace(log(), **change), policy)
    assert found.refusal is not None
    assert said in found.refusal
    assert "\n" not in found.refusal
    assert (found.estimates, found.difference) == ((), None)


def test_a_topic_without_the_arm_is_refused_although_the_log_has_both() -> None:
    answers = log()
    code = np.array([topic == "code" for topic in answers.topics])
    treated = answers.pick(~code | (answers.actions == 0))
    found = question(treated, "topic:code=treatment,*=control")
    assert "never served on topic 'code'" in str(found.refusal)


def test_no_answers_at_all() -> None:
    assert "no answers" in str(question(log(0), "treatment").refusal)
    assert "no answers" in str(question(log(0), "linucb").refusal)


def test_what_is_no_policy_is_said() -> None:
    for policy, said in (
        ("v9", "no arm or version 'v9'"),
        ("control=0.5,treatment=0.6", "add up to 1, got 1.1"),
        ("control=x", "expected a share"),
        ("control=nan,treatment=1", "expected a share"),
        ("topic:billing=treatment", r"says nothing of 'code'"),
        ("topic:billing", "expected TOPIC=ARM"),
        ("", "no arm or version ''"),
    ):
        with pytest.raises(ExperimentError, match=said):
            apply_policy(policy, log(), VERSIONS)
