"""Unites prompts that are near, over candidates that are never all pairs.

Candidates share a MinHash band. Most bands hold a few prompts: all their pairs are compared. A band may also hold ten
thousand that are filled in from one template and yet not near to each other (one word of twenty differs: 0.71), and
comparing with leaders is quadratic there. Prompts of such bands are joined exactly, by prefix filtering (Chaudhuri,
Ganti and Kaushik 2006; PPJoin, Xiao et al. 2008): sets with Jaccard ≥ t share one of their |x| − ⌈t·|x|⌉ + 1 rarest
members. Groups that share a rare member are split again by the next rarest of query and background in turn, what they
were split by taken out, until they are small or one. Whatever is united was compared; pairs within one cluster are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flytewheel.curation.fingerprints import PromptFingerprints
from flytewheel.curation.shingles import Bools, Ints, UInts, count_up, mix

SMALL = 16  # prompts of a group that are all compared with each other
_LEVELS = 8
_LAST_LEADERS = 16  # of a group that no level could split
_ROWS_AT_ONCE = 1 << 13
_MOST_ROWS = 1 << 23
_COUNTERS = 1 << 20
_OWNER_SHIFT, _COUNT_SHIFT = np.uint64(48), np.uint64(32)
_TOKEN = np.uint64(0xFFFFFFFF)
_NOTHING = np.uint64(1 << 40)


@dataclass(frozen=True)
class Groups:
    """Sets of places: `places[offsets[i] : offsets[i + 1]]` is group i, `taken` (rows, k) what it was split by."""

    places: Ints
    offsets: Ints
    taken: UInts

    @property
    def sizes(self) -> Ints:
        return np.diff(self.offsets)

    def keep(self, rows: Bools) -> Groups:
        """Only these rows; groups of fewer than two go."""
        totals = np.add.reduceat(rows.astype(np.int64), self.offsets[:-1]) if len(self.places) else self.sizes
        rows = rows & np.repeat(totals >= 2, self.sizes)
        return Groups(self.places[rows], count_up(totals[totals >= 2]), self.taken[rows])

    def choose(self, wanted: Bools) -> Groups:
        """Only these groups."""
        rows = np.repeat(wanted, self.sizes)
        return Groups(self.places[rows], count_up(self.sizes[wanted]), self.taken[rows])


class Neighbourhood:
    """Prompts and what is known of which are near.

    `labels` (n,) names for each place the smallest place that it is united with. With `targets`, the places before it
    count as one, and only pairs of such a one with another place are of interest.
    """

    def __init__(self, prompts: PromptFingerprints, similarity: float, targets: int = 0) -> None:
        self.prompts = prompts
        self.similarity = similarity
        self.targets = targets
        self.labels = np.arange(len(prompts))
        self.labels[:targets] = 0
        self.compared = 0

    def unite(self) -> Ints:
        """Compares what may be near; gives `labels`."""
        hot = np.zeros(len(self.labels), dtype=np.bool_)
        for band in range(self.prompts.bands):
            groups = self._live(_bucket(self.prompts.read_band(band)))
            groups = self._compare_leaders(groups)
            small = groups.sizes <= SMALL
            self._compare_all(groups.choose(small))
            hot[self._live(groups.choose(~small)).places] = True
        self._join(np.flatnonzero(hot))
        return self.labels

    def _live(self, groups: Groups) -> Groups:
        """Groups in which something may still be united."""
        if not len(groups.places):
            return groups
        labels = self.labels[groups.places]
        if self.targets:
            groups = groups.keep((groups.places < self.targets) | (labels != 0))
            if not len(groups.places):
                return groups
            labels = self.labels[groups.places]
        starts = groups.offsets[:-1]
        low, high = np.minimum.reduceat(labels, starts), np.maximum.reduceat(labels, starts)
        return groups.choose((low != high) & (low == 0 if self.targets else True))

    def _compare(self, ones: Ints, others: Ints) -> None:
        labels = self.labels
        asked = labels[ones] != labels[others]
        if self.targets:
            asked &= (ones < self.targets) != (others < self.targets)
        ones, others = ones[asked], others[asked]
        if not len(ones):
            return
        self.compared += len(ones)
        near = self.prompts.measure(ones, others, self.similarity) >= self.similarity
        ones, others = ones[near], others[near]
        while True:
            left, right = self.labels[ones], self.labels[others]
            low, high = np.minimum(left, right), np.maximum(left, right)
            if not (low != high).any():
                return
            np.minimum.at(self.labels, high, low)
            while True:
                flat = self.labels[self.labels]
                if np.array_equal(flat, self.labels):
                    break
                self.labels = flat

    def _compare_leaders(self, groups: Groups) -> Groups:
        """Compares every place with its group's smallest, then with the smallest that is not united with that."""
        if len(groups.places):
            leaders = np.minimum.reduceat(groups.places, groups.offsets[:-1])
            self._compare(np.repeat(leaders, groups.sizes), groups.places)
            groups = self._live(groups)
        if len(groups.places):
            leaders = np.minimum.reduceat(groups.places, groups.offsets[:-1])
            other = self.labels[groups.places] != self.labels[np.repeat(leaders, groups.sizes)]
            places = np.where(other, groups.places, len(self.labels))
            leaders = np.minimum.reduceat(places, groups.offsets[:-1])  # there is one, or the group were not live
            self._compare(np.repeat(leaders, groups.sizes), groups.places)
            groups = self._live(groups)
        return groups

    def _compare_all(self, groups: Groups) -> None:
        numbers = np.repeat(np.arange(len(groups.sizes)), groups.sizes)
        for apart in range(1, int(groups.sizes.max(initial=1))):
            same = numbers[apart:] == numbers[:-apart]
            self._compare(groups.places[:-apart][same], groups.places[apart:][same])

    def _join(self, places: Ints) -> None:
        """Unites every near pair among `places`."""
        taken = np.zeros((len(places), 0), dtype=np.uint64)
        groups = self._live(Groups(places, count_up(np.array([len(places)])), taken).keep(places >= 0))
        for level in range(_LEVELS):
            if not len(groups.places) or len(groups.places) > _MOST_ROWS:
                break
            groups = self._live(self._split(groups, by_background=level % 2 == 1))
            groups = self._compare_leaders(groups)
            small = groups.sizes <= SMALL
            self._compare_all(groups.choose(small))
            groups = self._live(groups.choose(~small))
        for number in range(_LAST_LEADERS):
            if not len(groups.places):
                return
            leaders = groups.places[np.minimum(groups.offsets[:-1] + number, groups.offsets[1:] - 1)]
            self._compare(np.repeat(leaders, groups.sizes), groups.places)
            groups = self._live(groups)

    def _split(self, groups: Groups, by_background: bool) -> Groups:
        """Groups of those of one group that share one of their rarest members, `by_background` or by query."""
        if by_background:
            backgrounds = self.prompts.background[groups.places]
            starts = groups.offsets[:-1]
            differs = np.minimum.reduceat(backgrounds, starts) != np.maximum.reduceat(backgrounds, starts)
            alike = groups.choose(~differs)
            groups = groups.choose(differs)
        numbers = np.repeat(np.arange(len(groups.sizes), dtype=np.uint64), groups.sizes)
        counters = np.zeros(_COUNTERS, dtype=np.int64)
        for rows, owners, tokens, _ in self._read_tokens(groups, by_background):
            np.add.at(counters, _choose_counter(numbers[rows][owners], tokens), 1)
        found: list[tuple[Ints, UInts]] = []
        for rows, owners, tokens, lengths in self._read_tokens(groups, by_background):
            counts = np.minimum(counters[_choose_counter(numbers[rows][owners], tokens)], 0xFFFF)
            # By row, then count, then token: members have one order in all rows of a group.
            keyed = (owners << _OWNER_SHIFT) | (counts.astype(np.uint64) << _COUNT_SHIFT) | tokens
            keyed.sort()
            owners = (keyed >> _OWNER_SHIFT).astype(np.int64)
            ranks = np.arange(len(keyed)) - count_up(np.bincount(owners, minlength=len(rows)))[owners]
            kept = ranks < lengths[owners]
            found.append((rows[owners[kept]], keyed[kept] & _TOKEN))
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *(rows for rows, _ in found)])
        tokens = np.concatenate([np.zeros(0, dtype=np.uint64), *(tokens for _, tokens in found)])
        split = _group_by((numbers[rows] << _COUNT_SHIFT) | tokens, rows)
        taken = np.concatenate([groups.taken[split.places], split.taken & _TOKEN], axis=1)
        split = _drop_repeated(Groups(groups.places[split.places], split.offsets, taken))
        return _append(split, alike) if by_background else split

    def _read_tokens(self, groups: Groups, by_background: bool) -> Iterator[tuple[Ints, UInts, UInts, Ints]]:
        """Members of the sets, a chunk of rows at a time.

        Yields:
            (rows of the groups, which of these `rows` holds each member, the members in 32 bits, how many of its
            rarest members each row must show).
        """
        for start in range(0, len(groups.places), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(groups.places)))
            places = groups.places[rows]
            if by_background:
                shingles = self.prompts.gather_backgrounds(self.prompts.background[places])
                tokens = shingles.values >> np.uint64(16)
            else:
                shingles = self.prompts.gather_queries(places)
                tokens = shingles.values & _TOKEN
            sizes = shingles.sizes
            # 0.7 · 10 is a little over 7 in floating point, and must not be rounded up to 8.
            shared = np.ceil(self.similarity * sizes - 1e-9).astype(np.int64)
            owners = np.repeat(np.arange(len(rows), dtype=np.uint64), sizes)
            fresh = (tokens[:, None] != groups.taken[rows].repeat(sizes, axis=0)).all(axis=1)
            owners, tokens = owners[fresh], tokens[fresh]
            # What a set was split by may be all that it must share, and empty sets are alike: these go on together.
            done = np.flatnonzero(shared <= sizes - np.bincount(owners.astype(np.int64), minlength=len(rows)))
            owners = np.concatenate([owners, done.astype(np.uint64)])
            tokens = np.concatenate([tokens, np.full(len(done), _TOKEN)])
            lengths = sizes - shared + 1
            lengths[done] += 1
            yield rows, owners, tokens, lengths


