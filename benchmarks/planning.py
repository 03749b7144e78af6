"""What `flytewheel experiments plan` foretells, against traffic drawn user by user: probabilities and expected days.

Designs over shares, returning rates, intra-user correlations and harms, 10,000 runs each (latency: 1,000), with a look
a day for 14 days, counted and weighed by the shipped arithmetic. Seeds are fixed; a probability of 10,000 runs has a
standard error of at most 0.5 points, one of 1,000 runs of 1.6.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from benchmarks import Goal, report
from flytewheel.experiment.planning.guarding import follow
from flytewheel.experiment.planning.plan import expect_days
from flytewheel.experiment.planning.traffic import Baseline, Traffic
from flytewheel.recipe import Guardrail
from tests.experiment.planning.simulated import ERRORS, LOOKS, RULES, SLOW, THUMBS, TRAFFIC, first, simulate

POINTS, RATIO = 3.0, 0.2


def measure(quick: bool) -> list[Goal]:
    """The worst of all designs; at `quick` with a tenth of the runs and √10 times the bound on probabilities."""
    wider = 10**0.5 if quick else 1.0
    worst_points, worst_slow, worst_days = 0.0, 0.0, 0.0
    for number, (guardrail, traffic, share, harm) in enumerate(list_designs()):
        slow = guardrail is SLOW
        runs = (1000 if slow else 10_000) // (10 if quick else 1)
        planned = follow(guardrail, traffic, RULES, share=share, looks=LOOKS, harm=harm)
        seen = simulate(guardrail, traffic, share=share, days=len(LOOKS), runs=runs, seed=number, harm=harm)
        ended = np.cumsum(seen.harmed | seen.cleared, axis=1) == 1
        for kind, happened, by in (
            ("cleared", seen.cleared & ended, planned.cleared),
            ("harm", seen.harmed & ended, planned.harm),
        ):
            drawn = np.array([happened[:, : look + 1].any(axis=1).mean() for look in range(len(LOOKS))])
            points = 100 * float(np.abs(drawn - by).max())
            worst_points, worst_slow = (
                (worst_points, max(worst_slow, points)) if slow else (max(worst_points, points), worst_slow)
            )
            expected, (_, day) = expect_days(LOOKS, by), first(happened, LOOKS)
            off = 0.0 if expected is None else abs(expected / day - 1)
            worst_days = max(worst_days, off)
            if by[-1] > 0.01:
                told = "" if expected is None else f", {expected:.2f} days against {day:.2f}"
                print(f"{guardrail.metric} {share:.0%} harm {harm:g} {kind}: off by {points:.1f} points{told}")
    return [
        Goal("rates: probability off by, points", worst_points, POINTS * wider),
        Goal("latency: probability off by, points", worst_slow, POINTS * (10**0.5 if quick else 1.6)),
        Goal("expected days off by, part", worst_days, RATIO),
    ]


def list_designs() -> list[tuple[Guardrail, Traffic, float, float]]:
    """Guardrail, traffic, share and harm of each."""
    often = replace(TRAFFIC, returning=0.6, users_per_day=400)
    alike = replace(
        TRAFFIC, baselines={**TRAFFIC.baselines, "thumbs_up_rate": Baseline(0.7, counted=0.4, correlation=0.5)}
    )
    return [
        (THUMBS, TRAFFIC, 0.25, 0.0),
        (THUMBS, TRAFFIC, 0.25, 0.35),
        (THUMBS, often, 0.1, 0.3),
        (THUMBS, often, 0.5, 0.0),
        (THUMBS, alike, 0.5, 0.0),
        (THUMBS, alike, 0.25, 0.4),
        (ERRORS, TRAFFIC, 0.5, 0.0),
        (ERRORS, TRAFFIC, 0.25, 0.08),
        (ERRORS, often, 0.1, 0.06),
        (SLOW, TRAFFIC, 0.5, 0.0),
        (SLOW, TRAFFIC, 0.25, 0.6),
    ]


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
