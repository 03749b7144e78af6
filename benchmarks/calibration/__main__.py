"""How often the shipped analysis errs, and how soon it finds harm, on simulated crowds of 4,000 users over 14 days.

`python -m benchmarks.calibration [--quick | --full] [--runs 1000] [--only WORD] [--json FILE]`; 1,000 runs a regime,
`--full` 10,000. Seeds are fixed; beside each goal stands its Monte Carlo slack, three standard errors of the goal's own
share at that many runs. Identical arms may be called different in at most 5 % of experiments, over all looks together:
- *decided*: a primary is called better at a planned look (daily; in the ramp at a stage's end) or worse at any look
  (daily, hourly);
- *interval*: the always-valid interval misses the truth at any look: coverage at every stopping time.
The reference design's own analysis, a t-test on every response looked at daily, runs on the same draws.

Assumed traffic, which the goals leave open: for identical arms half a rating a user and day (where an allocation
learns: one, of users who join over the whole time); for detection and clearance 6 requests a user and day, 2 of them
rated. Ratings and latencies are correlated 0.2 within a user and errors 0.02 (they come from machines).
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks import Goal, report
from benchmarks.calibration.regimes import REGIMES, TRAFFIC, Bound, Regime

SEED = 8
CHUNK = 125  # runs whose arrays are in memory at once: some 20 MB each


def measure(quick: bool, runs: int | None = None, full: bool = False, only: str = "") -> list[Goal]:
    """Plays every regime, or those with a word in their name, and says each as it ends."""
    runs = runs or (100 if quick else 10_000 if full else 1000)
    chosen = [(place, regime) for place, regime in enumerate(REGIMES) if only.lower() in regime.name.lower()]
    _say(f"{runs:,} runs a regime of 4,000 users; detection and clearance assume {TRAFFIC}")
    goals: list[Goal] = []
    for done, (place, regime) in enumerate(chosen, 1):
        began = time.process_time()
        fresh = _play(regime, place, runs)
        goals += fresh
        spent = f"{time.process_time() - began:.1f} s of CPU, {time.process_time():.0f} in all"
        told = "; ".join(f"{goal.name.removeprefix(regime.name + ', ')} {goal.figure:.4g}" for goal in fresh)
        short = "" if all(goal.holds for goal in fresh) else " SHORT"
        _say(f"[{done}/{len(chosen)}] {regime.name}:{short} {told} ({spent})")
    return goals


def _play(regime: Regime, place: int, runs: int) -> list[Goal]:
    parts = []
    for low in range(0, runs, CHUNK):
        generators = [np.random.default_rng([SEED, place, run]) for run in range(low, min(runs, low + CHUNK))]
        parts.append(regime.play(generators))
        if runs > 8 * CHUNK and (low // CHUNK) % 8 == 7:
            _say(f"  {regime.name}: {min(runs, low + CHUNK):,} of {runs:,}")
    return [judge(regime.name, bound, np.concatenate([part[bound.told] for part in parts])) for bound in regime.bounds]


def judge(name: str, bound: Bound, told: NDArray[np.generic]) -> Goal:
    """What was told of each run, against its bound with the slack of so many runs."""
    if bound.median:
        return Goal(f"{name}, {bound.text}", float(np.median(told.astype(float))), bound.share, at_most=bound.at_most)
    slack = 3 * math.sqrt(bound.share * (1 - bound.share) / len(told))
    limit = bound.share + slack if bound.at_most else bound.share - slack
    text = f"{name}, {bound.text} ({len(told):,} runs, {bound.share:g} and slack {slack:.3f})"
    return Goal(text, float(told.astype(float).mean()), limit, at_most=bound.at_most)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    more = {
        "runs": {"type": int, "help": "experiments a regime (1,000; with --quick 100, with --full 10,000)"},
        "full": {"action": "store_true", "help": "10,000 experiments a regime"},
        "only": {"default": "", "help": "regimes with this word in their name"},
    }
    sys.exit(report(measure, __doc__ or "", more))
