"""What a winner is worth once it has won: a boundary that was crossed flatters the estimate (the winner's curse).

The estimate that crossed was drawn from a normal cut off at the boundary, so its likelihood is φ((D − δ)/SE)/SE over
P(|D/SE| ≥ c; δ), and δ maximises that (Zhong and Prentice 2008, "Bias-reduced estimators and confidence intervals for
odds ratios in genome-wide association studies"; Lee and Shen 2018 for experiments). A holdback, users kept on the old
version after the promotion, was not selected by anything: its difference H is unbiased by itself, and its likelihood
multiplies in. Corrected δ = argmax log φ((D − δ)/SE) − log P(|D/SE| ≥ c; δ) + log φ((H − δ)/SE_H).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr


@dataclass(frozen=True, slots=True)
class Corrected:
    """`naive` is what the experiment saw; `conditional` that without its luck; `holdback` the unbiased one of the users
    who were held back, None without any; `estimate` all of it together, never farther from 0 than the naive one alone
    or, with a holdback, than the larger of both.
    """

    naive: float
    conditional: float
    holdback: float | None
    estimate: float


def correct_winner(
    difference: float, error: float, boundary: float, *, holdback: tuple[float, float] | None = None
) -> Corrected:
    """Corrects the estimate of a difference whose |z| crossed `boundary`.

    Args:
        difference: treatment − control at the look that decided.
        error: its standard error, above 0.
        boundary: the |z| that was asked for there (for a confidence sequence: half its width over the error).
        holdback: difference and standard error among users held back afterwards.
    """
    conditional = _maximise(difference, error, boundary, None)
    if holdback is None:
        return Corrected(difference, conditional, None, conditional)
    return Corrected(difference, conditional, holdback[0], _maximise(difference, error, boundary, holdback))


def _maximise(difference: float, error: float, boundary: float, holdback: tuple[float, float] | None) -> float:
    def miss(effect: float) -> float:
        shift = effect / error
        seen = 0.5 * (difference / error - shift) ** 2
        crossed = _log_add(float(log_ndtr(shift - boundary)), float(log_ndtr(-shift - boundary)))
        held = 0.5 * ((holdback[0] - effect) / holdback[1]) ** 2 if holdback else 0.0
        return seen + crossed + held

    ends = [0.0, difference, holdback[0] if holdback else difference]
    room = error * 1e-6
    found = minimize_scalar(
        miss, bounds=(min(ends) - room, max(ends) + room), method="bounded", options={"xatol": error * 1e-9}
    )
    return float(found.x)


def _log_add(one: float, other: float) -> float:
    high = max(one, other)
    return high + math.log(math.exp(one - high) + math.exp(other - high))
