"""The reactions of a window as columns of numbers: what the rules about abuse look at, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.errors import DatasetError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_COARSE_STEPS_S = (86_400.0, 3600.0, 60.0)
_COARSE_SHARE = 0.5


@dataclass(frozen=True)
class Votes:
    """Reactions of a window that were joined to their interactions; every array has length n.

    Codes are any integers; equal codes mean the same thing. They should not depend on the order of the rows (the rank
    of a name among the sorted names is good): above 8 million pairs candidates are sampled by a hash of the codes.
    """

    user: Ints
    """Who voted: the one who had asked."""
    interaction: Ints
    prompt: Ints
    """The cluster of near-identical prompts."""
    answer: Ints
    """Cluster and text: the same answer to near-identical prompts."""
    sign: NDArray[np.int8]
    """-1, 0 or 1: direction of an explicit vote; 0 where it is neutral or implicit."""
    explicit: Mask
    """Said (thumb, rating, correction, edit, duel), not observed (copied, read)."""
    time_s: Floats
    """Unix seconds by the client's clock, which may be wrong; NaN when not known."""
    account_age_s: Floats
    """Of the account when it voted; NaN when not known."""
    comment: Ints
    """The normalised comment or correction, -1 for none. Texts of less than five words are to be -1, too: "wrong" and
    the labels of a form are everybody's."""
    released: Mask
    """An operator released it: neither evidence nor ever quarantined again."""

    def __post_init__(self) -> None:
        lengths = {field.name: np.shape(getattr(self, field.name)) for field in fields(self)}
        if any(shape != (len(self.user),) for shape in lengths.values()):
            raise DatasetError(f"expected columns of one length, got {lengths}: build them from the same rows")

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.int64] | Mask) -> Votes:
        """The same columns with some of the rows."""
        return Votes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def number_codes(codes: Ints) -> tuple[Ints, int]:
    """Codes as 0, 1, … in the order of their value, and how many there are."""
    if len(codes) and codes.min() >= 0 and codes.max() < 4 * len(codes) + 1024:
        seen = np.zeros(int(codes.max()) + 1, dtype=bool)
        seen[codes] = True
        return (np.cumsum(seen, dtype=np.int64) - 1)[codes], int(seen.sum())
    values, inverse = np.unique(codes, return_inverse=True)
    return inverse.astype(np.int64), len(values)


def find_runs(*keys: NDArray[Any]) -> tuple[Ints, Ints]:
    """Starts and lengths of the runs of equal keys in sorted columns."""
    length = len(keys[0])
    if not length:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    changed = np.zeros(length, dtype=bool)
    changed[0] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    starts = np.flatnonzero(changed)
    return starts, np.diff(starts, append=length)


def sort_unique(values: Ints) -> Ints:
    """`numpy.unique` by sorting; its hash table (numpy 2.3 and later) takes ten times as long on millions of pairs."""
    ordered = np.sort(values)
    return ordered[find_runs(ordered)[0]]


def count_pairs(first: Ints, second: Ints, size: int) -> Ints:
    """How many distinct values of `second` stand beside each value 0 … `size` - 1 of `first`."""
    order = np.lexsort((second, first))
    starts, _ = find_runs(first[order], second[order])
    return np.bincount(first[order][starts], minlength=size)


def find_clock_step(votes: Votes) -> float:
    """The step of the window's clocks in seconds: 86,400 where an import kept dates only, 1 where times are fine.

    Judged by accounts, so that one with 100,000 votes cannot make the clocks look coarse: a step counts when more than
    half of the accounts have only times that are its multiples.
    """
    known = np.isfinite(votes.time_s)
    user, count = number_codes(votes.user[known])
    if not count:
        return np.inf
    for step in _COARSE_STEPS_S:
        off = np.zeros(count, dtype=bool)
        off[user[np.remainder(votes.time_s[known], step) != 0]] = True
        if 1 - off.mean() > _COARSE_SHARE:
            return step
    return 1.0


def slide(time_s: Floats, starts: Ints, lengths: Ints, *, events: int, seconds: float) -> Mask:
    """Which rows lie in a stretch of `events` rows of one run within `seconds`; times ascend within each run."""
    total = len(time_s)
    if events < 1 or total < events:
        return np.zeros(total, dtype=bool)
    last = np.repeat(starts + lengths, lengths)
    first = np.arange(total - events + 1)
    hit = (first + events <= last[first]) & (time_s[first + events - 1] - time_s[first] <= seconds)
    change = np.zeros(total + 1, dtype=np.int64)
    change[first[hit]] += 1
    np.subtract.at(change, first[hit] + events, 1)
    return np.cumsum(change[:-1]) > 0


def surprise(share: Floats, chance: Floats, trials: Floats | Ints) -> Floats:
    """Nats by which `share` of `trials` exceeds `chance`; 0 where it does not.

    trials · KL(share ‖ chance): chance's probability of so large a share is at most exp(-this), also when the trials
    have unequal chances of that mean (Hoeffding 1963, theorem 1).
    """
    share, chance = np.clip(share, 0.0, 1.0), np.clip(chance, 1e-12, 1 - 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(share > 0, share * np.log(share / chance), 0.0)
        misses = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - chance)), 0.0)
    return np.where(share > chance, trials * (hits + misses), 0.0)


def weigh(share: float, chance: float, trials: int) -> float:
    """`surprise` of one share."""
    return float(surprise(np.array([share]), np.array([chance]), np.array([trials]))[0])


def iterate_groups(labels: Ints) -> Iterator[Ints]:
    """Positions of each label's members, in the order of the labels; -1 is no label."""
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    starts, lengths = find_runs(labels[order])
    for start, length in zip(starts, lengths, strict=True):
        yield order[start : start + length]
