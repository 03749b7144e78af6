"""Do new prompts read otherwise than old ones? A classifier two-sample test on hashed character n-grams.

A logistic regression that is asked to tell new prompts from old can do so for people whom it has not seen only where
the two differ (Lopez-Paz and Oquab 2017; by users' folds, as their own words would give them away). No embedding, no
download: three and four characters in a row, hashed (Weinberger et al. 2009), each counted once a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from flytewheel.drift.differences import Floats, Integers

FEATURES_BITS = 12
CHARACTERS = 300  # of a prompt that are read
FOLDS = 2
STEPS = 12
PENALTY = 3.0
_SIZES = (3, 4)
_DIGITS = re.compile(r"\d+")


def hash_ngrams(texts: Sequence[str]) -> csr_matrix:
    """Rows of unit length, `(texts, 2**FEATURES_BITS)`: which n-grams a text has; the same on every machine."""
    plain = [_DIGITS.sub("0", f" {' '.join(text[:CHARACTERS].lower().split())} ") for text in texts]
    lengths = np.fromiter(map(len, plain), dtype=np.int64, count=len(plain))
    points = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    rows = np.repeat(np.arange(len(plain)), lengths)
    keys = np.concatenate([_hash(points, rows, size) for size in _SIZES])
    keys.sort()
    keys = keys[np.append(keys[1:] != keys[:-1], True)] if len(keys) else keys  # each feature of a row once
    row, feature = keys >> FEATURES_BITS, keys & ((1 << FEATURES_BITS) - 1)
    counts = np.bincount(row.astype(np.int64), minlength=len(plain))
    values = (1.0 / np.sqrt(counts[row.astype(np.int64)])).astype(np.float32)  # half the memory to go through
    return csr_matrix((values, (row, feature)), shape=(len(plain), 1 << FEATURES_BITS))


def _hash(points: NDArray[np.uint64], rows: Integers, size: int) -> NDArray[np.int64]:
    if len(points) < size:
        return np.empty(0, dtype=np.int64)
    whole = len(points) - size + 1
    mixed = np.full(whole, size, dtype=np.uint64)
    for place in range(size):
        mixed = (mixed ^ points[place : place + whole]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    inside = rows[:whole] == rows[size - 1 :]
    feature = (mixed[inside] >> np.uint64(64 - FEATURES_BITS)).astype(np.int64)
    keys: NDArray[np.int64] = (rows[:whole][inside] << FEATURES_BITS) | feature
    return keys


def rank_rows(features: csr_matrix, is_new: NDArray[np.bool_], users: Integers, weights: Floats) -> Floats:
    """How new each row looks to a model that saw none of its user's rows: its place among the rows of its fold, (0, 1).

    The mean over new rows less that over old ones is the area under the curve less one half.

    Args:
        features: `(rows, features)`.
        is_new: which of the two windows, `(rows,)`.
        users: who wrote it, `(rows,)`.
        weights: of each row in its window, `(rows,)`.
    """
    ranks = np.full(len(is_new), 0.5)
    folds = (users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)) % np.uint64(FOLDS)
    for fold in range(FOLDS):
        held = folds == fold
        taught = ~held
        if min(is_new[taught].sum(), (~is_new[taught]).sum(), held.sum()) == 0:
            continue
        model = _fit(features[taught], is_new[taught], weights[taught])
        ranks[held] = _place(features[held] @ model.astype(np.float32), is_new[held], weights[held])
    return ranks


def _fit(features: csr_matrix, is_new: NDArray[np.bool_], weights: Floats) -> Floats:
    """Coefficients of a ridge logistic regression in which both windows weigh the same."""
    target = np.where(is_new, 1.0, -1.0)
    count = len(target)
    share = weights * count / 2 / np.where(is_new, weights[is_new].sum(), weights[~is_new].sum())
    turned = features.T

    def lose(model: Floats) -> tuple[float, Floats]:
        margin = target * (features @ model.astype(np.float32))
        loss = share @ np.logaddexp(0, -margin) + PENALTY / 2 * (model @ model)
        pull = -share * target / (1 + np.exp(np.minimum(margin, 500.0)))
        slope = turned @ pull.astype(np.float32) + PENALTY * model
        return float(loss), slope

    found = minimize(
        lose, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "maxcor": 5}
    )
    return np.asarray(found.x)


def _place(scores: Floats, is_new: NDArray[np.bool_], weights: Floats) -> Floats:
    """Mid-ranks in the even mixture of both windows."""
    mass = weights.astype(float)
    for side in (is_new, ~is_new):
        total = mass[side].sum()
        mass[side] /= 2 * total if total else 1.0
    values, where = np.unique(scores, return_inverse=True)
    held = np.bincount(where, mass, minlength=len(values))
    below = np.cumsum(held) - held / 2
    placed: Floats = below[where]
    return placed
