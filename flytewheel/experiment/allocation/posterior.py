"""What the arms of one experiment earned so far: sums over users that add up, and that a later word takes back.

A user counts once, with the mean reward of all their rated answers so far, dated by the latest of these answers: one
who rates a hundred answers says no more about an arm than one who rates one, and nobody steers a bandit by voting often
(the unit is the user, DESIGN §7). An answer's reward is *set*, not added: said twice it counts once, and a corrected
vote takes its own first value back. What is kept of a user is replaced in the sums as a whole, so the order in which
rewards arrive, and through which process, changes nothing but rounding.

Sums stand by arm and hour. With a half-life an hour's sums weigh 2^(−age/half-life) (discounted Thompson sampling, Raj
and Kalyani 2017; discounted UCB, Garivier and Moulines 2011), without moving what was counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from flytewheel.experiment.allocation.design import Design
from flytewheel.experiment.allocation.features import count_dimensions
from flytewheel.experiment.allocation.policies import (
    RIDGE,
    Floats,
    bound_linucb,
    match_best,
    match_highest,
    mix_floor,
    score_greedy,
)

MOST_USERS = 200_000  # rated ones that are kept one by one, at 520 bytes; the means are known to 0.1 points by then


class Reward(NamedTuple):
    """One answer's reward as it stands now. `reward` is in [0, 1], None where all that was said is taken back; `hour`
    is the answer's, since 1970; `user` names the user in this experiment (`assign.draw_unit`).
    """

    user: float
    arm: str
    interaction_id: str
    reward: float | None
    hour: int


@dataclass(slots=True)
class _User:
    arm: int
    rewards: dict[str, float] = field(default_factory=dict)
    hour: int = 0
    counted: tuple[int, float] | None = None  # hour and mean that stand in the sums


@dataclass(slots=True)
class _Sums:
    """Of one arm and hour: users, Σr, and for contexts Σxxᵀ and Σxr."""

    users: float = 0.0
    rewards: float = 0.0
    moments: Floats | None = None
    products: Floats | None = None


class Policy(NamedTuple):
    """What new users are given by, of one state: by `probabilities`, or by context from `inverse` and `weights`."""

    probabilities: Floats | None
    inverse: Floats | None
    weights: Floats | None
    mixed: float

    def choose(self, context: Floats | None) -> Floats:
        """The probability of each arm for a new user, `(arms,)`; `context` is `(d,)`."""
        if self.probabilities is not None:
            return self.probabilities
        assert self.inverse is not None
        assert self.weights is not None
        assert context is not None, "a contextual policy needs a context"
        return mix_floor(match_highest(bound_linucb(self.inverse, self.weights, context)), self.mixed)


class Posterior:
    """The rewards of one experiment's arms."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self.changes = 0  # grows with every change
        self._arms = {arm: place for place, arm in enumerate(design.arms)}
        self._size = count_dimensions(design.features) if design.policy == "linucb" else 0
        self._users: dict[float, _User] = {}
        self._sums: dict[tuple[int, int], _Sums] = {}

    @property
    def users(self) -> int:
        """Users with a reward."""
        return len(self._users)

    def set_reward(self, said: Reward, context: Floats | None = None) -> bool:
        """Takes an answer's reward as it stands now; whether that changed anything.

        Args:
            said: the reward; one of an arm that the experiment does not have is passed over.
            context: the user's features when the arm was given, `(d,)`; for LinUCB only.
        """
        place = self._arms.get(said.arm)
        if place is None or (self._size and context is None):
            return False
        user = self._users.get(said.user)
        if user is None:
            if said.reward is None or len(self._users) >= MOST_USERS:
                return False
            user = self._users[said.user] = _User(place)
        if user.arm != place or user.rewards.get(said.interaction_id) == said.reward:
            return False
        if said.reward is None:
            del user.rewards[said.interaction_id]
        else:
            user.rewards[said.interaction_id] = said.reward
            user.hour = max(user.hour, said.hour)
        self._count(user, context)
        self.changes += 1
        return True

    def _count(self, user: _User, context: Floats | None) -> None:
        if user.counted is not None:
            self._add(user.arm, *user.counted, context, -1.0)
        user.counted = None
        if user.rewards:
            user.counted = (user.hour, sum(user.rewards.values()) / len(user.rewards))
            self._add(user.arm, *user.counted, context, 1.0)

    def _add(self, arm: int, hour: int, mean: float, context: Floats | None, sign: float) -> None:
        sums = self._sums.setdefault((arm, hour), _Sums())
        sums.users += sign
        sums.rewards += sign * mean
        if context is not None and self._size:
            if sums.moments is None or sums.products is None:
                sums.moments, sums.products = np.zeros((self._size, self._size)), np.zeros(self._size)
            sums.moments += sign * np.outer(context, context)
            sums.products += sign * mean * context

    def weigh(self, now_hour: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Users `(arms,)`, Σr `(arms,)`, Σxxᵀ `(arms, d, d)` and Σxr `(arms, d)`, each hour with its weight now."""
        arms, size, half = len(self.design.arms), self._size, self.design.half_life_hours
        users, rewards = np.zeros(arms), np.zeros(arms)
        moments, products = np.zeros((arms, size, size)), np.zeros((arms, size))
        for (arm, hour), sums in self._sums.items():
            weight = 1.0 if half is None else 0.5 ** (max(0.0, now_hour - hour) / half)
            users[arm] += weight * sums.users
            rewards[arm] += weight * sums.rewards
            if sums.moments is not None and sums.products is not None:
                moments[arm] += weight * sums.moments
                products[arm] += weight * sums.products
        return users, rewards, moments, products

    def make_policy(self, now_hour: float) -> Policy:
        """What new users are given by now; `now_hour` is hours since 1970."""
        users, rewards, moments, products = self.weigh(now_hour)
        design = self.design
        if design.policy == "linucb":
            inverse: Floats = np.asarray(np.linalg.inv(moments + RIDGE * np.eye(self._size)), dtype=np.float64)
            return Policy(None, inverse, np.einsum("kij,kj->ki", inverse, products), design.mixed)
        good, bad = np.maximum(rewards, 0.0), np.maximum(users - rewards, 0.0)  # rounding may leave −1e-16
        best = match_best(good, bad) if design.policy == "thompson" else match_highest(score_greedy(good, bad))
        return Policy(mix_floor(best, design.mixed), None, None, design.mixed)

    # -- what outlives the process

    def to_jsonable(self) -> list[dict[str, Any]]:
        """The sums, by arm and hour; users are not in them."""
        return [
            {
                "arm": self.design.arms[arm],
                "hour": hour,
                "users": sums.users,
                "rewards": sums.rewards,
                "moments": None if sums.moments is None else sums.moments.tolist(),
                "products": None if sums.products is None else sums.products.tolist(),
            }
            for (arm, hour), sums in sorted(self._sums.items())
            if sums.users > 0
        ]

    def take_sums(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds the sums of another posterior, with users that this one does not have: merging is adding.

        Raises:
            KeyError, TypeError, ValueError: the rows are not what `to_jsonable` gives for this design.
        """
        found = []
        for row in rows:
            users, rewards = float(row["users"]), float(row["rewards"])
            moments, products = row["moments"], row["products"]
            if not (np.isfinite(users) and np.isfinite(rewards)) or not -1e-9 <= rewards <= users + 1e-9:
                raise ValueError(f"sums of {users} users cannot be {rewards}")
            if self._size:
                moments = np.asarray(moments, float).reshape(self._size, self._size)
                products = np.asarray(products, float).reshape(self._size)
            found.append((self._arms[row["arm"]], int(row["hour"]), users, rewards, moments, products))
        for arm, hour, users, rewards, moments, products in found:
            sums = self._sums.setdefault((arm, hour), _Sums())
            sums.users += users
            sums.rewards += rewards
            if self._size:
                sums.moments = moments + (0.0 if sums.moments is None else sums.moments)
                sums.products = products + (0.0 if sums.products is None else sums.products)
        self.changes += 1
