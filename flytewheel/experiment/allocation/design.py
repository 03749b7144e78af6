"""Decides how an experiment gives its new users to arms, as its body says it (the recipe's `ab_testing`).

| allocation | a new user meets | probability of arm k |
|---|---|---|
| `fixed` | the arm of the sticky draw (`assign`) | the share |
| `epsilon_greedy` | mostly the arm that earned most | ε/K, and 1 − ε more for the best |
| `thompson` | an arm as often as it is credibly the best | P(arm k is best), Beta posteriors |
| `linucb` | mostly the arm that could earn most for such a user | as ε-greedy, by context |

Each mixes with an even split so that no arm falls below `floor`: an arm that is never met can never be judged again,
and an estimate from the log needs every propensity bounded away from zero. Users who have an arm keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flytewheel.errors import ExperimentError

Policy = Literal["epsilon_greedy", "thompson", "linucb"]
Feature = Literal["topic", "prompt_length", "recent_reward"]

FEATURES: tuple[Feature, ...] = get_args(Feature)
FLOOR = 0.1


@dataclass(frozen=True, slots=True)
class Design:
    """How new users are given to `arms` (names, in the order of every vector of probabilities).

    `exploration`, in [0, 1], is ε; `floor` the least probability of each arm; a reward's weight halves every
    `half_life_hours` (None: never). `features` are those that LinUCB looks at.
    """

    policy: Policy
    arms: tuple[str, ...]
    exploration: float = 0.1
    floor: float = FLOOR
    half_life_hours: float | None = None
    features: tuple[Feature, ...] = FEATURES

    @property
    def mixed(self) -> float:
        """The probability of every arm that is not the policy's own choice."""
        if self.policy == "thompson":
            return self.floor
        return min(1 / len(self.arms), max(self.floor, self.exploration / len(self.arms)))


def read_design(body: Mapping[str, Any], arms: tuple[str, ...] = ("control", "treatment")) -> Design | None:
    """The design that an experiment's body asks for; None for a fixed split.

    Raises:
        ExperimentError: it asks for one that cannot be.
    """
    policy = body.get("allocation", "fixed")
    if policy == "fixed":
        if len(arms) > 2:
            raise ExperimentError(f"{len(arms)} arms need an allocation: expected one of {', '.join(get_args(Policy))}")
        return None
    if policy not in get_args(Policy):
        raise ExperimentError(f"allocation {policy!r}: expected fixed, {', '.join(get_args(Policy))}")
    exploration = _read_number(body, "exploration", 0.1)
    floor = _read_number(body, "arm_floor", FLOOR)
    half_life = body.get("reward_half_life_hours")
    if not 0 <= exploration <= 1:
        raise ExperimentError(f"exploration {exploration}: expected a share in [0, 1]")
    if not 0 < floor <= 1 / len(arms):
        raise ExperimentError(f"arm_floor {floor} with {len(arms)} arms: expected more than 0, at most 1/{len(arms)}")
    if half_life is not None and _read_number(body, "reward_half_life_hours", 1.0) <= 0:
        raise ExperimentError(f"reward_half_life_hours {half_life}: expected more than 0, or null for never")
    features = tuple(body.get("context_features", FEATURES))
    if unknown := set(features) - set(FEATURES):
        raise ExperimentError(f"context_features {sorted(unknown)}: expected some of {', '.join(FEATURES)}")
    if policy == "linucb" and not features:
        raise ExperimentError("allocation linucb without context_features: name one, or take 'thompson'")
    return Design(policy, arms, exploration, floor, None if half_life is None else float(half_life), features)


def _read_number(body: Mapping[str, Any], name: str, default: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ExperimentError(f"{name} {value!r}: expected a number")
    return float(value)
