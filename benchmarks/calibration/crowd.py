"""Crowds that react to a model: who says what when, and the sums that an experiment would have at every hour.

A user's own rate is Beta around the arm's mean, so that answers of one user go together; how often one comes may be
heavy-tailed, the mood may drift from day to day, and so may everybody's. Events are drawn user by user in the order of
time, so one pass over them gives every hour's moments: an event by a user who had (X, N) before adds y to ΣX, 1 to ΣN,
y² + 2yX to ΣX², X + yN + y to ΣXN and 2N + 1 to ΣN². A new stage begins new sums. Nothing is sorted but one array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from flytewheel.experiment.analysis.ratio import Moments
from flytewheel.experiment.metrics import UserSums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
FIELDS = 6  # of `Moments`


@dataclass(frozen=True, slots=True)
class Crowd:
    """`per_day` reactions of a user, `rate` of them good, `correlation` within a user; `effect` is the treatment's,
    relative. `stages` are (first day, share). `usage` is σ of the logarithm of how often one comes; `mood` the size of
    a probit AR(1) from day to day (0.8 of it stays); `drift` what everybody's rate loses over the whole time.
    """

    users: int = 4000
    days: int = 14
    per_day: float = 0.5
    rate: float = 0.7
    correlation: float = 0.2
    effect: float = 0.0
    stages: tuple[tuple[int, float], ...] = ((0, 0.5),)
    usage: float = 0.0
    mood: float = 0.0
    drift: float = 0.0

    @property
    def hours(self) -> int:
        return 24 * self.days

    @property
    def ends(self) -> list[int]:
        """The hour after each stage's last."""
        return [24 * first for first, _ in self.stages[1:]] + [self.hours]


@dataclass(frozen=True, slots=True)
class Visits:
    """Who comes when, user by user and each one's in the order of time; `place` is each user's sticky draw."""

    place: Floats
    user: Ints
    time: Floats  # days
    hour: Ints


@dataclass(frozen=True, slots=True)
class Events:
    """Reactions, user by user, each one's in the order of time: in which hour and stage, in the treatment or not, good
    or not."""

    user: Ints
    hour: Ints
    stage: Ints
    treated: Bools
    good: Bools


def draw_visits(crowd: Crowd, generator: np.random.Generator) -> Visits:
    """Poisson arrivals of every user."""
    place = generator.random(crowd.users)
    often = np.full(crowd.users, crowd.per_day)
    if crowd.usage:
        often = often * np.exp(crowd.usage * generator.standard_normal(crowd.users) - crowd.usage**2 / 2)
    user = np.repeat(np.arange(crowd.users), generator.poisson(often * crowd.days))
    # Whole part and fraction sort together: the users stay where they are, their times come into order.
    moment = np.sort(user + generator.random(len(user))) - user
    moment = np.minimum(moment, 1 - 1e-9)
    return Visits(place, user, moment * crowd.days, (moment * crowd.hours).astype(np.int64))


def draw_events(crowd: Crowd, generator: np.random.Generator) -> Events:
    """One experiment's reactions."""
    visits = draw_visits(crowd, generator)
    user, time = visits.user, visits.time
    stage, treated = split_visits(crowd, visits)
    # A user of both arms would need two rates; effects and ramps are not simulated together.
    mean = np.where(visits.place < crowd.stages[0][1], crowd.rate * (1 + crowd.effect), crowd.rate)
    own = mean
    if crowd.correlation:
        weight = 1 / crowd.correlation - 1
        own = generator.beta(mean * weight, (1 - mean) * weight)
    chance = own[user]
    if crowd.mood:
        chance = ndtr(ndtri(np.clip(chance, 1e-9, 1 - 1e-9)) + _draw_moods(crowd, generator)[user, time.astype(int)])
    if crowd.drift:
        chance = np.clip(chance + crowd.drift * (0.5 - time / crowd.days), 0, 1)
    return Events(user, visits.hour, stage, treated, generator.random(len(user)) < chance)


def split_visits(crowd: Crowd, visits: Visits) -> tuple[Ints, Bools]:
    """The stage of each visit, and whether it meets the treatment."""
    first, shares = (np.array(column) for column in zip(*crowd.stages, strict=True))
    if len(first) == 1:
        return np.zeros(len(visits.user), dtype=np.int64), (visits.place < shares[0])[visits.user]
    stage = np.searchsorted(24 * first, visits.hour, side="right") - 1
    return stage, visits.place[visits.user] < shares[stage]


def _draw_moods(crowd: Crowd, generator: np.random.Generator) -> Floats:
    moods = generator.standard_normal((crowd.users, crowd.days))
    for day in range(1, crowd.days):
        moods[:, day] = 0.8 * moods[:, day - 1] + 0.6 * moods[:, day]
    return crowd.mood * moods


def add_up(events: Events, crowd: Crowd) -> Floats:
    """Moments of each hour's end within its stage: `(6, hours, 2)`, in the order of `Moments`; control, treatment."""
    good = events.good.astype(float)
    seen, liked = count_before(events.user * len(crowd.stages) + events.stage, good)
    steps = (seen == 0, good, np.ones(len(good)), good * (1 + 2 * liked), liked + good * (seen + 1), 2 * seen + 1)
    return add_hours(steps, events, crowd)


def count_before(group: Ints, good: Floats) -> tuple[Floats, Floats]:
    """How many events of its group stand before each event, and how many good ones; groups stand together."""
    if not len(group):
        return np.empty(0), np.empty(0)
    begins = np.empty(len(group), dtype=bool)
    begins[0] = True
    np.not_equal(group[1:], group[:-1], out=begins[1:])
    starts = np.flatnonzero(begins)
    which = np.cumsum(begins) - 1
    ahead = np.cumsum(good) - good
    return np.arange(len(group)) - starts[which].astype(float), ahead - ahead[starts][which]


def add_hours(steps: tuple[NDArray[np.generic], ...], events: Events, crowd: Crowd) -> Floats:
    """What the events add, summed up to each hour's end within its stage: `(steps, hours, 2)`."""
    cell = events.hour * 2 + events.treated
    hourly = np.array([np.bincount(cell, weights=step, minlength=2 * crowd.hours) for step in steps])
    hourly = hourly.reshape(len(steps), crowd.hours, 2)
    return np.concatenate([part.cumsum(axis=1) for part in np.split(hourly, crowd.ends[:-1], axis=1)], axis=1)


def split_moments(moments: Floats) -> tuple[Moments, Moments]:
    """Control and treatment of `(runs, 6, hours, 2)`."""
    control, treatment = (Moments(*(moments[:, row, :, arm] for row in range(FIELDS))) for arm in (0, 1))
    return control, treatment


def sum_users(events: Events, crowd: Crowd, *, hour: int, stage: int) -> dict[str, UserSums]:
    """What PostgreSQL would have counted by the end of `hour`, of one stage: user totals by arm, with keys."""
    now = (events.hour <= hour) & (events.stage == stage)
    arms = {}
    for arm, treated in (("control", False), ("treatment", True)):
        mine = now & (events.treated == treated)
        n = np.bincount(events.user[mine], minlength=crowd.users)
        x = np.bincount(events.user[mine], weights=events.good[mine], minlength=crowd.users)
        keys = np.flatnonzero(n)
        arms[arm] = UserSums(x[keys], n[keys].astype(float), keys=keys)
    return arms
