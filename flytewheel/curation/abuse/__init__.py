"""Finds votes that are not people's own opinion: one account beyond a person's pace, or many accounts that act as one.

The rules, in the order in which they claim a reaction; each names its numbers in `describe_reasons`:

- young account: younger than the recipe says; off by default, since a launch day is full of them.
- burst, flood, clockwork (`pace`): pace or regularity of one account. 200 genuine votes a week pass, and so do imports
  whose clocks are coarse.
- lockstep (`lockstep`, `collusion`): the same accounts vote alike on many targets and never disagree. Classes,
  departments and the askers of popular questions disagree now and then.
- copied comments, synchronised (`collusion`): the same accounts paste the same texts, or vote at the same moments.
- brigading (`crowds`): throwaway accounts gang up on one answer. Not an outage, where everybody is right.
- one-sided crowd, contrarian crowd (`crowds`): accounts with nothing but one direction. Not guests who come for an
  hour, nor people of strong opinion.

That many people agree on one answer is never enough: that is what feedback is for. What escapes: crowds below
`brigade_users`; colluders who contradict each other as often as honest people do; those who share neither targets, nor
moments, nor an hour, nor contradict anybody; whoever agrees with what honest users say anyway (and does no harm). The
caps on rows hold for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flytewheel.curation.abuse.collusion import find_copied_comments, find_lockstep, find_synchronised
from flytewheel.curation.abuse.crowds import find_brigades, find_contrarians, find_one_sided
from flytewheel.curation.abuse.pace import find_bursts, find_clockwork, find_floods, find_young
from flytewheel.curation.abuse.reactions import Mask, Votes, number_codes
from flytewheel.recipe.curation import AbuseSpec

__all__ = ["REASONS", "Votes", "describe_reasons", "find_abuse"]

_RULES: tuple[tuple[str, Callable[[Votes, AbuseSpec], Mask]], ...] = (
    ("young account", find_young),
    ("burst", find_bursts),
    ("flood", find_floods),
    ("clockwork", find_clockwork),
    ("lockstep", find_lockstep),
    ("copied comments", find_copied_comments),
    ("synchronised", find_synchronised),
    ("brigading", find_brigades),
    ("one-sided crowd", find_one_sided),
    ("contrarian crowd", find_contrarians),
)
REASONS: tuple[str, ...] = ("", *(name for name, _ in _RULES))


def find_abuse(votes: Votes, spec: AbuseSpec) -> NDArray[np.int8]:
    """Decides about each reaction of a window.

    Returns:
        (n,) 0 where it is fine, else the index into `REASONS` of the first rule that it breaks.
    """
    votes = replace(
        votes,
        user=number_codes(votes.user)[0],
        interaction=number_codes(votes.interaction)[0],
        prompt=number_codes(votes.prompt)[0],
        answer=number_codes(votes.answer)[0],
    )
    found = np.zeros(len(votes), dtype=np.int8)
    for number, (name, rule) in enumerate(_RULES, start=1):
        if name == "contrarian crowd":
            left = np.flatnonzero(found == 0)
            hit = np.zeros(len(votes), dtype=bool)
            hit[left] = rule(votes.take(left), spec)
        else:
            hit = rule(votes, spec)
        found[hit & (found == 0) & ~votes.released] = number
    return found


def describe_reasons(spec: AbuseSpec) -> tuple[str, ...]:
    """Each of `REASONS` with its numbers, for the card and the list of the quarantine."""
    crowd = f"{spec.brigade_users} accounts or more"
    minutes = f"{spec.brigade_s / 60:g} minutes"
    numbers = {
        "young account": f"younger than {spec.min_account_age_s:g} s when it voted",
        "burst": f"{spec.burst_events} explicit reactions within {spec.burst_s:g} s",
        "flood": f"{spec.daily_events} explicit reactions within 24 hours",
        "clockwork": "20 equal gaps in a row",
        "lockstep": f"{crowd} share {spec.lockstep_targets} votes and {spec.lockstep_share:.0%} of all, and disagree "
        f"less than {spec.honest_dissent:.0%}",
        "copied comments": f"{crowd} paste the same text {spec.lockstep_targets} times and in "
        f"{spec.lockstep_share:.0%} of their comments",
        "synchronised": f"{crowd} vote within the same 20 s 8 times and in {spec.lockstep_share:.0%} of their votes",
        "brigading": f"{crowd} without other history vote alike within {minutes}",
        "one-sided crowd": f"{crowd}, 10 votes each in {minutes} and none besides, 95 % one way",
        "contrarian crowd": f"{crowd} contradict others in 90 % of 10 votes or more",
    }
    return tuple(f"{name}: {numbers[name]}" if name else "" for name in REASONS)
