"""The share of duels that the candidate wins, from what a judge and people said: who is believed, and on what grounds.

- A judge that is believed, and no people (or too few): the mean of its preferences.
- A judge that is believed, and people on some duels: prediction-powered (`powered`).
- A judge that abstains, or none: people alone, where enough of them looked.

Enough are as many users as an interval at that level takes at all (`rules.least_users`). Duels without a verdict are
left out while they are few; where they are many, whoever caused them would choose the figure, and it is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.judging.judge import Duel, Opinion
from flytewheel.evaluation.judging.length import LengthControl, control_length
from flytewheel.evaluation.judging.powered import combine
from flytewheel.evaluation.measure import Compare
from flytewheel.evaluation.proportion import compare_shares
from flytewheel.evaluation.rules import least_users

MOST_MISSING = 0.1  # share of duels without a verdict

Method = Literal["judge", "people", "prediction-powered"]


@dataclass(frozen=True, slots=True)
class WinRate:
    """What was found; `None`: cannot be told, and `note` says why."""

    rate: Comparison | None = None
    controlled: LengthControl | None = None
    method: Method | None = None
    judge_alone: Comparison | None = None
    people_alone: Comparison | None = None
    note: str = ""


def measure_wins(
    duels: Sequence[Duel], judged: Sequence[Opinion] | None, people: Sequence[Opinion] | None, compare: Compare
) -> WinRate:
    """Reads the win rate.

    Args:
        duels: of the examples.
        judged: the opinions of a judge that is believed; `None`: there is none.
        people: what reviewers said, duels of one answer twice being ties; `None`: nobody was asked.
        compare: Draws the resamples.
    """
    looked = _list_known(duels, people)
    reviewers_reach = len({duel.user for duel, _ in looked if not duel.same})
    enough = reviewers_reach >= least_users(compare.level)
    people_alone = _weigh_people(duels, people, compare) if people is not None and enough else None
    if judged is None:
        if people_alone is None:
            too_few = f"people looked at answers to {reviewers_reach} users, it takes {least_users(compare.level)}"
            return WinRate(note=too_few if people else "")
        return WinRate(people_alone, _control(looked, compare), "people", people_alone=people_alone)
    kept = _list_known(duels, judged)
    if len(kept) < (1 - MOST_MISSING) * len(duels):
        missing = len(duels) - len(kept)
        return WinRate(note=f"the judge has no verdict on {missing} of {len(duels)} duels")
    alone = compare_shares([duel.user for duel, _ in kept], [liked for _, liked in kept], compare)
    if people_alone is None or people is None:
        return WinRate(alone, _control(kept, compare), "judge", alone)
    said = dict(looked)
    rate = combine(
        [duel.user for duel, _ in kept],
        [liked for _, liked in kept],
        [said.get(duel) for duel, _ in kept],
        [duel.same for duel, _ in kept],
        compare,
    )
    best = [(duel, said.get(duel, liked)) for duel, liked in kept]  # people's word goes before the judge's
    return WinRate(rate, _control(best, compare), "prediction-powered", alone, people_alone)


def _list_known(duels: Sequence[Duel], opinions: Sequence[Opinion] | None) -> list[tuple[Duel, float]]:
    if opinions is None:
        return []
    return [(duel, each.preference) for duel, each in zip(duels, opinions, strict=True) if each.preference is not None]


def _weigh_people(duels: Sequence[Duel], people: Sequence[Opinion], compare: Compare) -> Comparison:
    """People alone: a judge that says the same of everything adds nothing to them."""
    said = [each.preference for each in people]
    nothing = [0.0] * len(duels)
    return combine([duel.user for duel in duels], nothing, said, [duel.same for duel in duels], compare)


def _control(known: Sequence[tuple[Duel, float]], compare: Compare) -> LengthControl:
    return control_length(
        [duel.user for duel, _ in known],
        [liked for _, liked in known],
        [(len(duel.ours.strip()), len(duel.theirs.strip())) for duel, _ in known],
        compare,
    )
