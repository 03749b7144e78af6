"""Sets of accounts that cast the same votes again and again.

A *cell* is one way to vote on one target: (answer, up), (prompt, down), or the second thumb down for one prompt. Two
accounts are linked when they share `lockstep_targets` cells, these are `lockstep_share` of the smaller account's, and
chance does not explain it: an account with D votes meets a cell that holds a share q of all votes with probability
1 - exp(-Dq), and the overlap must be so large that fewer than a third of an account is expected to show it among all
N. Popular questions explain themselves by this; nothing here needs the time, so that a week's patience does not
help. Accounts that keep `brigade_users` - 1 such partners (a k-core) form groups by connection.

After SynchroTrap (Cao, Yang, Yu, Palow: Uncovering Large Groups of Active Malicious Accounts, CCS 2014): similarity of
user pairs over matched actions, then components. Departs from it: time bins only where targets are not shared; a
k-core before the components, since single linkage chains honest fans of popular questions; a null model instead of a
threshold set by hand. Only cells that can belong to a group count (a (k, m)-core of the bipartite graph, after the
near-bipartite cores of CopyCatch, Beutel et al., WWW 2013), so that normal votes beside the campaign do not hide it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flytewheel.curation.abuse.reactions import Floats, Ints, find_runs, number_codes, sort_unique, surprise

REPEATS = 32  # votes of one account on one target that count
EXACT_PAIRS = 8_000_000  # above, candidates come from a sketch
BANDS = 16  # of two minimum hashes each: finds partners of Jaccard similarity 0.5 with probability 0.99
FEWEST_EQUAL = 4  # of 2 · BANDS hashes, before a candidate is counted exactly
CHANCE_PARTNERS = 1 / 3


@dataclass(frozen=True)
class Cells:
    """One entry for each account and each way in which it voted. Users, units and cells are numbered from 0."""

    user: Ints
    unit: Ints
    """The target: an answer, a prompt, a comment or a stretch of time."""
    sign: Ints
    cell: Ints


def build_cells(user: Ints, unit: Ints, sign: Ints) -> Cells:
    """Numbers an account's repeated equal votes on one target, so that each is a cell of its own."""
    order = np.lexsort((sign, unit, user))
    user, unit, sign = user[order], unit[order], sign[order].astype(np.int64)
    starts, lengths = find_runs(user, unit, sign)
    repeat = np.arange(len(user)) - np.repeat(starts, lengths)
    kept = repeat < REPEATS
    user, unit, sign, repeat = user[kept], unit[kept], sign[kept], repeat[kept]
    cell, _ = number_codes(((unit * 3 + sign + 1) * REPEATS) + repeat)
    return Cells(user, unit, sign, cell)


@dataclass(frozen=True)
class Links:
    """Pairs of accounts whose overlap is no chance; `share` of the smaller account's votes is common to both."""

    one: Ints
    other: Ints
    share: Floats


