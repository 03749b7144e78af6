"""What a look hands on: for each stage, metric and arm the users' sums. Everything after it is arithmetic on arrays.

The unit is the user (DESIGN §7), so requests are summed by user before anything is compared. Stages are strata: one
`StageCounts` each, never pooled. Sums of two parts of a log merge by adding them user by user. Where nothing more is
asked for than sums over users, an arm comes as these (`moments`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from flytewheel.experiment.metrics.moments import ArmMoments

ARMS: tuple[str, ...] = ("control", "treatment")


@dataclass(frozen=True, slots=True)
class UserSums:
    """Numerator and denominator of each user of one arm, both `(users,)`; users without a denominator are left out.

    `before` holds the same users' sums of the time before the experiment, in the same order (zeros for who was not
    there yet): the covariate of CUPED. None where it was not asked for. `keys`, `(users,)` in the same order, says who
    a user is across stages and arms; without them a combination of stages takes their dependence at its largest.
    `weights` is what each user counts for where an allocation learns (analysis/adaptive.py); None: all alike.
    """

    numerators: NDArray[np.float64]
    denominators: NDArray[np.float64]
    before: UserSums | None = None
    keys: NDArray[np.generic] | None = None
    weights: NDArray[np.float64] | None = None

    @property
    def users(self) -> int:
        return len(self.denominators)


ArmSums = UserSums | ArmMoments


@dataclass(frozen=True, slots=True)
class StageCounts:
    """A stage's counts. `users` is everyone seen, by arm; `sums` goes by metric, then by arm. Arms go by name.

    `stage` is the rollout's, `since` when it began, `shares` what each arm was drawn with (None: anew each time).
    `crossed` users met several of its arms and are in none of the sums.
    """

    users: Mapping[str, int]
    sums: Mapping[str, Mapping[str, ArmSums]]
    stage: int = 0
    since: datetime | None = None
    shares: Mapping[str, float | None] = field(default_factory=dict)
    crossed: int = 0