def _choose_counter(numbers: UInts, tokens: UInts) -> Ints:
    return (mix((numbers << _COUNT_SHIFT) | tokens) & np.uint64(_COUNTERS - 1)).astype(np.int64)


def _append(groups: Groups, others: Groups) -> Groups:
    """Both; the others' `taken` is filled up with what no set holds."""
    filled = np.full((len(others.places), groups.taken.shape[1] - others.taken.shape[1]), _NOTHING)
    return Groups(
        np.concatenate([groups.places, others.places]),
        np.concatenate([groups.offsets, others.offsets[1:] + groups.offsets[-1]]),
        np.concatenate([groups.taken, np.concatenate([others.taken, filled], axis=1)]),
    )


def _drop_repeated(groups: Groups) -> Groups:
    """Of groups with the same places only the first: words side by side bring the same prompts together thrice."""
    if not len(groups.places):
        return groups
    sums = np.add.reduceat(mix(groups.places.astype(np.uint64)), groups.offsets[:-1])
    first = np.unique(sums ^ mix(groups.sizes.astype(np.uint64)), return_index=True)[1]
    wanted = np.zeros(len(groups.sizes), dtype=np.bool_)
    wanted[first] = True
    return groups.choose(wanted)


def _bucket(hashes: UInts) -> Groups:
    """Groups of places with one hash."""
    slots = (hashes & np.uint64((1 << max(len(hashes) * 4, 2).bit_length()) - 1)).astype(np.int64)
    shared = np.flatnonzero(np.bincount(slots)[slots] > 1)
    groups = _group_by(hashes[shared], shared)
    return Groups(groups.places, groups.offsets, np.zeros((len(groups.places), 0), dtype=np.uint64))


def _group_by(keys: UInts, rows: Ints) -> Groups:
    """Groups of two or more `rows` with one key, which `taken` holds."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    fresh = np.flatnonzero(np.concatenate([np.ones(min(len(keys), 1), dtype=np.bool_), keys[1:] != keys[:-1]]))
    groups = Groups(rows, np.append(fresh, len(keys)), keys[:, None])
    return groups.choose(groups.sizes > 1)
