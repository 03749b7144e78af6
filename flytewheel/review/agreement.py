"""How far reviewers agree beyond chance: Cohen's kappa over ours, theirs and tie, on the duels that both labelled.

kappa = (p_o - p_e) / (1 - p_e), with p_e from each reviewer's own shares (Cohen 1960, "A Coefficient of Agreement for
Nominal Scales", equation 1). The standard error is the one for any true kappa (Fleiss, Cohen and Everitt 1969,
equation 13). More than two: the mean over pairs of reviewers, weighted by the duels that a pair shares (Light 1971
takes the plain mean); Fleiss' kappa wants the same number of labels on each duel, which people who stop early do not
give.

The interval comes from a bootstrap over duels. Shared parts are small, and there the percentile interval is too short
(simulated: 59 to 86 % coverage on 8 duels, 89 to 93 % on 20) and degenerate where all labels agree; so it is widened to
hold the Wilson interval of the observed agreement, read at the p_e that was seen (93 to 99 % on 8 to 100 duels).
Where nobody disagrees because everybody says one thing, chance agrees as well: p_e = 1, and kappa cannot be told.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.records import Interval, ReviewLabel
from flytewheel.review.deal import LABELS

SAMPLES, LEVEL, SEED = 2000, 0.95, 0
MOST_UNDEFINED = 0.05  # of the resamples: beyond, the interval would be about another question

Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two reviewers on the duels that both labelled. `kappa` without an estimate cannot be told.

    `observed` is the share of duels on which they agree, `expected` what chance would give, both in [0, 1].
    """

    one: str
    other: str
    shared: int
    kappa: Interval
    standard_error: float | None
    observed: float | None
    expected: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """All reviewers: `kappa` is the pair's own, or the mean over pairs; `shared` duels have two labels or more."""

    reviewers: tuple[str, ...]
    shared: int
    kappa: Interval
    pairs: tuple[PairAgreement, ...]


def measure_agreement(
    labels: Iterable[ReviewLabel], *, samples: int = SAMPLES, level: float = LEVEL, seed: int = SEED
) -> Agreement:
    """Measures how far the reviewers agree.

    Args:
        labels: one for each duel and reviewer.
        samples: resamples of the duels.
        level: of the two-sided intervals.
        seed: decides the resamples.
    """
    said: dict[str, dict[str, int]] = defaultdict(dict)
    for label in labels:
        said[label.duel_id][label.reviewer] = LABELS.index(label.preferred)
    both = {duel: given for duel, given in sorted(said.items()) if len(given) > 1}
    reviewers = tuple(sorted({name for given in said.values() for name in given}))
    weights = _draw(len(both), samples, seed)
    pairs, drawn = [], []
    for one, other in combinations(reviewers, 2):
        cells = _place(both.values(), one, other)
        if (cells >= 0).any():
            pair, resampled = _measure_pair(one, other, cells, weights, level)
            pairs.append(pair)
            drawn.append(resampled)
    kappa = pairs[0].kappa if len(pairs) == 1 else _average(pairs, drawn, level)
    return Agreement(reviewers, len(both), kappa, tuple(pairs))


def cohen_kappa(table: Counts) -> Counts:
    """Kappa of tables (..., categories, categories) of counts: (...), NaN where it is undefined."""
    total = table.sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = np.trace(table, axis1=-2, axis2=-1) / total
        expected = (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1) / total**2
        kappa = (observed - expected) / (1 - expected)
    return np.where(expected < 1 - 1e-12, kappa, np.nan)


def standard_error(table: Counts) -> float | None:
    """Of Cohen's kappa of one table (categories, categories); `None` where kappa is undefined."""
    total = float(table.sum())
    kappa = float(cohen_kappa(table))
    if not total or math.isnan(kappa):
        return None
    shares = table / total
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    expected = float(rows @ columns)
    agree = float((np.diag(shares) * (1 - (rows + columns) * (1 - kappa)) ** 2).sum())
    apart = shares * (columns[:, None] + rows[None, :]) ** 2
    disagree = (1 - kappa) ** 2 * float(apart.sum() - np.trace(apart))
    variance = (agree + disagree - (kappa - expected * (1 - kappa)) ** 2) / (total * (1 - expected) ** 2)
    return math.sqrt(max(0.0, variance))


