"""The win rate by people, with a judge's verdicts to shorten its interval: prediction-powered inference.

People look at some duels, the judge at all. The judge's mean over the others is corrected by how it errs where people
looked (Angelopoulos et al. 2023, Science 382: 669), with power tuning (PPI++, arXiv:2311.01453, example 6.1): the
estimate is mean(Y) + lambda (mean(F) over the others - mean(F) over those looked at), lambda = cov(Y, F) / ((1 + n/N)
var(F)), clipped to [0, 1]. A judge that errs to one side only moves the two means alike; one that knows nothing gets
lambda 0, and people alone remain. Every term is a sum over users, lambda too, so the user bootstrap holds its
uncertainty as well.

Duels with the same answer twice are shown to nobody: they are ties for sure, and count as that beside the others.
People must have looked at a random part of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.judging.judge import TIE
from flytewheel.evaluation.measure import Compare
from flytewheel.evaluation.proportion import compare_rates


def combine(
    users: Sequence[str],
    judged: Sequence[float],
    people: Sequence[float | None],
    same: Sequence[bool],
    compare: Compare,
) -> Comparison:
    """The win rate with an interval.

    Args:
        users: (rows,) whose duel it is.
        judged: (rows,) the judge's preferences in [0, 1].
        people: (rows,) people's, `None` where nobody looked.
        same: (rows,) duels of one answer twice.
        compare: Draws the resamples.

    Returns:
        Unknown where nobody looked at anything.
    """
    columns = np.array(
        [_list_terms(guess, said, alike) for guess, said, alike in zip(judged, people, same, strict=True)]
    ).reshape(-1, 9)
    seen = {user for user, said, alike in zip(users, people, same, strict=True) if said is not None and not alike}
    return compare_rates(users, columns, estimate, compare, users=len(seen))


def estimate(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The estimate from sums (..., 9) of `_list_terms`."""
    same, seen, said, guessed, product, square, unseen, guessed_else, square_else = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        known, guess, other = said / seen, guessed / seen, guessed_else / unseen
        everywhere = (guessed + guessed_else) / (seen + unseen)
        spread = (square + square_else) / (seen + unseen) - everywhere**2
        power = np.clip((product / seen - known * guess) / ((1 + seen / unseen) * spread), 0, 1)
        powered = known + np.where(spread > 1e-12, power, 0.0) * (other - guess)
        # A resample without anybody who looked knows the judge alone; one without anybody else, people alone.
        rest = np.where(seen == 0, other, np.where(unseen == 0, known, powered))
        rest = np.where(seen + unseen == 0, TIE, rest)
        return np.asarray((TIE * same + (seen + unseen) * rest) / (same + seen + unseen))


def _list_terms(guess: float, said: float | None, alike: bool) -> list[float]:
    if alike:
        return [1.0, *[0.0] * 8]
    if said is None:
        return [*[0.0] * 6, 1.0, guess, guess**2]
    return [0.0, 1.0, said, guess, said * guess, guess**2, 0.0, 0.0, 0.0]
