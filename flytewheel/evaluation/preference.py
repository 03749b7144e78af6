"""How often a model prefers the answer that people preferred.

The gated figure is the share of held-out pairs where the chosen answer has the higher log-probability *per token*
(SimPO's implicit reward, Meng et al. 2024, arXiv:2405.14734, eq. 4; without the division the shorter answer wins too
often). It asks nothing but the model itself, so candidate and champion stand on the same footing whatever each was
trained from. A tie is no preference and counts as wrong.

The reward that DPO itself maximises, log pi(y|x) - log pi_ref(y|x) summed over tokens (Rafailov et al. 2023,
arXiv:2305.18290, eq. 5), is reported beside it with the bare base as reference. It is no gate: for the bare base it is
zero on every pair, so a first champion has no such figure at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flytewheel.evaluation.perplexity import Score


def prefer_by_likelihood(chosen: Sequence[Score], rejected: Sequence[Score]) -> NDArray[np.float64]:
    """1 where the chosen answer is likelier per token than the rejected one, else 0; NaN where either is not finite.

    Returns:
        (pairs,)
    """
    return _wins([score.per_token for score in chosen], [score.per_token for score in rejected])


def prefer_by_reward(
    chosen: Sequence[Score],
    rejected: Sequence[Score],
    base_chosen: Sequence[Score],
    base_rejected: Sequence[Score],
) -> NDArray[np.float64]:
    """1 where DPO's implicit reward against the bare base is higher for the chosen answer, else 0; NaN where not
    finite.

    Returns:
        (pairs,)
    """
    return _wins(
        [ours.logprob_nats - base.logprob_nats for ours, base in zip(chosen, base_chosen, strict=True)],
        [ours.logprob_nats - base.logprob_nats for ours, base in zip(rejected, base_rejected, strict=True)],
    )


def _wins(chosen: Sequence[float], rejected: Sequence[float]) -> NDArray[np.float64]:
    return np.array(
        [
            float(first > second) if math.isfinite(first) and math.isfinite(second) else math.nan
            for first, second in zip(chosen, rejected, strict=True)
        ],
        dtype=np.float64,
    )
