"""The log of one experiment as arrays: who was answered by which arm, with what probability, and what came of it.

A row is an answer. Its reward is in [-1, 1], and 0 where nobody said or did anything: so it is known of every answer,
and an arm that makes people speak up less is not flattered. The unit is the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of one experiment, in the order of time.

    `users` `(answers,)` numbers the users from 0, in the order in which they were first seen; `actions` `(answers,)`
    are places in `arms`; `propensities` `(answers,)` the logged probability of the action, NaN where there is none;
    `rewards` `(answers,)`; `topics` `(answers,)`, empty where there is none; `contexts` `(answers, d)`, the features.
    """

    arms: tuple[str, ...]
    users: NDArray[np.int64]
    actions: NDArray[np.int64]
    propensities: Floats
    rewards: Floats
    topics: Sequence[str]
    contexts: Floats

    def __len__(self) -> int:
        return len(self.users)

    @property
    def count_users(self) -> int:
        """How many users there are."""
        return len(np.unique(self.users))

    def pick(self, chosen: NDArray[np.bool_]) -> Answers:
        """Those answers of which `chosen` `(answers,)` is true."""
        topics = [topic for topic, kept in zip(self.topics, chosen, strict=True) if kept]
        return replace(
            self,
            users=self.users[chosen],
            actions=self.actions[chosen],
            propensities=self.propensities[chosen],
            rewards=self.rewards[chosen],
            topics=topics,
            contexts=self.contexts[chosen],
        )


def sum_by_user(users: NDArray[np.int64], values: Floats) -> Floats:
    """Sums of `values` `(answers,)` by user, `(users seen,)`."""
    _, places = np.unique(users, return_inverse=True)
    return np.asarray(np.bincount(places, weights=values), dtype=np.float64)
