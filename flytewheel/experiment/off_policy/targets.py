"""Decides what a policy in question would have done with each answer of a log.

| said | policy |
|---|---|
| `treatment` | everybody meets this arm (or version) |
| `control=0.5,treatment=0.5` | a fixed split; shares add up to 1 |
| `topic:billing=treatment,*=control` | by the topic of the question; `*` is every other one |
| `linucb` | what LinUCB learns from the first half of the users, asked about the second |

A learnt policy is never asked about the users it learnt from: it would praise itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.policies import match_highest, mix_floor, score_linucb
from flytewheel.experiment.off_policy.answers import Answers, Floats

LEARNT = "linucb"


def apply_policy(
    said: str, answers: Answers, versions: Mapping[str, str], *, floor: float = 0.1
) -> tuple[Answers, Floats]:
    """The answers that a policy can be asked about, and its probabilities of each arm, `(answers, arms)`.

    Args:
        said: the policy, as in the table above.
        answers: the log.
        versions: the version of each arm, by which an arm may be called too.
        floor: of a learnt policy's probabilities.

    Raises:
        ExperimentError: it says no policy, or names an arm that the log does not have.
    """
    if said == LEARNT:
        return _learn(answers, floor)
    names = {version: arm for arm, version in versions.items()} | {arm: arm for arm in answers.arms}
    if said.startswith("topic:"):
        return answers, _route(said.removeprefix("topic:"), answers, names)
    shares = np.zeros(len(answers.arms))
    if "=" not in said:
        shares[_find(said, answers, names)] = 1.0
    for part in said.split(",") if "=" in said else ():
        arm, _, share = part.rpartition("=")
        shares[_find(arm, answers, names)] = _read_share(share, said)
    if not math.isclose(shares.sum(), 1.0, abs_tol=1e-9):
        raise ExperimentError(f"policy {said!r}: expected shares that add up to 1, got {shares.sum():g}")
    return answers, np.tile(shares, (len(answers), 1))


def _route(said: str, answers: Answers, names: Mapping[str, str]) -> Floats:
    routes: dict[str, int] = {}
    for part in said.split(","):
        topic, equals, arm = part.rpartition("=")
        if not equals or not topic:
            raise ExperimentError(f"policy 'topic:{said}': expected TOPIC=ARM,…,*=ARM, got {part!r}")
        routes[topic.strip()] = _find(arm, answers, names)
    missing = sorted({topic for topic in answers.topics if topic not in routes})
    if missing and "*" not in routes:
        raise ExperimentError(f"policy 'topic:{said}': says nothing of {missing[0]!r}; add *=ARM for all other topics")
    target = np.zeros((len(answers), len(answers.arms)))
    for row, topic in enumerate(answers.topics):
        target[row, routes.get(topic, routes.get("*", 0))] = 1.0
    return target


def _learn(answers: Answers, floor: float) -> tuple[Answers, Floats]:
    _, places = np.unique(answers.users, return_inverse=True)
    early = places < (places.max(initial=-1) + 1) // 2
    first, second = answers.pick(early), answers.pick(~early)
    arms, size = len(answers.arms), answers.contexts.shape[1]
    moments, products = np.zeros((arms, size, size)), np.zeros((arms, size))
    for arm in range(arms):
        contexts = first.contexts[first.actions == arm]
        moments[arm] = contexts.T @ contexts
        products[arm] = contexts.T @ ((1 + first.rewards[first.actions == arm]) / 2)
    target = np.zeros((len(second), arms))
    served = np.flatnonzero(np.bincount(first.actions, minlength=arms))  # of no other arm anything was learnt
    if len(second) and len(served):
        scores = score_linucb(moments[served], products[served], second.contexts)
        target[:, served] = mix_floor(match_highest(scores), min(floor, 1 / len(served)))
    return second, target


def _find(name: str, answers: Answers, names: Mapping[str, str]) -> int:
    arm = names.get(name.strip())
    if arm is None:
        known = ", ".join(answers.arms)
        raise ExperimentError(
            f"policy: no arm or version {name.strip()!r} in this log, so nothing can be told of it; it has {known}"
        )
    return answers.arms.index(arm)


def _read_share(text: str, said: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ExperimentError(f"policy {said!r}: expected a share in [0, 1], got {text.strip()!r}")
    return share
