"""What a look found of one metric, with the interval that holds at every look together.

Evidence of an earlier version has no interval: it is made from the standard error as `analysis.always_valid` does, with
τ by the margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flytewheel.experiment.analysis.always_valid import bound_difference
from flytewheel.experiment.analysis.e_values import choose_tau, plan_effect
from flytewheel.experiment.metrics import METRICS

OUTCOMES = ("harm", "hold", "cleared", "better", "worse", "watch")
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Finding:
    """A metric at one look. `difference` is treatment − control, `low` and `high` its always-valid interval; `margin`
    has the sign of the bad direction; `relative` is the margin as a part of the control's rate, where it was given so.
    """

    metric: str
    outcome: str
    reason: str
    control: float | None
    treatment: float | None
    difference: float | None
    low: float | None
    high: float | None
    margin: float | None
    relative: float | None
    worse: Literal["lower", "higher"]
    quantile: bool = False
    role: str = "guardrail"

    @property
    def harm_side(self) -> int:
        """1 where more is worse, −1 where less is."""
        return 1 if self.worse == "higher" else -1


def read_findings(evidence: Mapping[str, Any], body: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The findings in a stored evidence.

    Args:
        evidence: of a tick.
        body: the experiment's, where guardrails and level stand.
    """
    declared = (*(body.get("guardrails") or ()), *(body.get("metrics") or ()))
    asked = {one.get("metric") or one.get("name"): one for one in declared if isinstance(one, Mapping)}
    level = _read(body.get("confidence_level")) or _LEVEL
    found = (*(evidence.get("guardrails") or ()), *(evidence.get("primaries") or ()))
    return tuple(
        _read_finding(one, asked.get(one.get("metric")) or {}, level) for one in found if isinstance(one, Mapping)
    )


def _read_finding(found: Mapping[str, Any], asked: Mapping[str, Any], level: float) -> Finding:
    name = str(found.get("metric"))
    metric = METRICS.get(name)
    relative, margin = _read(asked.get("relative_margin")), _read(found.get("margin"))
    control = _read(found.get("control"))
    tail = metric.tail if metric is not None else None
    planned = plan_effect(tail, relative) if tail is not None and relative else abs(margin or 0.0)
    difference, error = _read(found.get("difference")), _read(found.get("standard_error"))
    low, high = _read_interval(found.get("interval"))
    if low is None and difference is not None and error and planned > 0:
        half = float(bound_difference(error**2, tau=choose_tau(planned, 1 - level), alpha=1 - level))
        low, high = difference - half, difference + half
    outcome = str(found.get("outcome"))
    return Finding(
        name,
        outcome if outcome in OUTCOMES else "hold",
        str(found.get("reason") or ""),
        control,
        _read(found.get("treatment")),
        difference,
        low,
        high,
        margin,
        relative,
        metric.worse if metric is not None else "higher" if (margin or 0.0) >= 0 else "lower",
        tail is not None,
        str(found.get("role") or "guardrail"),
    )


def _read_interval(value: Any) -> tuple[float | None, float | None]:
    if isinstance(value, Mapping):
        return _read(value.get("low")), _read(value.get("high"))
    if isinstance(value, list | tuple) and len(value) == 2:
        return _read(value[0]), _read(value[1])
    return None, None


def _read(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
