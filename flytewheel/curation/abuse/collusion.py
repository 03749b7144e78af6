"""Whether a group in lockstep colludes, or is a class, a department, an audience: people with the same questions.

The same questions, even the same opinions, are no collusion. Two things that honest groups do not show are:

- *No dissent.* People who do not know of each other disagree now and then, if only by a slip: `honest_dissent` (5 %) of
  votes on an answer go against its majority. A group is convicted when so little dissent as it shows has a probability
  below `DISSENT_ALPHA` among honest people (90 votes without one dissent) and is at most a third of that share.
- *Against the mood.* A class's answers are right or wrong as the model's answers are. A group that goes one way on
  target after target, the way that the window's other targets mostly do not go (chance below `MOOD_ALPHA`: all of 9
  targets down where 35 % go down), is convicted although one vote in seven dissents; here half the `lockstep_share`
  will do.

So a crowd with the usual dissent and the usual mix of opinions stays, however similar its questions are. The price: a
real crowd that is unanimous over hundreds of votes, on at least five shared targets and with `lockstep_share` of all
its members' votes, is taken for collusion; and colluders who let one vote in twenty go the other way are not found when
they push the way in which opinion goes anyway.

Witnesses are the members and all accounts that voted on half as many of the group's targets as its median member and
agree with its majority two times in three; so those whom similarity chose are not the only ones asked. An account
whose votes are the campaign's to `lockstep_share` goes as a whole; of others (camouflage, or a busy bystander who
agrees nine times in ten) only the votes for the campaign go.
"""

from __future__ import annotations

import numpy as np

from flytewheel.curation.abuse.lockstep import Cells, Links, build_cells, join_groups, link_accounts
from flytewheel.curation.abuse.reactions import (
    Floats,
    Ints,
    Mask,
    Votes,
    find_clock_step,
    find_runs,
    iterate_groups,
    number_codes,
    weigh,
)
from flytewheel.recipe.curation import AbuseSpec

DISSENT_ALPHA = 0.01
DISSENT_MOST = 1 / 3  # of `honest_dissent`: careful people slip in 3 % of their votes
MOOD_ALPHA = 1e-4
MOOD_DISSENT = 0.15
MOOD_SHARE = 0.5  # of `lockstep_share`
CAMPAIGN_SHARE = 0.25  # of a group's members voted on a target that belongs to its campaign, and at least
CAMPAIGN_USERS = 3
WITNESS_TARGETS = 0.5
WITNESS_AGREES = 2 / 3
JOINED_AGREES = 0.9
SLOT_S = 20.0  # scripts that fire together hit the same slot; two people at 20 votes an hour do so for 11 % of theirs
SLOT_TARGETS = 8
SLOT_CHANCE = 0.2
SLOT_MOST = 0.5  # where more of the accounts vote in the same slots, it is the log's clock, not collusion


def find_lockstep(votes: Votes, spec: AbuseSpec) -> Mask:
    """Votes of groups that agree on answers, or on prompts whose answers differ, and never among themselves."""
    marked = np.zeros(len(votes), dtype=bool)
    if not spec.brigade_users or not spec.lockstep_share:
        return marked
    said = np.flatnonzero(votes.explicit & (votes.sign != 0) & ~votes.released)
    if not len(said):
        return marked
    user, accounts = number_codes(votes.user[said])
    sign = votes.sign[said].astype(np.int64)
    for target in (votes.answer, votes.prompt):
        unit, _ = number_codes(target[said])
        links = _link(build_cells(user, unit, sign), accounts, spec, share=MOOD_SHARE * spec.lockstep_share)
        for share in (spec.lockstep_share, MOOD_SHARE * spec.lockstep_share):
            group = join_groups(links, accounts, fewest_users=spec.brigade_users, share=share)
            guilty, single = _judge(user, unit, sign, group, spec, similar=share == spec.lockstep_share)
            marked |= np.isin(votes.user, votes.user[said[guilty[user]]])
            marked[said[single]] = True
    return marked


def find_copied_comments(votes: Votes, spec: AbuseSpec) -> Mask:
    """Reactions of accounts that paste the same comments or corrections as others, again and again."""
    if not spec.brigade_users or not spec.lockstep_share:
        return np.zeros(len(votes), dtype=bool)
    written = np.flatnonzero(votes.explicit & (votes.comment >= 0) & ~votes.released)
    user, accounts = number_codes(votes.user[written])
    unit, _ = number_codes(votes.comment[written])
    cells = build_cells(user, unit, votes.sign[written].astype(np.int64))
    links = _link(cells, accounts, spec, share=spec.lockstep_share)
    group = join_groups(links, accounts, fewest_users=spec.brigade_users, share=spec.lockstep_share)
    return np.isin(votes.user, votes.user[written[group[user] >= 0]])


