"""Abuse: colluders are quarantined and people stay, over seeds; and what it costs at 1.5 million reactions.

Every attack runs in three honest worlds with 20 seeds (`--quick`: 3). Printed is the worst seed: the share of the
colluding votes in quarantine, and of the honest people's votes that stay. Attacks that escape by construction are
listed with the others, without a goal.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from benchmarks import Goal, report
from benchmarks import crowds as draw
from flytewheel.curation.abuse import find_abuse
from flytewheel.recipe.curation import AbuseSpec

DAY_S = 86_400.0
World = Callable[[Generator], list[draw.Log]]


def _attack(users: int, votes: int, *, span_s: float = DAY_S, **more: float) -> World:
    return lambda rng: [draw.campaign(rng, users, votes, span_s=span_s, **more)]  # type: ignore[arg-type]


def _hide(share: float, *, theirs: bool = False) -> World:
    def make(rng: Generator) -> list[draw.Log]:
        attack = draw.campaign(rng, 50, 20, span_s=DAY_S, theirs=theirs)
        return [attack, draw.camouflage(rng, attack, share=share)]

    return make


HONEST: dict[str, World] = {
    "500 people": lambda rng: [draw.people(rng, 500)],
    "20,000 people": lambda rng: [draw.people(rng, 20_000)],
    "popular questions, 3 % dissent": lambda rng: [draw.people(rng, 2000, popular=0.8, dissent=0.03)],
    "nearly all liked": lambda rng: [draw.people(rng, 2000, popular=0.6, liked=0.95, dissent=0.05)],
    "launch day alone": lambda rng: [draw.launch(rng, 500)],
    "launch day, 6 suggested questions": lambda rng: [draw.people(rng, 500), draw.launch(rng, 500, questions=6)],
    "class of 30, rates 70 %": lambda rng: [draw.people(rng, 500), draw.classroom(rng, 30)],
    "class of 60, rates all": lambda rng: [draw.people(rng, 500), draw.classroom(rng, 60, rate=1.0, dissent=0.06)],
    "class of 30, easy questions": lambda rng: [
        draw.people(rng, 500),
        draw.classroom(rng, 30, rate=0.9, liked=0.97, dissent=0.06),
    ],
    "class of 60, 4 answers a question": lambda rng: [draw.people(rng, 500), draw.classroom(rng, 60, answers=4)],
    "departments": lambda rng: [draw.departments(rng, 800)],
    "200 votes a week": lambda rng: [draw.people(rng, 500), draw.power(rng, 30)],
    "outage": lambda rng: [draw.people(rng, 500), draw.outage(rng, 200)],
    "outage, 15 % known": lambda rng: [draw.people(rng, 500), draw.outage(rng, 200, known=0.15)],
}
BACKGROUNDS: dict[str, World] = {
    "500": lambda rng: [draw.people(rng, 500)],
    "5,000": lambda rng: [draw.people(rng, 5000)],
    "launch + class": lambda rng: [draw.people(rng, 1000), draw.launch(rng, 500), draw.classroom(rng, 30)],
}
ATTACKS: dict[str, World] = {
    "50 × 20 in ten minutes": _attack(50, 20, span_s=600),
    "50 × 20 in an hour, up": _attack(50, 20, span_s=3600, sign=1),
    "50 × 20 over a week": _attack(50, 20, span_s=draw.WEEK_S),
    "50 × 20 on one prompt": _attack(50, 20, targets=1),
    "50 × 20 on four prompts, other answers": _attack(50, 20, targets=4, variants=60),
    "50 × 20 of 30 targets": _attack(50, 20, targets=30),
    "50 × 20 of 40 targets, up": _attack(50, 20, targets=40, sign=1),
    "50 × 20 of 50 targets": _attack(50, 20, targets=50),
    "50 × 20 with 10 % noise": _attack(50, 20, noise=0.1),
    "50 × 20 against popular answers": _attack(50, 20, theirs=True),
    "20 × 5": _attack(20, 5),
    "50 × 5": _attack(50, 5),
    "200 × 5": _attack(200, 5),
    "20 × 50 over a week": _attack(20, 50, span_s=draw.WEEK_S),
    "200 × 50 over a week": _attack(200, 50, span_s=draw.WEEK_S),
    "half camouflaged": _hide(0.5),
    "all camouflaged": _hide(1.0),
    "half camouflaged, popular answers": _hide(0.5, theirs=True),
    "scripts, own prompts, ± 2 s": lambda rng: [draw.scripted(rng, 50, 20)],
    "scripts, own prompts, ± 5 s": lambda rng: [draw.scripted(rng, 50, 20, jitter_s=5)],
    "an hour each, own prompts": lambda rng: [draw.fresh(rng, 50, 20)],
    "one pasted comment": lambda rng: [draw.pasted(rng, 50, 20)],
    "ten pasted comments": lambda rng: [draw.pasted(rng, 50, 20, texts=10)],
    "50 throwaways on one answer": lambda rng: [draw.throwaway(rng, 50)],
    "50 throwaways on one answer, up": lambda rng: [draw.throwaway(rng, 50, sign=1)],
}
ESCAPES: dict[str, World] = {
    "of 100 targets (too little in common)": _attack(50, 20, targets=100),
    "5 % noise, up (as people vote)": _attack(50, 20, noise=0.05, sign=1),
    "for popular answers (as people vote)": _attack(50, 20, theirs=True, sign=1),
    "an hour each, own prompts, up": lambda rng: [draw.fresh(rng, 50, 20, sign=1)],
    "scripts, own prompts, ± 60 s": lambda rng: [draw.scripted(rng, 50, 20, jitter_s=60)],
    "contrary, nobody to compare with": lambda rng: [draw.contrary(rng, 50, 20)],
    "9 accounts": _attack(9, 20),
}


def measure(quick: bool) -> list[Goal]:
    """All attacks in all backgrounds, all honest worlds, one flood, and the cost of a large window."""
    seeds = range(3 if quick else 20)
    goals = []
    kept_least = 1.0
    for name, world in HONEST.items():
        kept = min(_judge(world, (), seed)[1] for seed in seeds)
        kept_least = min(kept_least, kept)
        print(f"{name:42s} kept {kept:.4f}")
    goals.append(Goal("honest worlds: least share of votes that stay", kept_least, 0.99, at_most=False))
    for attacks, counts in ((ATTACKS, True), (ESCAPES, False)):
        for name, attack in attacks.items():
            line = f"{name:42s}"
            for background, world in BACKGROUNDS.items():
                found = [_judge(world, (attack,), seed) for seed in seeds]
                caught, kept = min(one[0] for one in found), min(one[1] for one in found)
                line += f"  {background}: {caught:.3f} / {kept:.4f}"
                if counts:
                    goals.append(Goal(f"{name} among {background}: quarantined", caught, 0.95, at_most=False))
                goals.append(Goal(f"{name} among {background}: honest votes kept", kept, 0.99, at_most=False))
            print(line if counts else f"{line}  (escapes)")
    return [*_gather(goals), *_measure_cost(quick)]


def _judge(world: World, attacks: tuple[World, ...], seed: int) -> tuple[float, float]:
    """Share of colluding votes in quarantine, and of votes of accounts that never collude that stay."""
    rng = np.random.default_rng(seed)
    logs = world(rng)
    for attack in attacks:
        logs += attack(rng)
    votes, guilty = draw.gather(logs, rng)
    found = find_abuse(votes, AbuseSpec()) > 0
    people = ~np.isin(votes.user, votes.user[guilty])
    return float(found[guilty].mean()) if guilty.any() else 1.0, 1 - float(found[people].mean())


def _gather(goals: list[Goal]) -> list[Goal]:
    """Goals that hold are told as one figure, the worst; those that fall short, each."""
    short = [goal for goal in goals if not goal.holds]
    summary = []
    for ending, bound in (("quarantined", 0.95), ("kept", 0.99)):
        figures = [goal.figure for goal in goals if goal.name.endswith(ending)]
        summary.append(
            Goal(f"worst of all attacks, backgrounds and seeds: {ending}", min(figures), bound, at_most=False)
        )
    return [*summary, *short]


def _measure_cost(quick: bool) -> list[Goal]:
    rng = np.random.default_rng(0)
    logs = [
        draw.people(rng, 10_000 if quick else 185_000),
        draw.launch(rng, 5000),
        draw.campaign(rng, 50, 20, span_s=DAY_S),
        draw.campaign(rng, 1, 100_000, span_s=draw.WEEK_S, targets=3000),
    ]
    votes, _ = draw.gather(logs, rng)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = find_abuse(votes, AbuseSpec())
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    flood = votes.user == draw.ATTACKERS
    return [
        Goal(f"CPU seconds for {len(votes):,} reactions", seconds, 10),
        Goal("memory beside the columns, GiB", grown, 1),
        Goal("one account's 100,000 votes: quarantined", float(np.mean(found[flood] > 0)), 0.999, at_most=False),
    ]


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
