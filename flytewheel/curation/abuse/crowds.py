"""Crowds of accounts without a life of their own: they share too few targets for lockstep, but nothing else, either.

Three rules, each about `brigade_users` accounts or more:

- *brigading*: throwaway accounts (fewer than `lockstep_targets` answers judged or read) vote alike on one answer or
  prompt within `brigade_s`. An outage looks like it at first sight, so four things must come together: throwaways are
  far more frequent here than among the other users of the window, nearly nobody with a life before or after agrees,
  people outside this hour do not ask the same (or say the opposite), and the direction is not just the usual one.
- *one-sided crowd*: accounts whose whole life lies within `brigade_s`, with ten or more votes that all go one way,
  although others' do not, or who come in the same hour and show no dissent at all. If a fifth of the accounts that are
  so busy for an hour and then gone votes otherwise, they are guests, and stay.
- *contrarian crowd*: accounts that contradict the agreement of others in 90 % of ten votes or more, and far beyond the
  window's own rate of contradiction. It runs on what the other rules left, or a campaign could make its victims
  look contrary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flytewheel.curation.abuse.reactions import (
    Floats,
    Ints,
    Mask,
    Votes,
    count_pairs,
    find_clock_step,
    find_runs,
    number_codes,
    slide,
    surprise,
    weigh,
)
from flytewheel.recipe.curation import AbuseSpec

DISSENT_ALPHA = 0.01  # as in `collusion`
DISSENT_MOST = 1 / 3

LONELY_NATS = np.log(1e6)  # that so many throwaways met here by chance
DIRECTION_NATS = np.log(100)  # that so many votes of the window's usual mix go one way
BACKED = 0.1  # established accounts that agree, per throwaway, make it an honest crowd
ELSEWHEN = 0.1  # share of a target's accounts outside the hour that make it a question people ask
OPPOSED = 3  # votes of others against it, and more than for it, make it a contradiction

HEAVY_VOTES = 10
ONE_SIDED = 0.95
ONE_SIDED_NATS = np.log(1000)
ONE_SIDED_SHARE = 0.8
OWN_SHARE = 0.5  # of its votes on questions that no crowd asks; those are for lockstep to judge

CONTRARY_VOTES = 10
CONTRARY_SHARE = 0.9
AGREED_USERS = 2
AGREED_SHARE = 0.75


def find_brigades(votes: Votes, spec: AbuseSpec) -> Mask:
    """Votes of throwaway accounts that gang up on one answer or one prompt."""
    marked = np.zeros(len(votes), dtype=bool)
    if not spec.brigade_users or find_clock_step(votes) > spec.brigade_s / 2:
        return marked
    user, accounts = number_codes(votes.user)
    interaction, _ = number_codes(votes.interaction)
    throwaway = count_pairs(user, interaction, accounts) < spec.lockstep_targets
    said = np.flatnonzero(votes.explicit & (votes.sign != 0) & np.isfinite(votes.time_s) & ~votes.released)
    life = _find_lives(user, votes.time_s, accounts)
    ups = int(np.sum(votes.sign[said] > 0))
    for column in (votes.answer, votes.prompt):
        rows = said[np.lexsort((votes.time_s[said], votes.sign[said], column[said]))]
        crowds = _find_crowds(column[rows], votes.sign[rows], user[rows], votes.time_s[rows], throwaway, spec)
        starts, lengths = find_runs(column[rows])
        for place in np.unique(np.searchsorted(starts, np.flatnonzero(crowds), side="right") - 1):
            part = slice(starts[place], starts[place] + lengths[place])
            for sign in (-1, 1):
                crowd = crowds[part] & (votes.sign[rows[part]] == sign)
                if crowd.any():
                    scene = _Scene(user[rows[part]], votes.sign[rows[part]] == sign, votes.time_s[rows[part]], crowd)
                    usual = (ups if sign > 0 else len(said) - ups) - scene.alike.sum()
                    rate = (usual + 1) / (len(said) - lengths[place] + 2)
                    if _is_brigade(scene, throwaway, life, float(rate), spec):
                        marked[rows[part][np.isin(scene.user, scene.user[crowd]) & scene.alike]] = True
    return marked


@dataclass(frozen=True)
class _Scene:
    """All votes on one target, seen from one direction."""

    user: Ints
    alike: Mask
    time_s: Floats
    crowd: Mask


def _find_crowds(
    target: Ints, sign: NDArray[np.int8], user: Ints, time_s: Floats, throwaway: Mask, spec: AbuseSpec
) -> Mask:
    """Votes of throwaways that have company; rows are sorted by target, sign and time."""
    lonely = np.flatnonzero(throwaway[user])
    order = lonely[np.lexsort((time_s[lonely], user[lonely], sign[lonely], target[lonely]))]
    firsts, _ = find_runs(target[order], sign[order].astype(np.int64), user[order])
    once = np.sort(order[firsts])  # an account counts once for each target and direction
    starts, lengths = find_runs(target[once], sign[once].astype(np.int64))
    found = np.zeros(len(target), dtype=bool)
    found[once] = slide(time_s[once], starts, lengths, events=spec.brigade_users, seconds=spec.brigade_s)
    return found


def _is_brigade(
    scene: _Scene, throwaway: Mask, life: tuple[Floats, Floats], usual_rate: float, spec: AbuseSpec
) -> bool:
    """Weighs one crowd; `usual_rate` is the share of its direction among the votes on everything else."""
    crowd = np.unique(scene.user[scene.crowd])
    begin, end = scene.time_s[scene.crowd].min(), scene.time_s[scene.crowd].max()
    known = ~throwaway | (life[0] < begin - spec.brigade_s) | (life[1] > end + spec.brigade_s)
    if len(np.unique(scene.user[scene.alike & known[scene.user]])) > BACKED * len(crowd):
        return False
    meeting = np.unique(scene.user[scene.alike & (scene.time_s >= begin) & (scene.time_s <= end)])
    base = (throwaway.sum() - len(crowd) + 1) / (len(throwaway) - len(crowd) + 2)
    lonely = weigh(float(np.mean(throwaway[meeting])), float(base), len(meeting)) >= LONELY_NATS
    outside = ~np.isin(scene.user, crowd)
    against = len(np.unique(scene.user[outside & ~scene.alike]))
    beside = len(np.unique(scene.user[outside & scene.alike]))
    if against >= OPPOSED and against > beside:
        return bool(lonely or against >= BACKED * len(crowd))
    others = len(np.unique(scene.user[outside]))
    if others > ELSEWHEN * (others + len(crowd)) or end - begin > 2 * spec.brigade_s:
        return False
    direction = weigh(float(np.mean(scene.alike)), usual_rate, len(np.unique(scene.user)))
    return bool(lonely and direction >= DIRECTION_NATS)


def find_one_sided(votes: Votes, spec: AbuseSpec) -> Mask:
    """Reactions of accounts that come for an hour, push one way, and are gone, in a crowd."""
    none = np.zeros(len(votes), dtype=bool)
    if not spec.brigade_users or find_clock_step(votes) > spec.brigade_s / 2:
        return none
    usable = np.flatnonzero(np.isfinite(votes.time_s) & ~votes.released)
    user, accounts = number_codes(votes.user[usable])
    if not accounts:
        return none
    first, last = _find_lives(user, votes.time_s[usable], accounts)
    sign = np.where(votes.explicit[usable], votes.sign[usable], 0)
    up, down = np.bincount(user[sign > 0], minlength=accounts), np.bincount(user[sign < 0], minlength=accounts)
    said = up + down
    prompt, prompts = number_codes(votes.prompt[usable])
    own = (count_pairs(prompt, user, prompts) < spec.brigade_users)[prompt] & (sign != 0)
    alone = np.bincount(user[own], minlength=accounts) >= OWN_SHARE * said
    guest = (last - first <= spec.brigade_s) & (said >= HEAVY_VOTES) & alone
    others = ~guest & (said > 0)
    lean = (float(np.sum(up[others] / said[others])) + 1) / (others.sum() + 2)  # an account counts once
    hours = [np.floor_divide(first + shift, spec.brigade_s).astype(np.int64) for shift in (0, spec.brigade_s / 2)]
    guilty = np.zeros(accounts, dtype=bool)
    for mine, rate in ((up, lean), (down, 1 - lean)):
        share = mine / np.maximum(said, 1)
        pushing = guest & (share >= ONE_SIDED)
        odd = pushing & (surprise(share, np.full(accounts, rate), said) >= ONE_SIDED_NATS)
        guilty |= _find_company(np.zeros(accounts, dtype=np.int64), odd, guest, spec)
        for hour in hours:
            guilty |= _find_company(hour, odd, guest, spec)
            guilty |= _find_company(hour, pushing, guest, spec) & _are_unanimous(hour, mine, said, guest, spec)
    return np.isin(votes.user, votes.user[usable[guilty[user]]])


def _find_company(place: Ints, suspect: Mask, guest: Mask, spec: AbuseSpec) -> Mask:
    """Suspects who have company in their place, and are nearly all of its guests."""
    code, size = number_codes(place)
    crowd, busy = np.bincount(code[suspect], minlength=size), np.bincount(code[guest], minlength=size)
    return suspect & ((crowd >= spec.brigade_users) & (crowd >= ONE_SIDED_SHARE * busy))[code]


def _are_unanimous(place: Ints, mine: Ints, said: Ints, guest: Mask, spec: AbuseSpec) -> Mask:
    """Whether all guests of a place together show less dissent than honest people do (as in `collusion`)."""
    code, size = number_codes(place)
    total = np.bincount(code, weights=said * guest, minlength=size)
    share = np.bincount(code, weights=mine * guest, minlength=size) / np.maximum(total, 1)
    rare = surprise(share, np.full(size, 1 - spec.honest_dissent), total) >= -np.log(DISSENT_ALPHA)
    return np.asarray((rare & (1 - share <= DISSENT_MOST * spec.honest_dissent))[code])


def _find_lives(user: Ints, time_s: Floats, accounts: int) -> tuple[Floats, Floats]:
    """Each account's first and last reaction; infinite where no time is known."""
    first, last = np.full(accounts, np.inf), np.full(accounts, -np.inf)
    known = np.isfinite(time_s)
    np.minimum.at(first, user[known], time_s[known])
    np.maximum.at(last, user[known], time_s[known])
    return first, last


