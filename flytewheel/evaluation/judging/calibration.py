"""What a judge is worth: does it agree with people, and does the order of the answers decide for it?

Agreement on one pair is 1 where judge and people say the same, 0 where they say the opposite, one half where either
sees a tie or the judge has no verdict. It is measured on held-out pairs that people chose among, and on reviewed duels,
with an interval over users, and Cohen's kappa beside it (Cohen 1960, "A coefficient of agreement for nominal scales").

A judge abstains where, on either, the agreement is below what was asked *or* its interval is not clear of one half. The
estimate, not its lower end, is held against `min_agreement`: at 100 pairs the lower end lies 0.1 below, and a rule on
it would ask 0.7 of a judge, more than people agree with each other about answers with ties (0.63 to 0.66,
arXiv:2306.05685, table 5). One half, because that is what a coin, a constant and a judge of nothing but places reach:
on a few pairs a coin's estimate passes 0.6, its interval does not. Too few pairs to tell abstain, too.

Position consistency is the share of duels judged alike in both orders, beside what two independent draws from each
order's own verdicts would give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flytewheel.evaluation.judging.judge import TIE, Duel, Opinion
from flytewheel.evaluation.measure import Compare
from flytewheel.evaluation.proportion import compare_shares
from flytewheel.recipe import JudgeSpec
from flytewheel.records import Interval

_ALWAYS = 0.95


@dataclass(frozen=True, slots=True)
class Agreement:
    """With people, on `pairs` of `source`; `kappa` is `None` where chance alone would agree always."""

    source: str
    pairs: int
    users: int
    share: Interval
    kappa: float | None

    def explain(self, spec: JudgeSpec) -> str | None:
        """Why the judge is not believed on this account; `None`: it is."""
        found = self.share.estimate
        if found is None or self.share.low is None:
            return f"its agreement with people on {self.pairs} {self.source} cannot be told"
        what = f"agrees with people on {found:.2f} of {self.pairs} {self.source}"
        if found < spec.min_agreement:
            return f"{what}, {spec.min_agreement:.4g} was asked"
        if self.share.low <= TIE:
            return f"{what}, but the interval [{self.share.low:.2f}, {self.share.high:.2f}] is not clear of chance"
        return None


@dataclass(frozen=True, slots=True)
class Positions:
    """What a judge that was asked in both orders did with the place of an answer.

    Attributes:
        duels: with a verdict in both orders.
        consistent: share of them judged alike; `None` without any.
        by_chance: what independent verdicts with the same shares would give.
        first: share of all verdicts that prefer the first place, of those that prefer one.
        no_verdict: duels without a valid verdict in one order or both.
    """

    duels: int
    consistent: float | None
    by_chance: float | None
    first: float | None
    no_verdict: int

    def explain(self, spec: JudgeSpec) -> str | None:
        """Why the judge is not believed on this account; `None`: it is."""
        if self.consistent is None:
            return f"it gave no valid verdict on any of {self.no_verdict} duels"
        if self.consistent >= spec.min_position_consistency:
            return None
        return (
            f"{self.name_habit()}: judged alike in both orders on {self.consistent:.2f} of {self.duels} duels "
            f"(chance gives {self.by_chance:.2f}), {spec.min_position_consistency:.4g} was asked"
        )

    def name_habit(self) -> str:
        """The habit in words."""
        if self.first is None:
            return "its verdict depends on the order of the answers"
        for place, share in (("first", self.first), ("second", 1 - self.first)):
            if share >= _ALWAYS:
                return f"always prefers the {place} answer"
            if share >= 0.65:
                return f"prefers the {place} answer in {share:.0%} of its verdicts"
        return "its verdict depends on the order of the answers"


def measure_agreement(
    source: str, duels: Sequence[Duel], opinions: Sequence[Opinion], preferred: Sequence[float], compare: Compare
) -> Agreement:
    """Holds opinions against what people preferred, 1 ours, 0 theirs, one half a tie."""
    said = [TIE if each.preference is None else _side(each.preference) for each in opinions]
    wanted = [_side(each) for each in preferred]
    hits = np.array([1 - abs(one - other) for one, other in zip(said, wanted, strict=True)])
    users = [duel.user for duel in duels]
    found = compare_shares(users, hits, compare)
    return Agreement(source, len(duels), len(set(users)), found.candidate, cohens_kappa(said, wanted))


def measure_positions(opinions: Sequence[Opinion]) -> Positions | None:
    """Reads the places that won; nothing of a judge that was not asked in both orders."""
    asked = [each.places for each in opinions if each.places is not None]
    if not asked:
        return None
    both = [(once, again) for once, again in asked if once is not None and again is not None]
    if not both:
        return Positions(0, None, None, None, len(asked))
    swapped = {"first": "second", "second": "first", "tie": "tie"}
    consistent = sum(swapped[again] == once for once, again in both) / len(both)
    before = Counter(once for once, _ in both)
    after = Counter(swapped[again] for _, again in both)
    by_chance = sum(before[side] * after[side] for side in before) / len(both) ** 2
    places = Counter(place for pair in both for place in pair)
    taken = places["first"] + places["second"]
    first = places["first"] / taken if taken else None
    return Positions(len(both), consistent, by_chance, first, len(asked) - len(both))


def cohens_kappa(said: Sequence[object], wanted: Sequence[object]) -> float | None:
    """(observed - expected) / (1 - expected) agreement; `None` without pairs, or where chance would agree always."""
    if not said:
        return None
    observed = sum(one == other for one, other in zip(said, wanted, strict=True)) / len(said)
    ours, theirs = Counter(said), Counter(wanted)
    expected = sum(ours[side] * theirs[side] for side in ours) / len(said) ** 2
    return None if expected >= 1 else (observed - expected) / (1 - expected)


def _side(preference: float) -> float:
    return TIE if preference == TIE else float(preference > TIE)