def _place(both: Iterable[Mapping[str, int]], one: str, other: str) -> NDArray[np.int64]:
    """(duels,) the cell of each duel in the pair's table, -1 where one of them did not label it."""
    size = len(LABELS)
    return np.array([given[one] * size + given[other] if {one, other} <= set(given) else -1 for given in both])


def _measure_pair(
    one: str, other: str, cells: NDArray[np.int64], weights: Counts, level: float
) -> tuple[PairAgreement, Counts]:
    size = len(LABELS)
    spread = (cells[:, None] == np.arange(size * size)).astype(np.float64)  # (duels, cells)
    table = spread.sum(axis=0).reshape(size, size)
    drawn = cohen_kappa((weights @ spread).reshape(-1, size, size))
    total = int(table.sum())
    kappa = float(cohen_kappa(table))
    observed = float(np.trace(table)) / total
    expected = float(table.sum(axis=1) @ table.sum(axis=0)) / total**2
    interval = Interval(None, None, None, level)
    if not math.isnan(kappa):
        interval = _widen(_bound(kappa, drawn, level), observed, expected, total)
    return PairAgreement(one, other, total, interval, standard_error(table), observed, expected), drawn


def _average(pairs: Sequence[PairAgreement], drawn: Sequence[Counts], level: float) -> Interval:
    told = [place for place, pair in enumerate(pairs) if pair.kappa.estimate is not None]
    if not told:
        return Interval(None, None, None, level)
    shares = np.array([pairs[place].shared for place in told], dtype=np.float64)
    estimates = np.array([pairs[place].kappa.estimate for place in told], dtype=np.float64)
    resampled = np.average(np.stack([drawn[place] for place in told]), axis=0, weights=shares)
    found = _bound(float(np.average(estimates, weights=shares)), resampled, level)
    observed, expected = (
        float(np.average([getattr(pairs[place], name) for place in told], weights=shares))
        for name in ("observed", "expected")
    )
    return _widen(found, observed, expected, int(shares.max()))


def _bound(estimate: float, drawn: Counts, level: float) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if len(known) < (1 - MOST_UNDEFINED) * len(drawn):
        return Interval(estimate, None, None, level)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)


def _widen(found: Interval, observed: float, expected: float, total: int) -> Interval:
    """Holds the Wilson interval (1927) of the observed agreement as well, at the expected one."""
    quantile = NormalDist().inv_cdf((1 + found.level) / 2)
    stretch = 1 + quantile**2 / total
    centre = (observed + quantile**2 / (2 * total)) / stretch
    half = quantile / stretch * math.sqrt(observed * (1 - observed) / total + (quantile / total / 2) ** 2)
    low, high = ((end - expected) / (1 - expected) for end in (centre - half, centre + half))
    low, high = max(-1.0, low), min(1.0, high)
    if found.low is not None and found.high is not None:
        low, high = min(low, found.low), max(high, found.high)
    return Interval(found.estimate, low, high, found.level)


def _draw(duels: int, samples: int, seed: int) -> Counts:
    """(samples, duels) how often each duel stands in each resample."""
    if not duels:
        return np.zeros((samples, 0))
    rng = np.random.default_rng(seed)
    return rng.multinomial(duels, np.full(duels, 1 / duels), size=samples).astype(np.float64)


def describe_agreement(found: Agreement) -> str:
    """The agreement in one line."""
    if len(found.reviewers) < 2:
        return "agreement: cannot tell, it takes two reviewers"
    if not found.shared:
        return "agreement: cannot tell, no duel has two labels yet"
    kappa = found.kappa
    if kappa.estimate is None:
        return f"agreement: cannot tell, everybody said one and the same of all {found.shared} shared duels"
    name = "Cohen's kappa" if len(found.reviewers) == 2 else "mean kappa of pairs"
    return (
        f"{name} {kappa.estimate:.2f} [{_cell(kappa.low)}, {_cell(kappa.high)}] on {found.shared} shared duels "
        f"by {len(found.reviewers)} reviewers"
    )


def to_json(found: Agreement) -> dict[str, Any]:
    """The agreement without its reviewers' names, for the page."""
    return {
        "kappa": found.kappa.estimate,
        "low": found.kappa.low,
        "high": found.kappa.high,
        "shared": found.shared,
        "reviewers": len(found.reviewers),
        "said": describe_agreement(found),
    }


def _cell(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
