"""An interval of a difference that holds at every look: the normal mixture's confidence sequence.

D ± SE·√((1 + 1/(τ²I))·(2 ln(1/α) + ln(1 + τ²I))), I = 1/SE² (Robbins 1970; Johari, Pekelis and Walsh 2015; asymptotic
form: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, "Time-uniform central limit theory", eq. 9, where τ²I is
their nρ²). It covers the true difference at all looks together with probability 1 − α; "no difference" has the e-value
(1 + τ²I)^(−½)·exp(D²·I·τ²I/(2(1 + τ²I))). τ is fixed before the data (`e_values.choose_tau`).
"""

from __future__ import annotations

import math

import numpy as np

from flytewheel.experiment.analysis.records import Floats


def bound_difference(variance: Floats, *, tau: Floats, alpha: float) -> Floats:
    """Half the width of the interval around a difference with this variance."""
    scale = tau * tau / variance
    half: Floats = np.sqrt(variance * (1 + 1 / scale) * (np.log1p(scale) - 2 * math.log(alpha)))
    return half


def log_e_difference(difference: Floats, variance: Floats, *, tau: Floats) -> Floats:
    """ln E against "no difference"; 1/E is a p-value that may be read at any look."""
    scale = tau * tau / variance
    log_e: Floats = 0.5 * (difference * difference / variance * scale / (1 + scale) - np.log1p(scale))
    return log_e
