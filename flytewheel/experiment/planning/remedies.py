"""What would let a design decide that cannot: the smallest change of one thing, the others left as they are.

Each is found by bisection over the same forecast; one that does not help within its reach is `None`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from flytewheel.experiment.planning.plan import (
    WANTED,
    Remedies,
    find_through,
    list_shares,
    with_margin,
    with_share,
    with_users,
)
from flytewheel.experiment.planning.traffic import Traffic
from flytewheel.recipe import AbTestingSpec

_WIDER = (1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 8.0)  # times
_MORE_USERS, _LONGER = 1000.0, 20.0  # times, at most
_CLOSE = 1.02


def find_remedies(ab_testing: AbTestingSpec, traffic: Traffic, *, max_days: float) -> Remedies:
    """Searches for what would do."""
    first = list_shares(ab_testing)[0]

    def shared(share: float) -> bool:
        return find_through(with_share(ab_testing, share), traffic, max_days=max_days) >= WANTED

    def widened(factor: float) -> bool:
        return find_through(widen(ab_testing, factor), traffic, max_days=max_days) >= WANTED

    def crowded(factor: float) -> bool:
        more = with_users(traffic, traffic.users_per_day * factor)
        return find_through(ab_testing, more, max_days=max_days) >= WANTED

    def longer(factor: float) -> bool:
        return find_through(ab_testing, traffic, max_days=max_days * factor) >= WANTED

    share = search(lambda factor: shared(first * factor), 0.5 / first) if first < 0.5 else None
    # A margin can be too wide as well: beyond it there is no room left in [0, 1], and nothing could be told.
    widest = next((factor for factor in _WIDER if widened(factor)), 1.0)
    margin = search(widened, widest)
    users, days = search(crowded, _MORE_USERS), search(longer, _LONGER)
    return Remedies(
        None if share is None else min(0.5, math.ceil(100 * first * share) / 100),
        margin,
        None if margin is None else list_margins(widen(ab_testing, margin)),
        None if users is None else float(math.ceil(traffic.users_per_day * users)),
        None if days is None else float(math.ceil(max_days * days)),
    )


def search(does: Callable[[float], bool], most: float) -> float | None:
    """The smallest factor in [1, most] that does, to 2 %; `None` where the largest does not."""
    if not does(most):
        return None
    low, high = 1.0, most
    while high > low * _CLOSE:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if does(middle) else (middle, high)
    return high


def widen(ab_testing: AbTestingSpec, factor: float) -> AbTestingSpec:
    """The design with all margins so many times as wide, none above 1."""
    for metric, margin in list_margins(ab_testing).items():
        ab_testing = with_margin(ab_testing, metric, min(1.0, float(f"{margin * factor:.3g}")))
    return ab_testing


def list_margins(ab_testing: AbTestingSpec) -> dict[str, float]:
    """Each guardrail's margin, in its own unit."""
    return {
        guardrail.metric: guardrail.relative_margin
        if guardrail.relative_margin is not None
        else guardrail.absolute_margin or 0.0
        for guardrail in ab_testing.guarded
    }
