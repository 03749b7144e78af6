"""What an analysis needs of an arm's users as sums that are kept, so that a look need not read the users.

Of a metric, a user of a place (stratum and arm) is v = (1, x, n, x₀, n₀, o): numerator and denominator, those of the
time before, and whether x lies outside of [0, n]; nothing at all without a denominator. The sums of v·vᵀ over users
give the ratio and its variance by the delta method, CUPED's θ, and, between two places, how a user's parts in two
strata hang together. They add up: a look takes the changed users' sums of before off and puts those of now on.

They are whole numbers of any size, in Python's and JSON's: no order of adding changes them, and a metric that is
constant has a variance of exactly zero, which differences of large doubles would not give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.experiment.metrics.rows import Column, Place, Rows, settle

Pair = tuple[str, str]  # numerator and denominator
Gram = NDArray[np.object_]  # (6, 6) whole numbers
SIZE = 6
EVERYONE: Pair = ("requests", "requests")
_LIMB = 26  # bits: products of two limbs, 2¹⁰ of them, fit in 63
_BATCH = 1 << 10


@dataclass(frozen=True, slots=True)
class Moments:
    """The sums of every pair of counters between every two places that share users, and users in two arms, by stratum.
    Nothing stands for zero."""

    sums: Mapping[Pair, Mapping[tuple[Place, Place], Gram]] = field(default_factory=dict)
    crossed: Mapping[int, int] = field(default_factory=dict)

    def move(self, gone: Moments, come: Moments) -> Moments:
        """These without those of users as they were, and with those as they are."""
        sums = {pair: dict(grams) for pair, grams in self.sums.items()}
        crossed = dict(self.crossed)
        for sign, other in ((-1, gone), (1, come)):
            for pair, grams in other.sums.items():
                for places, gram in grams.items():
                    sums[pair][places] = sums[pair].get(places, 0) + sign * gram
            for stratum, users in other.crossed.items():
                crossed[stratum] = crossed.get(stratum, 0) + sign * users
        return Moments({pair: {at: gram for at, gram in each.items() if gram.any()} for pair, each in sums.items()},
                       {stratum: users for stratum, users in crossed.items() if users})  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        sums = [
            [*pair, [[*one, *other, gram.ravel().tolist()] for (one, other), gram in sorted(grams.items())]]
            for pair, grams in sorted(self.sums.items())
        ]
        return {"sums": sums, "crossed": sorted(self.crossed.items())}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Moments:
        """What `to_json` stored."""
        return cls(
            {
                (x, n): {
                    ((one, arm), (other, its)): np.array(values, dtype=object).reshape(SIZE, SIZE)
                    for one, arm, other, its, values in grams
                }
                for x, n, grams in stored["sums"]
            },
            {int(stratum): int(users) for stratum, users in stored["crossed"]},
        )


def measure(found: Mapping[Place, Rows], pairs: Iterable[Pair]) -> Moments:
    """The sums over these users; whoever shares places with another of them must be here with all of them."""
    rows, crossed = settle(found)
    shared = {(one, other): _match(rows[one], rows[other]) for one, other in
              combinations_with_replacement(sorted(rows), 2)}  # fmt: skip
    sums: dict[Pair, dict[tuple[Place, Place], Gram]] = {}
    for pair in pairs:
        vectors = {place: _write_vectors(each, pair) for place, each in rows.items()}
        grams = {
            (one, other): _multiply(vectors[one][:, left], vectors[other][:, right])
            for (one, other), (left, right) in shared.items()
        }
        sums[pair] = {places: gram for places, gram in grams.items() if gram.any()}
    return Moments(sums, crossed)


def _match(one: Rows, other: Rows) -> tuple[Any, Any]:
    if one is other:
        return slice(None), slice(None)
    _, left, right = np.intersect1d(one.keys, other.keys, assume_unique=True, return_indices=True)
    return left, right


def _write_vectors(rows: Rows, pair: Pair) -> Column:
    """`(6, users)`."""
    x, n = rows.columns[pair[0]], rows.columns[pair[1]]
    vectors = np.stack([np.ones_like(x), x, n, rows.before[pair[0]], rows.before[pair[1]], (x < 0) | (x > n)])
    vectors[:, n <= 0] = 0
    return vectors


def _multiply(one: Column, other: Column) -> Gram:
    """Exact sums of products over users, `(6, users)` by `(6, users)`, in 64-bit arithmetic by limbs."""
    total: Gram = np.zeros((SIZE, SIZE), dtype=object)
    users = one.shape[1]
    batches = -(-users // _BATCH)
    for left, low in _cut(one, batches):
        for right, high in _cut(other, batches):
            sums = left @ right.transpose(0, 2, 1)  # (batches, 6, 6), each below 2⁶²
            upper, lower = (sums >> 31).sum(axis=0), (sums & (2**31 - 1)).sum(axis=0)
            total = total + ((upper.astype(object) << 31) + lower.astype(object)) * (1 << (low + high))
    return total


def _cut(vectors: Column, batches: int) -> list[tuple[Column, int]]:
    """The vectors as limbs, `(batches, 6, users a batch)`, each with its place in bits; the last one has the sign."""
    padded = np.zeros((SIZE, batches * _BATCH), dtype=np.int64)
    padded[:, : vectors.shape[1]] = vectors
    left = padded.reshape(SIZE, batches, _BATCH).transpose(1, 0, 2)
    limbs = []
    bits = 0
    while bits < 64 and (bits == 0 or left.any()):
        if not ((left >> (_LIMB - 1)) + 1 >> 1).any():  # fits, with its sign
            limbs.append((left, bits))
            break
        limbs.append((left & ((1 << _LIMB) - 1), bits))
        left, bits = left >> _LIMB, bits + _LIMB
    return limbs


@dataclass(frozen=True, slots=True)
class ArmMoments:
    """One metric's kept sums of one arm in one stratum.

    Attributes:
        place: the stratum and the arm.
        grams: of every two places.
        unit: what the sums of ratios are multiplied by, since some counters stand in millionths.
        unit_n: in how many parts of one the denominator stands.
        has_before: whether the time before was asked for.
    """

    place: Place
    grams: Mapping[tuple[Place, Place], Gram]
    unit: float = 1.0
    unit_n: int = 1
    has_before: bool = False

    @property
    def users(self) -> int:
        return int(self.own[0, 0])

    @property
    def outside(self) -> int:
        """Users with a numerator below zero or above their denominator."""
        return int(self.own[0, 5])

    @property
    def own(self) -> Gram:
        return self.between(self)

    def between(self, other: ArmMoments) -> Gram:
        """The sums with another place of the same metric, this one's in rows."""
        if (self.place, other.place) in self.grams:
            return self.grams[self.place, other.place]
        if (other.place, self.place) in self.grams:
            return self.grams[other.place, self.place].T
        return np.zeros((SIZE, SIZE), dtype=object)

    def sum_up(self, *, before: bool = False) -> tuple[int, int]:
        """Numerator and denominator of all users together, or of the time before, in the counters' units."""
        x, n = (3, 4) if before else (1, 2)
        return int(self.own[0, x]), int(self.own[0, n])

    def linearise(self, other: ArmMoments) -> NDArray[np.float64]:
        """Sums over users of (L, B) of this arm times those of another, `(2, 2)`: L = (X − R·N)/ΣN is a user's part in
        the error of the ratio, B that in the ratio of before (0 where nobody has a before)."""
        sums = _turn(self.own) @ self.between(other) @ _turn(other.own).T
        scales = [[_scale(self.own, n) * _scale(other.own, m) for m in (2, 4)] for n in (2, 4)]
        parts = [[int(sums[i, j]) / scales[i][j] if scales[i][j] else 0.0 for j in (0, 1)] for i in (0, 1)]
        return np.array(parts) * self.unit**2

    def join(self, other: ArmMoments) -> ArmMoments:
        """The users of both arms as one."""
        place = (self.place[0], "")
        return ArmMoments(place, {(place, place): self.own + other.own}, self.unit, self.unit_n, self.has_before)


def _turn(own: Gram) -> Gram:
    """From v to whole multiples of (L, B)."""
    turned: Gram = np.zeros((2, SIZE), dtype=object)
    turned[0, 1:3] = own[0, 2], -own[0, 1]
    turned[1, 3:5] = own[0, 4], -own[0, 3]
    return turned


def _scale(own: Gram, n: int) -> int:
    return int(own[0, n]) ** 2
