"""What allocation costs and earns on problems of the literature: regret of Thompson, ε-greedy and LinUCB.

Bernoulli problems: Kaufmann, Korda and Munos 2012 ("Thompson sampling: an asymptotically optimal finite-time
analysis", two arms 0.20 and 0.25; ten arms 0.10, 3 × 0.05, 3 × 0.02, 3 × 0.01), and Chapelle and Li 2011 (ten arms, 0.5
and nine times 0.4). No policy's regret can grow slower than Σ Δ/KL(μ, μ*) · ln t for long (Lai and Robbins 1985): the
slope is measured over the last factor of ten of users. Contexts: three kinds of users, each best served by another of
three arms, in the features that the router logs.

The policies are those of `flytewheel.experiment.allocation`; only the users are made up. Users come in batches of 4 %
of those seen, as posteriors that are refreshed now and then have it. A floor of 10 % costs regret linear in the users;
that is its price, and it stands beside the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks import Goal, report
from flytewheel.experiment.allocation.features import make_context
from flytewheel.experiment.allocation.policies import (
    Floats,
    match_best,
    match_highest,
    mix_floor,
    score_greedy,
    score_linucb,
)

SLOPE, FLOOR, SEED = 1.5, 0.1, 20120
PROBLEMS = {
    "two arms 0.25/0.20": (0.25, 0.20),
    "ten arms 0.10 … 0.01": (0.10, *[0.05] * 3, *[0.02] * 3, *[0.01] * 3),
    "ten arms 0.5/0.4": (0.5, *[0.4] * 9),
}
_BATCH = 0.04

Matching = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean regret over the runs, in successes, after each number of users."""

    users: Floats
    regret: Floats

    @property
    def slope(self) -> float:
        """Regret for each unit of ln t over the last factor of ten."""
        start = int(np.searchsorted(self.users, self.users[-1] / 10))
        grown = float(self.regret[-1] - self.regret[start])
        return grown / math.log(float(self.users[-1] / self.users[start]))


