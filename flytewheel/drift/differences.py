"""The difference of two windows with its chance: by user, at the same times of the week, whenever one looks.

People write more than one prompt, mostly of their own kind, so the user is the unit: the variance is that of users'
sums (linearised; Binder 1983), over both windows at once, so that who comes back counts as the pair that it is. The
older rows are weighed so that their six-hour blocks of the week stand as the newer rows' do (direct standardisation):
a window that began on Saturday is held against Saturdays.

As the newer window grows, the difference D has independent increments in its information I = 1/SE². So the normal
mixture's confidence sequence holds at all looks together: D differs from nought beyond chance where |D|/SE exceeds
√((1 + 1/r)·(ln(1 + r) − 2 ln α)), r = τ²·I (Robbins 1970; Waudby-Smith et al. 2021, eq. 9). τ is set by the older
window alone: narrowest when the newer one tells as much. Few users, or one who wrote half, have Student's tails: D/SE
is brought to the normal scale with (Σψ²)²/Σψ⁴ − 1 degrees of freedom (Satterthwaite 1946).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PLANNED_SHARE = 0.03  # the mixture is narrowest at kinds of this size or more
BLOCKS = 28  # of six hours, in a week
MIN_BLOCK = 5  # older rows of a block of the week, below which newer ones have nothing to be held against


@dataclass(frozen=True, slots=True)
class Pairing:
    """Rows of both windows, ready to be compared. Users are numbered over both, `(rows,)`; weights sum to 1 a window.

    `covered` is the share of newer rows whose block of the week the older window knows.
    """

    users: int
    before_users: Integers
    after_users: Integers
    before: Floats
    after: Floats
    covered: float

    @property
    def counts(self) -> tuple[int, int]:
        """Users with weight, before and after."""
        return tuple(  # type: ignore[return-value]
            len(np.unique(users[weights > 0]))
            for users, weights in ((self.before_users, self.before), (self.after_users, self.after))
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """Means of each column before and after, `(columns,)`; `beyond` is |D|/SE over what chance explains: > 1 is none
    of its doing.
    """

    before: Floats
    after: Floats
    standard_error: Floats
    beyond: Floats


def pair_windows(before: tuple[Integers, Integers], after: tuple[Integers, Integers]) -> Pairing | None:
    """Pairs the rows of two windows; `None` where they have no block of the week in common.

    Args:
        before: users and six-hour blocks since the epoch of the older rows, `(rows,)` each; users are numbers, the
            same in both.
        after: of the newer ones.
    """
    known, users = np.unique(np.concatenate([before[0], after[0]]), return_inverse=True)
    split = len(before[0])
    once = [_share_visits(users[:split], before[1]), _share_visits(users[split:], after[1])]
    blocks = before[1] % BLOCKS, after[1] % BLOCKS
    old, new = (np.bincount(side, weights, minlength=BLOCKS) for side, weights in zip(blocks, once, strict=True))
    kept = (old >= min(MIN_BLOCK, old.sum())) & (new > 0)
    total = new[kept].sum()
    if not total:
        return None
    weights = np.where(kept, new / total / np.maximum(1e-12, old), 0.0)
    return Pairing(
        users=len(known),
        before_users=users[:split],
        after_users=users[split:],
        before=weights[blocks[0]] * once[0],
        after=np.where(kept, 1 / total, 0.0)[blocks[1]] * once[1],
        covered=float(total / new.sum()),
    )


def _share_visits(users: Integers, blocks: Integers) -> Floats:
    """What each row counts, so that a user counts once in every six hours, however much they write in them."""
    _, visit, rows = np.unique(users * (1 << 32) + blocks, return_inverse=True, return_counts=True)
    return 1.0 / rows[visit]  # type: ignore[no-any-return]


def compare(pairing: Pairing, before: Floats, after: Floats, *, alpha: float, shares: bool = True) -> Difference:
    """Compares the columns of two windows, all of them together at level `alpha`.

    Args:
        pairing: of the rows.
        before: values, `(rows, columns)`.
        after: of the newer rows.
        alpha: that any column is ever found beyond chance, at any look, where none differs.
        shares: values are 0 or 1.
    """
    old, new = pairing.before @ before, pairing.after @ after
    older = _sum_users(pairing.users, pairing.before_users, pairing.before[:, None] * (before - old))
    newer = _sum_users(pairing.users, pairing.after_users, pairing.after[:, None] * (after - new))
    variance = ((newer - older) ** 2).sum(axis=0) * pairing.users / max(1, pairing.users - 1)
    apart = (older * older).sum(axis=0), (newer * newer).sum(axis=0)
    if shares:
        variance = _raise_variance(pairing, variance, old, new, apart)
    # What the older window alone is worth; as if of a kind that few people are of where it holds less.
    whole = np.bincount(pairing.before_users, pairing.before, minlength=pairing.users)
    own = np.maximum(apart[0], PLANNED_SHARE * (1 - PLANNED_SHARE) * (whole @ whole))
    told = variance > 0
    error = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        critical = find_critical(2 * own / variance, alpha / max(1, before.shape[1]))
        beyond = np.where(told, np.abs(new - old) / error / critical, 0.0)
    return Difference(old, new, error, beyond)


def _raise_variance(
    pairing: Pairing, variance: Floats, old: Floats, new: Floats, apart: tuple[Floats, Floats]
) -> Floats:
    """The variance of shares, raised to what it is where the pooled share is both windows'."""
    sides = (pairing.before_users, pairing.before), (pairing.after_users, pairing.after)
    rows = [float(weights @ weights) for _, weights in sides]
    pooled = (old / rows[0] + new / rows[1]) / (1 / rows[0] + 1 / rows[1])
    even = pooled * (1 - pooled)
    found = apart[0] + apart[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        clustering = np.maximum(1.0, found / (old * (1 - old) * rows[0] + new * (1 - new) * rows[1]))
        raised = variance * np.maximum(1.0, even * sum(rows) * clustering / found)
    # All of one window and none of the other: as if each user wrote one kind.
    sums = [np.bincount(users, weights, minlength=pairing.users) for users, weights in sides]
    return np.where(found > 0, raised, even * sum(float(side @ side) for side in sums))


def find_critical(information: Floats, alpha: float) -> Floats:
    """Standard errors that chance explains at all looks together, where the information is so many times that which
    the mixture is narrowest at.
    """
    wide = -2 * math.log(alpha)
    ratio = (wide + math.log1p(wide)) * np.asarray(information, dtype=float)
    critical: Floats = np.sqrt((1 + 1 / ratio) * (np.log1p(ratio) + wide))
    return critical


def _sum_users(count: int, users: Integers, values: Floats) -> Floats:
    """Sums by user, `(users, columns)`."""
    columns = [np.bincount(users, values[:, column], minlength=count) for column in range(values.shape[1])]
    return np.stack(columns, axis=1)
