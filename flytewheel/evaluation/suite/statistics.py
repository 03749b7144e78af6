"""What passes, what fails, and what got worse, where answers are drawn: a flaky case does not flip the gate.

One model and one case, `k` of `n` answers passed and a share of `r` is asked:

- *fails*: the exact binomial test refuses a true share of `r` or more, P(Bin(n, r) ≤ k) ≤ 5 %; the same as an upper
  one-sided Clopper–Pearson bound (Clopper and Pearson 1934, Biometrika 26) below `r`. With r = 1 one failure is enough.
- *passes*: k ≥ r·n.
- *cannot tell*: neither.

Two models: the candidate is worse on a case where Boschloo's exact one-sided test says so (Boschloo 1970, Statistica
Neerlandica 24: Fisher's p-value as the statistic, its chance maximised over the unknown common share), corrected for
all sampled cases of the suite with Holm's step-down (Holm 1979), so that the chance that *any* of them is called worse
while none is stays at 5 %, whatever their shares. Boschloo's test is never weaker than Fisher's, and at 5 to 10 answers
the difference decides: 10 of 10 against 2 of 10 is p = 1.1e-4, with Fisher's 3.6e-4, and among 200 cases 2.5e-4 is
needed. Both models draw with the same seeds, which makes them more alike than independent draws; the test then errs on
the safe side. A greedy answer (n = 1) is no draw: it passed and now fails, or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
_GRID = 1_000  # shares tried for the maximum: within 0.1 % of it at 100 answers
_EXACT = 1e-9  # two chances that differ by less are the same


class Outcome(StrEnum):
    """What one model made of one case."""

    PASSES = "passes"
    FAILS = "fails"
    CANNOT_TELL = "cannot tell"


def judge_share(passed: int, samples: int, least: float, level: float = LEVEL) -> Outcome:
    """Judges `passed` of `samples` answers where a share of `least` must pass; see the module's text."""
    if passed >= least * samples - _EXACT:
        return Outcome.PASSES
    return Outcome.FAILS if binomial_tail(passed, samples, least) <= level else Outcome.CANNOT_TELL


def binomial_tail(passed: int, samples: int, share: float) -> float:
    """P(Bin(samples, share) ≤ passed)."""
    if share >= 1:
        return 1.0 if passed >= samples else 0.0
    return math.fsum(
        math.comb(samples, k) * share**k * (1 - share) ** (samples - k) for k in range(min(passed, samples) + 1)
    )


@lru_cache(maxsize=4096)
def bound_share(passed: int, samples: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper–Pearson bounds of the true share, each one-sided at 1 − `level`."""
    high = 1.0 if passed >= samples else _bisect(lambda share: binomial_tail(passed, samples, share) > level)
    low = 0.0 if passed <= 0 else _bisect(lambda share: 1 - binomial_tail(passed - 1, samples, share) < level)
    return low, high


def _bisect(holds_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds_below(middle) else (low, middle)
    return (low + high) / 2


def measure_worsening(candidate: tuple[int, int], champion: tuple[int, int]) -> float:
    """One-sided p-value for the candidate passing less often, each as (passed, samples)."""
    (ours, own), (theirs, other) = candidate, champion
    return float(_boschloo(own, other)[ours, theirs])


@cache
def _boschloo(own: int, other: int) -> NDArray[np.float64]:
    """p-values of all outcomes, (own + 1, other + 1)."""
    fisher = _fisher(own, other)
    flat = fisher.ravel()
    order = np.argsort(flat, kind="stable")
    shares = np.linspace(0, 1, _GRID + 1)
    tails = np.zeros(len(flat))
    for ours, theirs in zip(_binomial(own, shares), _binomial(other, shares), strict=True):
        np.maximum(tails, np.cumsum(np.outer(ours, theirs).ravel()[order]), out=tails)
    ends = np.searchsorted(flat[order], flat * (1 + _EXACT), side="right") - 1  # ties belong together
    found: NDArray[np.float64] = np.minimum(1.0, tails[ends]).reshape(fisher.shape)
    return found


def _fisher(own: int, other: int) -> NDArray[np.float64]:
    """Fisher's one-sided p-values: the chance of as few passes among `own`, given all passes."""
    table = np.ones((own + 1, other + 1))
    for ours in range(own + 1):
        for theirs in range(other + 1):
            both = ours + theirs
            whole = math.comb(own + other, both)
            fewer = sum(math.comb(own, k) * math.comb(other, both - k) for k in range(max(0, both - other), ours + 1))
            table[ours, theirs] = fewer / whole
    return table


def _binomial(samples: int, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.arange(samples + 1)
    ways = np.array([float(math.comb(samples, int(k))) for k in counts])
    return np.asarray(ways * shares[:, None] ** counts * (1 - shares[:, None]) ** (samples - counts))


def find_significant(chances: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which of these p-values stand after Holm's correction for all of them."""
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    stands = [False] * len(chances)
    for rank, place in enumerate(order):
        if chances[place] > level / (len(chances) - rank):
            break
        stands[place] = True
    return stands


def find_worse(
    candidate: Sequence[tuple[int, int]], champion: Sequence[tuple[int, int]], level: float = LEVEL
) -> list[bool]:
    """On which cases the candidate is worse; both as (passed, samples) a case, in one order.

    Cases of one greedy answer are compared as they are, the others by `measure_worsening`, corrected for all of them.
    """
    worse = [
        own == other == 1 and ours < theirs for (ours, own), (theirs, other) in zip(candidate, champion, strict=True)
    ]
    sampled = [
        place for place, pair in enumerate(zip(candidate, champion, strict=True)) if max(pair[0][1], pair[1][1]) > 1
    ]
    chances = [measure_worsening(candidate[place], champion[place]) for place in sampled]
    for place, stands in zip(sampled, find_significant(chances, level), strict=True):
        worse[place] = stands
    return worse