def measure(quick: bool) -> list[Goal]:
    """Slopes of Thompson, what ε and the floor cost, and what a context is worth."""
    users, runs = (100_000, 40) if quick else (1_000_000, 300)
    goals = []
    for name, means in PROBLEMS.items():
        bound = bound_slope(means)
        curves = {
            "thompson": play(means, match_best, users, runs),
            "thompson, floor": play(means, _floor_thompson, users, runs // 4),
            "ε-greedy": play(means, _match_greedy, users, runs),
            "even split": play(means, _split_evenly, users, 4),
        }
        print(f"{name}: Lai-Robbins slope {bound:.1f}, {users:,} users, {runs} runs")
        for policy, curve in curves.items():
            print(f"  {policy:<16} regret {curve.regret[-1]:10,.0f}   slope {curve.slope:10,.1f}")
        goals.append(Goal(f"Thompson's slope over Lai-Robbins', {name}", curves["thompson"].slope / bound, SLOPE))
        cheaper = curves["ε-greedy"].regret[-1] / curves["even split"].regret[-1]
        goals.append(Goal(f"ε-greedy's regret over an even split's, {name}", float(cheaper), 0.5))
    return [*goals, *measure_contexts(20_000 if quick else 50_000, 8 if quick else 20)]


def bound_slope(means: tuple[float, ...]) -> float:
    """Σ Δ/KL(μ, μ*) of the arms below the best (Lai and Robbins 1985)."""
    best = max(means)
    return sum((best - mean) / _diverge(mean, best) for mean in means if mean < best)


def play(means: tuple[float, ...], match: Matching, users: int, runs: int, seed: int = SEED) -> Curve:
    """Plays a policy on Bernoulli arms; all runs at once, a batch of users at a time."""
    chance = np.random.default_rng(seed)
    truth, gaps = np.array(means), max(means) - np.array(means)
    good, bad = np.zeros((runs, len(means))), np.zeros((runs, len(means)))
    seen, lost = [], []
    for total, size in _batches(users):
        counts = chance.multinomial(size, match(good, bad))
        successes = chance.binomial(counts, truth)
        good += successes
        bad += counts - successes
        seen.append(total)
        lost.append(float(((good + bad) @ gaps).mean()))
    return Curve(np.array(seen, float), np.array(lost))


def measure_contexts(users: int, runs: int) -> list[Goal]:
    """Regret of LinUCB against Thompson without contexts, both with the floor, and without it."""
    topics = ("billing", "search", "code")
    contexts = np.array(
        [make_context(("topic",), topic=topic, prompt_length=0, recent_reward=None) for topic in topics]
    )
    assert len(np.unique(contexts, axis=0)) == len(topics), "topics share a place"
    truth = np.array([[0.6, 0.4, 0.4], [0.4, 0.6, 0.4], [0.4, 0.4, 0.6]])  # (topics, arms)
    found = {}
    for name, floor in (("LinUCB", 0.0), ("LinUCB, floor", FLOOR)):
        found[name] = np.mean([_play_contexts(contexts, truth, users, floor, SEED + run) for run in range(runs)])
    blind = play_blind(truth, users, runs)
    print(f"three topics, each with an arm of its own that earns 0.6 and not 0.4; {users:,} users, {runs} runs")
    for name, regret in {**found, "Thompson without context": blind}.items():
        print(f"  {name:<26} regret {regret:10,.0f}")
    return [
        Goal("LinUCB's regret over Thompson's without context", float(found["LinUCB"] / blind), 0.3),
        Goal("the same with the floor", float(found["LinUCB, floor"] / blind), 0.5),
    ]


def play_blind(truth: Floats, users: int, runs: int) -> float:
    """Mean regret of Thompson that does not see the topic; every topic as often."""
    chance = np.random.default_rng(SEED)
    arms = truth.shape[1]
    good, bad, regret = np.zeros((runs, arms)), np.zeros((runs, arms)), np.zeros(runs)
    gaps = (truth.max(axis=1, keepdims=True) - truth).mean(axis=0)
    for _, size in _batches(users):
        counts = chance.multinomial(size, match_best(good, bad))
        successes = chance.binomial(counts, truth.mean(axis=0))
        good += successes
        bad += counts - successes
        regret += counts @ gaps
    return float(regret.mean())


def _play_contexts(contexts: Floats, truth: Floats, users: int, floor: float, seed: int) -> float:
    chance = np.random.default_rng(seed)
    (topics, arms), size = truth.shape, contexts.shape[1]
    moments, products, regret = np.zeros((arms, size, size)), np.zeros((arms, size)), 0.0
    gaps = truth.max(axis=1, keepdims=True) - truth
    for _, batch in _batches(users):
        shares = mix_floor(match_highest(score_linucb(moments, products, contexts)), floor)
        counts = chance.multinomial(chance.multinomial(batch, np.full(topics, 1 / topics)), shares)  # (topics, arms)
        successes = chance.binomial(counts, truth)
        moments += np.einsum("ta,ti,tj->aij", counts, contexts, contexts)
        products += np.einsum("ta,ti->ai", successes, contexts)
        regret += float((counts * gaps).sum())
    return regret


def _batches(users: int) -> Iterator[tuple[int, int]]:
    total = 0
    while total < users:
        size = min(users - total, max(1, int(_BATCH * total)))
        total += size
        yield total, size


def _match_greedy(good: Floats, bad: Floats) -> Floats:
    return mix_floor(match_highest(score_greedy(good, bad)), 0.1 / good.shape[-1])


def _floor_thompson(good: Floats, bad: Floats) -> Floats:
    return mix_floor(match_best(good, bad), min(FLOOR, 0.5 / good.shape[-1]))


def _split_evenly(good: Floats, _: Floats) -> Floats:
    return np.full_like(good, 1 / good.shape[-1])


def _diverge(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


if __name__ == "__main__":
    raise SystemExit(report(measure, __doc__ or ""))