def find_contrarians(votes: Votes, spec: AbuseSpec) -> Mask:
    """Votes of a crowd that contradicts whatever others agree on."""
    none = np.zeros(len(votes), dtype=bool)
    said = np.flatnonzero(votes.explicit & (votes.sign != 0) & ~votes.released)
    if not spec.brigade_users or not len(said):
        return none
    # An account's last word on an answer does not matter here, only its direction: one entry for each.
    order = said[np.lexsort((votes.sign[said], votes.answer[said], votes.user[said]))]
    starts, _ = find_runs(votes.user[order], votes.answer[order], votes.sign[order].astype(np.int64))
    rows = order[starts]
    user, accounts = number_codes(votes.user[rows])
    answer, size = number_codes(votes.answer[rows])
    up = votes.sign[rows] > 0
    ups, total = np.bincount(answer[up], minlength=size)[answer], np.bincount(answer, minlength=size)[answer]
    others, against = total - 1, np.where(up, total - ups, ups)
    share = against / np.maximum(others, 1)
    agreed = (others >= AGREED_USERS) & (np.maximum(share, 1 - share) >= AGREED_SHARE)
    heard = np.bincount(user[agreed], minlength=accounts)
    contrary = np.bincount(user[agreed & (share > 0.5)], minlength=accounts)
    if not heard.sum():
        return none
    usual = contrary.sum() / heard.sum()
    rate = contrary / np.maximum(heard, 1)
    nats = surprise(rate, np.full(accounts, usual), heard)
    guilty = (heard >= CONTRARY_VOTES) & (rate >= CONTRARY_SHARE) & (nats >= np.log(10 * accounts))
    if guilty.sum() < spec.brigade_users:
        return none
    return np.isin(votes.user, votes.user[rows[guilty[user]]])
