"""Weeks of invented people for benchmarks.drift: the same ones come back, some write fifty times as much as others,
each has topics, a language and a length of their own, and days, nights and weekends differ.

What they do is arranged as `flytewheel.drift.samples` arranges what it reads. A week of a million is drawn as its hash
samples it: rows in proportion to what each person writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_texts import LENGTHS, TOPICS, VARIANTS, Corpus
from flytewheel.drift.samples import MOST_ROWS, SAMPLES, SETTLED_HOURS, Sample

WEEK_S = 168 * 3600.0
MONDAY_S = 4 * 86400.0  # of the epoch's first week
SPOKEN = (0.85, 0.08, 0.05, 0.02)  # en, de, es, fr
PER_USER = 5.0  # prompts a week, on average
WANDER = 0.03  # by which each topic's share goes up and down from week to week, relative: no two weeks are alike


@dataclass(frozen=True, slots=True)
class Shift:
    """What is planted: `topic` of the traffic moves to one topic, lengths grow by steps of a half, so much comes in
    another language or other words; votes and reactions fall by so much.
    """

    topic: float = 0.0
    steps: int = 0
    language: float = 0.0
    reworded: float = 0.0
    thumbs: float = 0.0
    reactions: float = 0.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """People, `(users,)` each: share of all prompts, topics `(users, topics)`, language, offset of the log length,
    whether in Europe, how readily they react and how readily they are content.
    """

    share: NDArray[np.float64]
    topics: NDArray[np.float64]
    language: NDArray[np.int64]
    length: NDArray[np.float64]
    european: NDArray[np.bool_]
    reacts: NDArray[np.float64]
    content: NDArray[np.float64]


def draw_crowd(interactions: int, random: np.random.Generator) -> Crowd:
    """People who write so many prompts a week together."""
    count = max(20, round(interactions / PER_USER))
    rate = random.lognormal(0, 1.2, count)
    base = np.linspace(2.0, 0.6, len(TOPICS))
    topics = random.dirichlet(0.25 * base, count)  # most people ask about one or two things
    language = random.choice(len(SPOKEN), count, p=SPOKEN)
    return Crowd(
        share=rate / rate.sum(),
        topics=np.cumsum(topics, axis=1),
        language=language,
        length=random.normal(0, 0.6, count),
        european=(language > 0) | (random.random(count) < 0.4),
        reacts=random.beta(1.2, 2.8, count),
        content=random.beta(6, 2, count),
    )


def draw_week(
    crowd: Crowd,
    corpus: Corpus,
    number: int,
    interactions: int,
    random: np.random.Generator,
    shift: Shift | None = None,
) -> Sample:
    """One week as a look at its end reads it, two days later; `cut` makes those of earlier looks from it."""
    shift = shift or Shift()
    level = next(place for place, one in enumerate(SAMPLES) if interactions <= one * MOST_ROWS)
    rows = random.poisson(interactions / SAMPLES[level])
    users = random.choice(len(crowd.share), rows, p=crowd.share)
    times = _draw_times(crowd.european[users], random)
    topic = _draw_topics(crowd.topics[users], times, random)
    topic = np.where(random.random(rows) < shift.topic, 3, topic)
    language = crowd.language[users]
    language = np.where(random.random(len(crowd.share))[users] < shift.language, 4, language)  # people, not prompts
    language = np.where((language == 0) & (random.random(rows) < shift.reworded), 5, language)
    length = np.rint(3 + (crowd.length[users] + random.normal(0, 0.8, rows)) / np.log(1.5)).astype(int) + shift.steps
    place = corpus.place(topic, language, np.clip(length, 0, len(LENGTHS) - 1), random.integers(VARIANTS, size=rows))
    reacted = random.random(rows) < crowd.reacts[users] * (1 - shift.reactions)
    up = random.random(rows) < crowd.content[users] * (1 - shift.thumbs)
    return Sample(
        stored=interactions,
        level=level,
        users=users,
        times_s=MONDAY_S + number * WEEK_S + times,
        lengths=corpus.lengths[place],
        topics=np.array(list(TOPICS), dtype=object)[topic],
        languages=corpus.told[place],
        texts=np.ones(rows, dtype=bool),
        features=corpus.features[place],
        versions=np.full(rows, "v1", dtype=object),
        treated=np.zeros(rows, dtype=bool),
        reacted=reacted.astype(float),
        thumbs=np.where(reacted, up.astype(float), np.nan),
    )


def cut(week: Sample, hours: float) -> Sample:
    """What a look so many hours into the week sees of it."""
    begun = np.floor((week.times_s[0] - MONDAY_S) / WEEK_S) * WEEK_S + MONDAY_S
    now_s = begun + hours * 3600
    kept = week.times_s < now_s
    fields: dict[str, Any] = {
        name: getattr(week, name)[kept] for name in Sample.__slots__ if name not in ("stored", "level")
    }
    fields["reacted"] = np.where(fields["times_s"] > now_s - 3600 * SETTLED_HOURS, np.nan, fields["reacted"])
    stored = round(week.stored * kept.mean()) if len(kept) else 0
    return replace(week, stored=stored, **fields)


def _draw_times(european: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.float64]:
    """Seconds into the week: working hours here or there, a fifth as much at the weekend."""
    rows = len(european)
    day = random.choice(7, rows, p=np.array([1, 1.1, 1.1, 1, 0.9, 0.2, 0.2]) / 5.5)
    hour = np.where(european, 8.0, 15.0) + random.gamma(4, 1.2, rows)
    hour = np.where(random.random(rows) < 0.1, random.uniform(0, 24, rows), hour) % 24
    return day * 86400.0 + hour * 3600.0


def _draw_topics(
    cumulated: NDArray[np.float64], times: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Each person's own, but at night and at weekends it is more often what wakes people up."""
    wander = random.normal(0, WANDER)
    drawn = (random.random(len(times))[:, None] > cumulated).sum(axis=1).clip(0, len(TOPICS) - 1)
    idle = (times // 86400 >= 5) | (times % 86400 < 6 * 3600)
    woken = random.random(len(times)) < np.where(idle, 0.35, 0.03 + abs(wander))
    return np.where(woken, 6, drawn)
