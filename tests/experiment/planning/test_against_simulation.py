"""What planning foretells against traffic that is drawn user by user, 2,000 runs each.

Stated tolerance: probabilities within 3 points (2,000 runs have a standard error of at most 1.1), expected days within
±20 %. `python -m benchmarks.planning` asks the same of more designs with 10,000 runs.
"""

from __future__ import annotations

import numpy as np
import pytest

from flytewheel.experiment.analysis.sequential import find_boundaries
from flytewheel.experiment.planning.guarding import follow
from flytewheel.experiment.planning.plan import expect_days
from flytewheel.experiment.planning.primary import find_power, inform
from flytewheel.recipe import Guardrail
from tests.experiment.planning.simulated import ERRORS, LOOKS, RULES, SLOW, THUMBS, TRAFFIC, first, simulate

POINTS, DAYS = 0.03, 0.2


@pytest.mark.parametrize(
    ("guardrail", "share", "harm", "runs"),
    [
        (THUMBS, 0.25, 0.0, 2000),
        (THUMBS, 0.25, 0.35, 2000),
        (ERRORS, 0.5, 0.0, 2000),
        (ERRORS, 0.25, 0.08, 2000),
        (SLOW, 0.5, 0.0, 600),
    ],
    ids=["thumbs", "thumbs-harmed", "errors", "errors-harmed", "latency"],
)
def test_days_and_probabilities_are_those_of_drawn_traffic(
    guardrail: Guardrail, share: float, harm: float, runs: int
) -> None:
    planned = follow(guardrail, TRAFFIC, RULES, share=share, looks=LOOKS, harm=harm)
    seen = simulate(guardrail, TRAFFIC, share=share, days=len(LOOKS), runs=runs, seed=7, harm=harm)
    # Whichever side passes first ends a run.
    ended = np.cumsum(seen.harmed | seen.cleared, axis=1) == 1
    for name, happened, by in (
        ("cleared", seen.cleared & ended, planned.cleared),
        ("harm", seen.harmed & ended, planned.harm),
    ):
        share_of_runs, day = first(happened, LOOKS)
        slack = POINTS * (2000 / runs) ** 0.5
        for look in (4, 8, 13):
            got = happened[:, : look + 1].any(axis=1).mean()
            print(name, look + 1, f"planned {by[look]:.3f} drawn {got:.3f}")
            assert by[look] == pytest.approx(got, abs=slack), name
        expected = expect_days(LOOKS, by)
        if expected is not None and share_of_runs > 0.5:
            print(name, f"days planned {expected:.2f} drawn {day:.2f}")
            assert expected == pytest.approx(day, rel=DAYS), name


def test_the_primary_s_power_is_that_of_drawn_traffic() -> None:
    """Three stages of five days at 25, 50 and 50 %, each drawn anew as a stratum, read together at their ends."""
    effect = 0.1  # points, better
    stages = [(0.25, 5.0), (0.5, 5.0), (0.5, 5.0)]
    information = inform("thumbs_up_rate", TRAFFIC, stages)
    bounds = find_boundaries(information, [now / information[-1] for now in information], alpha=0.05)
    drawn = [
        simulate(THUMBS, TRAFFIC, share=share, days=5, runs=2000, seed=seed, harm=-effect / 0.7)
        for seed, (share, _) in enumerate(stages)
    ]
    total, weight = np.zeros(2000), np.zeros(2000)
    found = np.zeros(2000, dtype=bool)
    for stage, seen in enumerate(drawn):
        total += seen.z[:, -1] * np.sqrt(seen.information[:, -1])
        weight += seen.information[:, -1]
        found |= total / np.sqrt(weight) >= bounds[stage]
        planned = find_power("thumbs_up_rate", TRAFFIC, stages[: stage + 1], bounds[: stage + 1], effect)
        print(stage, f"planned {planned:.3f} drawn {found.mean():.3f}")
        assert planned == pytest.approx(found.mean(), abs=POINTS)
