"""Several primaries at once: Holm's step-down (1979), which keeps the chance of any false claim at α.

Each hypothesis is asked at α/m; whenever one is rejected the rest are asked again at α over those that are left. Asked
with group-sequential boundaries at that level this holds over all planned looks too (Maurer and Bretz 2013, "Multiple
testing in group sequential trials using graphical approaches"): a boundary is then recomputed from the first look on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def step_down(tests: Sequence[Callable[[float], bool]], alpha: float) -> tuple[tuple[bool, float], ...]:
    """Which hypotheses are rejected, each with the level at which it was asked last.

    Args:
        tests: one a hypothesis: whether it is rejected at a level. What a smaller level rejects a larger one must.
        alpha: of all of them together.
    """
    rejected = [False] * len(tests)
    levels = [0.0] * len(tests)
    while not all(rejected):
        level = alpha / rejected.count(False)
        levels = [levels[place] if done else level for place, done in enumerate(rejected)]
        fresh = [place for place, test in enumerate(tests) if not rejected[place] and test(level)]
        if not fresh:
            break
        for place in fresh:
            rejected[place] = True
    return tuple(zip(rejected, levels, strict=True))


def adjust_p_values(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order given: the smallest α at which each would be rejected."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return tuple(adjusted)
