"""False alarms and finds of the triggers' figures, by the shipped functions on prompts of invented people.

Stable: weeks of the same people, no two alike (heavy users, own topics, nights and weekends, shares that wander), each
held against the one before it at several looks; a week with any figure fired is a false alarm. And a year at every six
hours: looks between are of the same rows. Planted: 20 % of the traffic moves to one topic, prompts half as long again,
5 % of the people write in a language that nobody wrote in; at the end of one week. Where too few people leave a shift
within chance, the smallest multiple of it that is found is shown. Others, for figures that these do not touch: all in
other words, votes and reactions down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks import Goal, report
from benchmarks.drift_look import measure_look
from benchmarks.drift_texts import Corpus, write_corpus
from benchmarks.drift_weeks import Shift, cut, draw_crowd, draw_week
from flytewheel.drift.findings import Finding, find_differences
from flytewheel.drift.samples import Sample
from flytewheel.drift.triggers import HOURS_A_YEAR
from flytewheel.recipe import DriftSpec

SPEC = DriftSpec()
ALPHA = (1 - SPEC.confidence_level) * 168 / HOURS_A_YEAR  # of a week's window, as `triggers` hands it out
SIZES = {"1k": 1_000, "10k": 10_000, "1M": 1_000_000}
STABLE, FOUND = 0.95, 0.95
PLANTED = {
    "topic mix +20 %": ("topics", Shift(topic=0.2)),
    "length x 1.5": ("prompt_length", Shift(steps=1)),
    "new language 5 %": ("languages", Shift(language=0.05)),
}
OTHERS = {
    "all reworded": ("wording", Shift(reworded=1.0)),
    "thumbs down by 15 %": ("quality", Shift(thumbs=0.15)),
    "reactions down by 40 %": ("feedback_rate", Shift(reactions=0.4)),
}
LADDERS = {
    "topic mix +20 %": [(f"+{share:.0%}", Shift(topic=share)) for share in (0.25, 0.3, 0.35, 0.4)],
    "length x 1.5": [(f"x {1.5**steps:.2f}", Shift(steps=steps)) for steps in (2, 3)],
    "new language 5 %": [(f"{share:.0%}", Shift(language=share)) for share in (0.1, 0.15, 0.2, 0.25, 0.3)],
}
# Which shifts can be told from chance at a size: the others have a bound instead of a goal.
WITHIN_REACH = {"1k": (), "10k": tuple(PLANTED), "1M": tuple(PLANTED)}


def measure(
    quick: bool, sizes: str = "1k,10k,1M", only: str = "stable,year,planted,look", looks: str = "24,72,168"
) -> list[Goal]:
    """Simulates what was asked for; `--quick`: a few weeks of each."""
    corpus = write_corpus()
    goals: list[Goal] = []
    for size in sizes.split(","):
        count = SIZES[size]
        if "stable" in only:
            hours = [int(each) for each in looks.split(",")]
            goals.append(measure_stable(corpus, size, {"1k": 40, "10k": 10, "1M": 6}[size] if quick else 1000, hours))
        if "year" in only:
            goals.append(measure_year(corpus, size, 1 if quick else 52))
        if "planted" in only:
            goals += measure_planted(corpus, size, (20 if count < 5000 else 6) if quick else 100, quick)
    if "look" in only:
        goals += measure_look(corpus, 60_000 if quick else 1_000_000)
    return goals


def measure_stable(corpus: Corpus, size: str, weeks: int, hours: Sequence[int]) -> Goal:
    """The share of stable weeks in which nothing fires."""
    chance = np.random.default_rng([1, SIZES[size]])
    quiet, beyond, begun = 0, 0.0, time.process_time()
    crowd = draw_crowd(SIZES[size], chance)
    before = draw_week(crowd, corpus, 0, SIZES[size], chance)
    for number in range(1, weeks + 1):
        if number % 50 == 0:  # other people now and then
            crowd = draw_crowd(SIZES[size], chance)
            before = draw_week(crowd, corpus, number - 1, SIZES[size], chance)
        week = draw_week(crowd, corpus, number, SIZES[size], chance)
        found = [judge(before, cut(week, each)) for each in hours]
        quiet += not any(figure.fired for look in found for figure in look)
        beyond = max(beyond, *(figure.beyond or 0.0 for look in found for figure in look))
        before = cut(week, 168 + 48)
        if number % 100 == 0:
            print(f"  {size}: {quiet} of {number} weeks quiet so far", flush=True)
    spent = time.process_time() - begun
    print(f"stable, {size}: {quiet} of {weeks} weeks quiet at {len(hours)} looks, at most {beyond:.2f} of what chance")
    print(f"  explains; {spent / weeks / len(hours):.3f} s of CPU a look", flush=True)
    return Goal(f"{size}: stable weeks without a trigger, share", quiet / weeks, STABLE, at_most=False)


def measure_year(corpus: Corpus, size: str, weeks: int) -> Goal:
    """False alarms of a year, looked at every six hours."""
    chance = np.random.default_rng([2, SIZES[size]])
    crowd = draw_crowd(SIZES[size], chance)
    before = draw_week(crowd, corpus, 0, SIZES[size], chance)
    fired: list[str] = []
    for number in range(1, weeks + 1):
        week = draw_week(crowd, corpus, number, SIZES[size], chance)
        for hours in range(6, 168 + 1, 6):
            fired += [figure.said for figure in judge(before, cut(week, hours)) if figure.fired]
        before = cut(week, 168 + 48)
    print(f"year, {size}: {weeks * 28} looks, {len(fired)} figures fired {fired[:3]}", flush=True)
    return Goal(f"{size}: figures fired in {weeks} stable weeks of looks", len(fired), 0)


def measure_planted(corpus: Corpus, size: str, times: int, quick: bool) -> list[Goal]:
    """How often each shift is found by its own figure; its bound where that is not within reach."""
    goals = []
    for name, (figure, shift) in {**PLANTED, **OTHERS}.items():
        share, effect = find_share(corpus, size, figure, shift, times)
        print(f"planted, {size}, {name}: {figure} found {share:.1%} of {times}, effect {effect:.3f}", flush=True)
        if name in WITHIN_REACH[size]:
            goals.append(Goal(f"{size}: {name} found, share", share, FOUND, at_most=False))
        elif share < FOUND and name in LADDERS and not quick:
            for told, larger in LADDERS[name]:
                reached, effect = find_share(corpus, size, figure, larger, times)
                print(f"  {told}: {reached:.1%}, effect {effect:.3f}", flush=True)
                if reached >= FOUND:
                    break
    return goals


def find_share(corpus: Corpus, size: str, name: str, shift: Shift, times: int) -> tuple[float, float]:
    """How often a figure fires at the end of the week of a shift, and its median effect."""
    chance = np.random.default_rng([3, SIZES[size], times])
    fired, effects = 0, []
    for number in range(times):
        if number % 4 == 0:
            crowd = draw_crowd(SIZES[size], chance)
            before = draw_week(crowd, corpus, 0, SIZES[size], chance)
        after = cut(draw_week(crowd, corpus, 1, SIZES[size], chance, shift), 168)
        found = next(each for each in judge(before, after, name) if each.name == name)
        fired += found.fired
        effects.append(np.nan if found.value is None else found.value)
    return fired / times, float(np.nanmedian(effects))


def judge(before: Sample, after: Sample, only: str | None = None) -> tuple[Finding, ...]:
    """The shipped figures at the shipped level."""
    return find_differences(before, after, SPEC, alpha=ALPHA, only=only)


if __name__ == "__main__":
    more = {
        "sizes": {"default": "1k,10k,1M", "help": "of 1k, 10k, 1M"},
        "looks": {"default": "24,72,168", "help": "hours into each stable week"},
        "only": {"default": "stable,year,planted,look", "help": "of stable, year, planted, look"},
    }
    sys.exit(report(measure, __doc__.splitlines()[0], more))
