"""Arms that are given by what they earned: new users every hour, whose arm follows from all rewards until then.

Users join over the whole time, so that allocation goes on moving; all runs go through an hour together. What is left
is each user's arm and propensity, and the moments of the weighted sums that the analysis takes
(flytewheel/experiment/analysis/adaptive.py); every look of them is `analyse`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.calibration.crowd import Bools, Crowd, Events, Floats, Ints, add_hours, count_before, draw_visits
from flytewheel.experiment.allocation.policies import match_best, match_highest, mix_floor, score_greedy
from flytewheel.experiment.analysis.adaptive import weigh_users

Policy = Literal["thompson", "epsilon_greedy", "linucb"]
FLOOR, TOPICS, TOPIC_EFFECT = 0.1, 2, 0.2


@dataclass(frozen=True, slots=True)
class Played:
    """One run: its events and each user's propensity (NaN for who never came), `(users,)`."""

    events: Events
    propensities: Floats


def play(policy: Policy, crowd: Crowd, generators: list[np.random.Generator]) -> list[Played]:
    """Plays one run with each generator.

    `linucb` sees one of two topics, of which one earns `TOPIC_EFFECT` more in either arm: its context tells of the
    outcome, and its propensities follow the context.
    """
    drawn = [_draw(crowd, generator) for generator in generators]
    runs, users = len(drawn), crowd.users
    user = np.concatenate([one.user + run * users for run, one in enumerate(drawn)])
    hour = np.concatenate([one.hour for one in drawn])
    luck = np.concatenate([one.luck for one in drawn])
    rate, place = (np.concatenate([getattr(one, name) for one in drawn]) for name in ("rate", "place"))
    topic = (place * 2**20).astype(np.int64) % TOPICS if policy == "linucb" else np.zeros(len(place), dtype=np.int64)
    rate = rate + (topic - 0.5) * TOPIC_EFFECT if policy == "linucb" else rate
    state = _State(policy, runs, users, topic)
    good = np.zeros(len(user), dtype=bool)
    order = np.argsort(hour, kind="stable")
    for places in np.split(order, np.searchsorted(hour[order], np.arange(1, crowd.hours))):
        who = user[places]
        state.meet(np.unique(who), place)
        chance = rate[who] * np.where(state.treated[who], 1 + crowd.effect, 1.0)
        good[places] = luck[places] < chance
        state.learn(who, good[places])
    split = np.cumsum([len(one.user) for one in drawn])[:-1]
    met = [np.split(each, split) for each in (hour, state.treated[user], good)]
    return [
        Played(
            Events(one.user, at, np.zeros(len(at), dtype=np.int64), treated, liked),
            state.propensities[run * users : (run + 1) * users],
        )
        for run, (one, at, treated, liked) in enumerate(zip(drawn, *met, strict=True))
    ]


def add_up_weighted(played: Played, crowd: Crowd) -> Floats:
    """Moments of the weighted sums, and Σw²N, at each hour's end: `(7, hours, 2)`."""
    events, good = played.events, played.events.good.astype(float)
    weight = weigh_users(played.propensities)[events.user]
    square = weight * weight
    seen, liked = count_before(events.user, good)
    steps = (
        seen == 0,
        weight * good,
        weight,
        square * good * (1 + 2 * liked),
        square * (liked + good * (seen + 1)),
        square * (2 * seen + 1),
        square,
    )
    return add_hours(steps, events, crowd)


@dataclass(frozen=True, slots=True)
class _Drawn:
    user: Ints
    hour: Ints
    luck: Floats
    rate: Floats
    place: Floats


def _draw(crowd: Crowd, generator: np.random.Generator) -> _Drawn:
    visits = draw_visits(crowd, generator)
    joined = generator.random(crowd.users) * crowd.days
    kept = visits.time >= joined[visits.user]
    weight = 1 / crowd.correlation - 1
    rate = generator.beta(crowd.rate * weight, (1 - crowd.rate) * weight, crowd.users)
    user = visits.user[kept]
    return _Drawn(user, visits.hour[kept], generator.random(len(user)), rate, visits.place)


class _State:
    """What the policy knows, of all runs: users' means summed by run, topic and arm (a user's mean is one reward)."""

    def __init__(self, policy: Policy, runs: int, users: int, topic: Ints) -> None:
        self.policy, self.users, self.topic = policy, users, topic
        self.treated: Bools = np.zeros(runs * users, dtype=bool)
        self.propensities: Floats = np.full(runs * users, np.nan)
        self._x, self._n = np.zeros(runs * users), np.zeros(runs * users)
        self._earned, self._rated = np.zeros((runs, TOPICS, 2)), np.zeros((runs, TOPICS, 2))

    def meet(self, who: Ints, place: Floats) -> None:
        """Gives an arm to those who have none."""
        fresh = who[np.isnan(self.propensities[who])]
        if not len(fresh):
            return
        share = self._share()[fresh // self.users, self.topic[fresh]]
        self.treated[fresh] = place[fresh] < share
        self.propensities[fresh] = np.where(self.treated[fresh], share, 1 - share)

    def learn(self, who: Ints, good: Bools) -> None:
        """Takes new reactions in: a user's mean is replaced as a whole."""
        size = len(self._x)
        for sign in (-1, 1):
            if sign > 0:
                self._n += np.bincount(who, minlength=size)
                self._x += np.bincount(who, weights=good, minlength=size)
            rated = np.unique(who)
            rated = rated[self._n[rated] > 0]
            cell = (rated // self.users * TOPICS + self.topic[rated]) * 2 + self.treated[rated]
            for sums, value in ((self._rated, np.ones(len(rated))), (self._earned, self._x[rated] / self._n[rated])):
                sums += sign * np.bincount(cell, weights=value, minlength=sums.size).reshape(sums.shape)

    def _share(self) -> Floats:
        """The treatment's probability for a new user, `(runs, topics)`."""
        good, bad = self._earned, self._rated - self._earned
        if self.policy == "linucb":  # a topic each: A = 1 + n, b = Σr
            scores = good / (1 + self._rated) + 0.5 / np.sqrt(1 + self._rated)
            return mix_floor(match_highest(scores), FLOOR)[..., 1]
        good, bad = good.sum(axis=1), np.maximum(bad.sum(axis=1), 0.0)
        chosen = match_best(good, bad) if self.policy == "thompson" else match_highest(score_greedy(good, bad))
        return np.repeat(mix_floor(chosen, FLOOR)[:, 1:], TOPICS, axis=1)
