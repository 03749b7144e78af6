"""The words of an analysis: what was planned (`Design`), what was found (`Finding`), and all of a look (`Analysis`).

Every figure is a float or None, never NaN: None is "could not be had", and the reason beside it says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flytewheel.experiment.metrics.declared import Metric, Role

Outcome = Literal["harm", "cleared", "hold", "better", "worse", "watch"]
Floats = float | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Design:
    """What was fixed before the data. `looks` is the number of planned looks of the primaries; `planned_information`
    (1/SE² at the end, by metric) spends by information, and without it by the number of the look. `means` names the
    metrics that count no events in [0, 1]: their variance and their burn-in have no bound from a rate.
    """

    metrics: tuple[Metric, ...]
    confidence_level: float = 0.95
    burn_in_users: int = 50
    looks: int = 1
    planned_information: Mapping[str, float] = field(default_factory=dict)
    control: str = "control"
    means: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PastLook:
    """What must be kept of a planned look for those that follow: the information that it had, and its z."""

    look: int
    metric: str
    arm: str
    information: float
    z: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What one metric says of one arm against the control. Rates and `difference` (treatment − control) are the
    metric's own; `margin` is δ₀, with its sign; e-values are natural logarithms. `reason` holds no figures, so that
    the same finding reads the same at every look.

    `interval` holds at every look (a confidence sequence), whatever the role. `boundary` is the z, with the good
    direction up, that a planned look asks of a primary; its `log_e_harm` is against no difference. `theta` is CUPED's,
    `variance_kept` the part of the variance that it left. `cap` is the largest denominator that a user could have,
    `capped_users` how many had more.
    """

    metric: str
    outcome: Outcome
    reason: str
    control: float | None = None
    treatment: float | None = None
    difference: float | None = None
    standard_error: float | None = None
    margin: float | None = None
    log_e_harm: float | None = None
    log_e_cleared: float | None = None
    control_users: int = 0
    treatment_users: int = 0
    expected_events: float | None = None
    role: Role = "guardrail"
    arm: str = "treatment"
    interval: tuple[float, float] | None = None
    information: float | None = None
    z: float | None = None
    boundary: float | None = None
    theta: float | None = None
    variance_kept: float | None = None
    cap: float | None = None
    capped_users: int = 0
    strata: int = 1


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Users an arm against the shares, of one stage; `router` is None for all of them together."""

    stage: int
    users: Mapping[str, int]
    shares: Mapping[str, float]
    log_e: float | None
    mismatch: bool
    router: str | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """One look. `look` is the planned look that it is, 0 between them; `users` are those of the present stage."""

    look: int
    users: Mapping[str, int]
    findings: tuple[Finding, ...]
    sample_ratios: tuple[SampleRatio, ...]

    @property
    def mismatch(self) -> bool:
        return any(ratio.mismatch for ratio in self.sample_ratios)

    def of(self, role: Role) -> tuple[Finding, ...]:
        """The findings of one role."""
        return tuple(found for found in self.findings if found.role == role)

    def to_history(self) -> tuple[PastLook, ...]:
        """What later planned looks need of this one; nothing of a look between them."""
        return tuple(
            PastLook(self.look, found.metric, found.arm, found.information, found.z)
            for found in self.of("primary")
            if self.look and found.information is not None and found.z is not None
        )
