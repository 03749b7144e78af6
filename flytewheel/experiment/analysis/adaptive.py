"""What a user weighs whose arm was given by what the arms had earned before.

An allocation that learns meets an arm less after bad luck, so plain totals are biased and vary by their own past.
Weighed with w = √(e(1 − e))/e(own arm), e being the logged probability of the treatment, both arms' totals are those of
one crowd: Σ w·1{k}·(X − R_k·N) has terms of mean 0 given everything before, and the difference's terms have the same
variance whatever e was, (1 − e)·σ_t² + e·σ_c². So it stays normal (Hadad, Hirshberg, Zhan, Wager and Athey 2021,
"Confidence intervals for policy evaluation in adaptive experiments", eq. 7, the weights of constant allocation, here
self-normalised instead of augmented, which a ratio needs), and boundaries and mixtures hold as for a fixed split.

What the estimate says is the effect on users weighed by √(e(1 − e)): all alike for identical arms, and, where a policy
looks at the context, more on those with whom it was not sure. It takes both probabilities: with two arms the other one
is the rest. With more arms only the own one is in the log, and w = 1/e (Hájek's estimate): the same expectation, a
variance that moves with e.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def weigh_users(propensities: NDArray[np.float64], *, arms: int = 2) -> NDArray[np.float64]:
    """Weights of users by the probability of the arm that each was given, `(users,)`; NaN where it is not in (0, 1)."""
    known = (propensities > 0) & (propensities < 1)
    chances = np.where(known, propensities, 0.5)
    weights = np.sqrt((1 - chances) / chances) if arms == 2 else 1 / chances
    return np.where(known, weights, np.nan)