def link_accounts(
    cells: Cells, accounts: int, *, fewest_users: int, fewest_targets: int, share: float, chance: float = 0.0
) -> Links:
    """Finds accounts in lockstep.

    Args:
        accounts: number of accounts that voted at all; codes in `cells.user` are below it.
        share: the least share of the smaller account's votes.
        chance: least probability with which chance matches one vote; the null model may give more.
    """
    votes = np.bincount(cells.user, minlength=accounts)
    popularity = np.bincount(cells.cell) / max(len(cells.cell), 1)
    needed = np.log(max(accounts * CHANCE_PARTNERS, 1.0)) + 1e-9
    user, cell = cells.user, cells.cell
    while True:
        core = _peel(user, cell, fewest_users, fewest_targets)
        if not len(core):
            return Links(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        user, cell = user[core], cell[core]
        hot = np.bincount(user, minlength=accounts)
        weight = np.bincount(user, weights=popularity[cell], minlength=accounts) / np.maximum(hot, 1)
        # Most askers of popular questions cannot be told from chance even by a twin, and need no comparing.
        twin = surprise(np.ones(accounts), np.maximum(1 - np.exp(-hot * weight), chance), hot)
        able = twin[user] >= needed
        if able.all():
            break
        user, cell = user[able], cell[able]
    least = _find_least(hot, np.maximum(1 - np.exp(-hot * weight), chance), needed, share)
    one, other, matched = _match(user, cell, np.maximum(least, fewest_targets), fewest_users)
    enough = matched >= np.maximum(fewest_targets, share * np.minimum(hot[one], hot[other]))
    one, other, matched = one[enough], other[enough], matched[enough]
    swap = hot[one] > hot[other]
    small, large = np.where(swap, other, one), np.where(swap, one, other)
    random = np.maximum(1 - np.exp(-votes[large] * weight[small]), chance)
    equal = hot[one] == hot[other]  # neither is the smaller one: both chances must fail to explain it
    random = np.where(equal, np.maximum(random, 1 - np.exp(-votes[small] * weight[large])), random)
    common = matched / hot[small]
    linked = surprise(common, random, hot[small]) >= needed
    return Links(one[linked], other[linked], common[linked])


def _peel(user: Ints, cell: Ints, fewest_users: int, fewest_targets: int) -> Ints:
    """Entries of the largest part in which each cell has so many accounts and each account so many cells."""
    kept = np.arange(len(user))
    while len(kept):
        stays = np.bincount(cell[kept])[cell[kept]] >= fewest_users
        stays &= np.bincount(user[kept])[user[kept]] >= fewest_targets
        if stays.all():
            break
        kept = kept[stays]
    return kept


def _find_least(hot: Ints, chance: Floats, needed: float, share: float) -> Floats:
    """Fewest votes in common, in twentieths of an account's, that chance does not explain."""
    least = hot.astype(np.float64)
    for part in np.arange(0.95, share - 0.05, -0.05):
        part = max(part, share)
        least = np.where(surprise(np.full(len(hot), part), chance, hot) >= needed, part * hot, least)
    return least


def _match(user: Ints, cell: Ints, least: Floats, fewest_users: int) -> tuple[Ints, Ints, Ints]:
    """Pairs of accounts (the smaller code first) that share cells, and how many."""
    sizes = np.bincount(cell)
    if float(np.sum(sizes * (sizes - 1.0)) / 2) > EXACT_PAIRS:
        return _match_sketched(user, cell, least, fewest_users)
    order = np.lexsort((user, cell))
    user, cell = user[order], cell[order]
    starts, lengths = find_runs(cell)
    width = int(user.max()) + 1
    keys = []
    for length in np.unique(lengths[lengths > 1]):
        members = user[starts[lengths == length][:, None] + np.arange(length)]
        left, right = np.triu_indices(length, 1)
        keys.append((members[:, left] * width + members[:, right]).ravel())
    found, count = np.unique(np.concatenate(keys), return_counts=True) if keys else (user[:0], user[:0])
    return found // width, found % width, count


def _match_sketched(user: Ints, cell: Ints, least: Floats, fewest_users: int) -> tuple[Ints, Ints, Ints]:
    """The same for pairs that a minimum-hash sketch brings together: not all, but enough of each account's."""
    order = np.lexsort((cell, user))
    user, cell = user[order], cell[order]
    starts, lengths = find_runs(user)
    names = user[starts]
    sketch = np.empty((2 * BANDS, len(names)), dtype=np.uint32)
    for number in range(2 * BANDS):
        sketch[number] = np.minimum.reduceat(_mix(cell, number), starts) >> np.uint64(32)
    short = np.ascontiguousarray(sketch.T.astype(np.uint8))  # a row of 32 bytes an account is compared at once
    width, reach = len(names), max(16, fewest_users)
    pairs: Ints = np.empty(0, dtype=np.int64)
    for band in range(BANDS):
        key = sketch[2 * band].astype(np.int64) << 32 | sketch[2 * band + 1]
        place = np.lexsort((_mix(names, 100 + band), key))
        key = key[place]
        found = []
        for step in range(1, min(reach, width - 1) + 1):
            same = np.flatnonzero(key[:-step] == key[step:])
            a, b = place[same], place[same + step]
            found.append(np.minimum(a, b) * width + np.maximum(a, b))
        fresh = sort_unique(np.concatenate([pairs[:0], *found]))
        a, b = fresh // width, fresh % width
        equal = np.count_nonzero(short[a] == short[b], axis=1)
        common = np.where(lengths[a] <= lengths[b], least[names[a]], least[names[b]])
        alike = common / np.maximum(lengths[a] + lengths[b] - common, 1)  # the Jaccard similarity that it takes
        likely = 2 * BANDS * alike - 2 * np.sqrt(2 * BANDS * alike * (1 - alike))
        pairs = sort_unique(np.concatenate([pairs, fresh[equal >= np.maximum(likely, FEWEST_EQUAL)]]))
    one, other = pairs // width, pairs % width
    entries = np.repeat(np.arange(width), lengths) * (int(cell.max()) + 1) + cell
    matched = np.zeros(len(one), dtype=np.int64)
    swap = lengths[one] > lengths[other]
    small, large = np.where(swap, other, one), np.where(swap, one, other)
    for begin in range(0, len(one), 50_000):
        part = slice(begin, begin + 50_000)
        size = lengths[small[part]]
        row = np.repeat(np.arange(len(size)), size)
        place = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        wanted = large[part][row] * (int(cell.max()) + 1) + cell[starts[small[part]][row] + place]
        there = np.searchsorted(entries, wanted)
        hit = entries[np.minimum(there, len(entries) - 1)] == wanted
        matched[part] = np.bincount(row[hit], minlength=len(size))
    return names[one], names[other], matched


def _mix(values: Ints, seed: int) -> NDArray[np.uint64]:
    """A hash of integers that is the same on every machine (the finaliser of SplitMix64, Steele et al. 2014)."""
    mixed = values.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def join_groups(links: Links, accounts: int, *, fewest_users: int, share: float) -> Ints:
    """Connected components of the accounts that keep `fewest_users` - 1 partners each.

    Returns:
        (accounts,) the group of each account, -1 for none.
    """
    near = links.share >= share
    one, other = links.one[near], links.other[near]
    while len(one):
        degree = np.bincount(one, minlength=accounts) + np.bincount(other, minlength=accounts)
        stays = np.minimum(degree[one], degree[other]) >= fewest_users - 1
        if stays.all():
            break
        one, other = one[stays], other[stays]
    label = np.arange(accounts)
    while True:
        least = np.minimum(label[one], label[other])
        before = label.copy()
        np.minimum.at(label, label[one], least)
        np.minimum.at(label, label[other], least)
        label = label[label]
        if np.array_equal(label, before):
            break
    group = np.full(accounts, -1, dtype=np.int64)
    inside = sort_unique(np.concatenate([one, other]))
    group[inside] = label[inside]
    return group