def find_synchronised(votes: Votes, spec: AbuseSpec) -> Mask:
    """Reactions of accounts that vote at the same moments, whatever they vote on."""
    none = np.zeros(len(votes), dtype=bool)
    if not spec.brigade_users or not spec.lockstep_share or find_clock_step(votes) > SLOT_S:
        return none
    said = np.flatnonzero(votes.explicit & np.isfinite(votes.time_s) & ~votes.released)
    user, accounts = number_codes(votes.user[said])
    slot, _ = number_codes(np.floor_divide(votes.time_s[said], SLOT_S).astype(np.int64))
    order = np.lexsort((slot, user))
    starts, _ = find_runs(user[order], slot[order])
    user_once, slot_once = user[order][starts], slot[order][starts]
    cells = build_cells(user_once, slot_once, np.zeros(len(user_once), dtype=np.int64))
    links = link_accounts(
        cells,
        accounts,
        fewest_users=spec.brigade_users,
        fewest_targets=SLOT_TARGETS,
        share=spec.lockstep_share,
        chance=SLOT_CHANCE,
    )
    group = join_groups(links, accounts, fewest_users=spec.brigade_users, share=spec.lockstep_share)
    able = np.bincount(user_once, minlength=accounts) >= SLOT_TARGETS
    if np.sum(group >= 0) > SLOT_MOST * np.sum(able):
        return none
    return np.isin(votes.user, votes.user[said[group[user] >= 0]])


def _link(cells: Cells, accounts: int, spec: AbuseSpec, *, share: float) -> Links:
    users, targets = spec.brigade_users, spec.lockstep_targets
    return link_accounts(cells, accounts, fewest_users=users, fewest_targets=targets, share=share)


def _judge(user: Ints, unit: Ints, sign: Ints, group: Ints, spec: AbuseSpec, *, similar: bool) -> tuple[Mask, Mask]:
    """Accounts of convicted groups, and single votes of accounts that also have a life besides the campaign."""
    guilty, single = np.zeros(len(group), dtype=bool), np.zeros(len(user), dtype=bool)
    if not np.any(group >= 0):
        return guilty, single
    by_unit = np.argsort(unit, kind="stable")
    unit_starts, unit_lengths = find_runs(unit[by_unit])
    by_user = np.argsort(user, kind="stable")
    user_starts, user_lengths = find_runs(user[by_user])
    majority = np.sign(np.bincount(unit, weights=sign))
    for members in iterate_groups(group):
        votes = by_user[_expand(user_starts[members], user_lengths[members])]
        order = votes[np.lexsort((user[votes], unit[votes]))]
        firsts, _ = find_runs(unit[order], user[order])
        targets, voters = np.unique(unit[order][firsts], return_counts=True)
        targets = targets[voters >= max(CAMPAIGN_USERS, CAMPAIGN_SHARE * len(members))]
        if not len(targets):
            continue
        rows = by_unit[_expand(unit_starts[targets], unit_lengths[targets])]
        place = np.searchsorted(targets, unit[rows])
        inside = np.isin(user[rows], members)
        lean = np.sign(np.bincount(place[inside], weights=sign[rows][inside], minlength=len(targets)))
        agrees = np.where(lean[place] == 0, 0.5, sign[rows] == lean[place])
        who, count = number_codes(user[rows])
        cast = np.bincount(who, minlength=count)
        agreement = np.bincount(who, weights=agrees, minlength=count) / cast
        member = np.zeros(count, dtype=bool)
        member[who[inside]] = True
        near = (cast >= max(spec.lockstep_targets, WITNESS_TARGETS * np.median(cast[member]))) & ~member
        heard = (member | (near & (agreement >= WITNESS_AGREES)))[who]
        others = np.delete(majority, targets)
        if not _colludes(place[heard], sign[rows][heard], lean, others, spec, similar=similar):
            continue
        account = np.zeros(count, dtype=np.int64)
        account[who] = user[rows]
        wholly = member & (cast >= spec.lockstep_share * user_lengths[account])
        guilty[account[wholly]] = True
        single[rows[(member | (near & (agreement >= JOINED_AGREES)))[who] & (agrees > 0)]] = True
    return guilty, single


def _colludes(target: Ints, sign: Ints, lean: Floats, others: Floats, spec: AbuseSpec, *, similar: bool) -> bool:
    """Weighs a group by its votes on its targets, `lean` the direction of each; `others` lean as the window does."""
    unanimous, dissent = _is_unanimous(target, sign, spec.honest_dissent)
    if similar and unanimous:
        return True
    usual = (1 + float(np.sum(others > 0))) / (2 + float(np.sum(others != 0)))
    ups = float(np.mean(lean > 0))
    rarer, share = (usual, ups) if usual < 0.5 else (1 - usual, 1 - ups)
    mood = weigh(share, rarer, len(lean))
    return bool(mood >= -np.log(MOOD_ALPHA) and dissent <= MOOD_DISSENT)


def _is_unanimous(target: Ints, sign: Ints, honest_dissent: float) -> tuple[bool, float]:
    """Whether people would hardly ever disagree so little, and the share of votes against their target's majority."""
    up, total = np.bincount(target, weights=sign > 0), np.bincount(target)
    told = total >= CAMPAIGN_USERS
    heard = int(total[told].sum())
    if not heard:
        return False, 1.0
    dissent = float(np.minimum(up, total - up)[told].sum()) / heard
    rare = weigh(1 - dissent, 1 - honest_dissent, heard) >= -np.log(DISSENT_ALPHA)
    return bool(rare and dissent <= DISSENT_MOST * honest_dissent), dissent


def _expand(starts: Ints, lengths: Ints) -> Ints:
    """All positions of some runs, one run after the other."""
    shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return np.asarray(np.arange(int(lengths.sum())) + shift)
