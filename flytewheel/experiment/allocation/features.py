"""What a contextual policy sees of a new user's request: numbers in [0, 1], the same in router, log and simulation.

| feature | numbers |
|---|---|
| `topic` | one of 8 places, by a hash of the topic that the client names; all zero where it names none |
| `prompt_length` | ln(1 + characters) / ln(1 + 32,000), at most 1 |
| `recent_reward` | the user's mean reward lately, and whether there is one |

A constant 1 opens the vector. Topics are hashed (BLAKE2b, not Python's salted `hash()`) because nobody declares them
beforehand; two that share a place share what is learnt of it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from functools import lru_cache

import numpy as np

from flytewheel.experiment.allocation.design import Feature
from flytewheel.experiment.allocation.policies import Floats

TOPIC_PLACES = 8
LONGEST = 32_000  # characters
_SIZES: dict[Feature, int] = {"topic": TOPIC_PLACES, "prompt_length": 1, "recent_reward": 2}


def count_dimensions(features: Collection[Feature]) -> int:
    """Numbers in the vector of these features, the constant included."""
    return 1 + sum(_SIZES[feature] for feature in features)


def make_context(
    features: Collection[Feature], *, topic: str | None, prompt_length: int, recent_reward: float | None
) -> Floats:
    """The vector of a request, `(d,)`, each number in [0, 1].

    Args:
        features: in the order of the vector.
        topic: as the client names it.
        prompt_length: characters of the question.
        recent_reward: in [0, 1]; None: nothing is known.
    """
    numbers = [1.0]
    for feature in features:
        if feature == "topic":
            numbers += [float(place == _place_topic(topic)) for place in range(TOPIC_PLACES)]
        elif feature == "prompt_length":
            numbers.append(min(1.0, math.log1p(prompt_length) / math.log1p(LONGEST)))
        else:
            numbers += [0.0, 0.0] if recent_reward is None else [recent_reward, 1.0]
    return np.array(numbers)


@lru_cache(maxsize=1024)
def _place_topic(topic: str | None) -> int:
    """The place of a topic; −1 where there is none."""
    if not topic:
        return -1
    name = topic.casefold().strip().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=2).digest()[0] % TOPIC_PLACES
