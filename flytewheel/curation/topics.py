"""Names the topic of queries that came with none.

Labelled queries come first: one that is as near to a topic's centre as nine of ten of that topic's own is given it. The
rest is clustered and named by its heaviest words. Words are weighed by term frequency and log(n / df), signs of scripts
without spaces by twos; centres come from spherical k-means (Dhillon and Modha 2001), sown too densely and then merged
while two centres are alike: the number of topics is the data's.

Departs from scikit-learn's SVD and mini-batch k-means: those go through BLAS, whose last bits change with machine and
threads, and a topic that flips changes the data set's digest. Sums here run in one fixed order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from flytewheel.curation.shingles import Floats, Ints, UInts, count_up, hash_chunks, mix

UNLABELLED = "unlabelled"
MIN_TEXTS = 20
FITTED_TEXTS = 5_000  # 20,000 gave an adjusted Rand of 0.978, not 0.973, at four times the cost
NAME_WORDS = 3
_TERMS = 8192
_MIN_DOCUMENTS = 2
_MAX_SHARE = 0.6  # of texts that hold a word, above which it says nothing
_ROUNDS = 8
_LEAST_GAP = 0.012  # of silhouettes: generated texts of one topic gave at most 0.003, of two to eighteen at least 0.056
_SMALLEST = 0.01  # share of the fitted texts that a topic has at least
_NEAR_QUANTILE = 0.1
_NEAREST = 0.15  # cosine to a labelled topic's centre, at the least
_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Weights:
    """Unit vectors of texts, sparse: text i has `terms[offsets[i] : offsets[i + 1]]`, rising, with these `values`."""

    terms: Ints
    values: Floats
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: Ints) -> Weights:
        starts = self.offsets[rows]
        sizes = self.offsets[rows + 1] - starts
        offsets = count_up(sizes)
        places = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Weights(self.terms[places], self.values[places], offsets)

    def shuffle(self, chance: np.random.Generator) -> Weights:
        """The same terms dealt to texts at random."""
        order = chance.permutation(len(self.terms))
        values = self.values[order]
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        lengths = np.sqrt(np.bincount(rows, weights=values**2, minlength=len(self)))
        return Weights(self.terms[order], values / lengths[rows], self.offsets)

    def score(self, centres: Floats) -> Floats:
        """(n, k) cosine to each of `centres` (k, terms)."""
        scores = np.zeros((len(self), len(centres)))
        columns = np.ascontiguousarray(centres.T)
        for start in range(0, len(self), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(self))
            own = slice(self.offsets[start], self.offsets[stop])
            filled = np.flatnonzero(np.diff(self.offsets[start : stop + 1]))
            if len(filled):
                parts = columns[self.terms[own]] * self.values[own, None]
                sums = np.add.reduceat(parts, self.offsets[start + filled] - self.offsets[start], axis=0)
                scores[start + filled] = sums
        return scores

    def add_up(self, groups: Ints, count: int, width: int) -> Floats:
        """(count, width), the unit sum of each group's texts; zero of an empty group."""
        slots = np.repeat(groups, np.diff(self.offsets)) * width + self.terms
        # Of nothing at all bincount gives integers.
        sums = np.bincount(slots, weights=self.values, minlength=count * width).astype(np.float64)
        return _scale(sums.reshape(count, width))


def find_topics(texts: Sequence[str], known: Sequence[str | None], *, max_topics: int, seed: int) -> list[str]:
    """Gives every text a topic: its own, that of labelled ones like it, or a cluster's.

    Args:
        texts: normalised queries, n of them.
        known: (n,) the topic that each came with.
        max_topics: most that clustering may add.
        seed: of the draw of texts that centres are fitted to, and of where they are sown.

    Returns:
        (n,) topics. "unlabelled" where fewer than `MIN_TEXTS` different texts are left to cluster, and for texts that
        have no word in common with others. The order of texts does not matter.
    """
    if len(texts) != len(known):
        raise ValueError(
            f"expected a topic or None for each of {len(texts)} texts, got {len(known)}: pass both columns"
        )
    if all(topic is not None for topic in known):
        return [topic or UNLABELLED for topic in known]
    distinct = sorted(set(texts))
    labels = _settle(texts, known)
    words = [_list_terms(distinct[start : start + _AT_ONCE]) for start in range(0, len(distinct), _AT_ONCE)]
    terms = np.concatenate([hashes for hashes, _ in words])
    offsets = count_up(np.concatenate([sizes for _, sizes in words]))
    fitted = _draw(distinct, seed)
    vocabulary, weights = _weigh(terms, offsets, fitted)
    found: dict[str, str] = {}
    open_rows = np.array([row for row, text in enumerate(distinct) if text not in labels], dtype=np.int64)
    if labels and len(vocabulary):
        open_rows = _follow(distinct, labels, weights, len(vocabulary), open_rows, found)
    if len(open_rows) >= MIN_TEXTS and len(vocabulary):
        chosen = np.intersect1d(open_rows, fitted)
        centres = _fit(weights.take(chosen), len(vocabulary), max_topics, seed)
        names = _name(centres, vocabulary, [distinct[row] for row in chosen.tolist()])
        scores = weights.take(open_rows).score(centres)
        for row, place, score in zip(
            open_rows.tolist(), scores.argmax(axis=1).tolist(), scores.max(axis=1), strict=True
        ):
            found[distinct[row]] = names[place] if score > 0 else UNLABELLED
    return [
        topic if topic is not None else labels.get(text) or found.get(text, UNLABELLED)
        for text, topic in zip(texts, known, strict=True)
    ]


def _settle(texts: Sequence[str], known: Sequence[str | None]) -> dict[str, str]:
    """The topic of each labelled text: the most frequent, of equals the first in the alphabet."""
    labels: dict[str, str] = {}
    disputed: set[str] = set()
    for text, topic in zip(texts, known, strict=True):
        if topic is not None and labels.setdefault(text, topic) != topic:
            disputed.add(text)
    votes: dict[str, Counter[str]] = {text: Counter() for text in disputed}
    for text, topic in zip(texts, known, strict=True):
        if topic is not None and text in disputed:
            votes[text][topic] += 1
    return labels | {text: min(own, key=lambda topic: (-own[topic], topic)) for text, own in votes.items()}


def _draw(texts: Sequence[str], seed: int) -> Ints:
    if len(texts) <= FITTED_TEXTS:
        return np.arange(len(texts))
    salt = seed.to_bytes(8, "little", signed=True)
    digests = b"".join(blake2b(t.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest() for t in texts)
    drawn: Ints = np.sort(np.argsort(np.frombuffer(digests, dtype=">u8"), kind="stable")[:FITTED_TEXTS])
    return drawn


def _list_terms(texts: Sequence[str]) -> tuple[UInts, Ints]:
    """Hashes of what is counted in each text: words without digits, and of scripts without spaces pairs of signs."""
    hashes, sizes = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)]
    for words in hash_chunks(texts):
        rows = np.repeat(np.arange(len(words.offsets) - 1), np.diff(words.offsets))
        paired = np.zeros(len(rows), dtype=np.bool_)
        paired[:-1] = words.solitary[:-1] & words.solitary[1:] & (rows[:-1] == rows[1:])
        terms = words.hashes.copy()
        terms[:-1] = np.where(paired[:-1], pair_terms(terms[:-1], terms[1:]), terms[:-1])
        kept = paired | ~(words.numeric | words.solitary)
        hashes.append(terms[kept])
        sizes.append(np.bincount(rows[kept], minlength=len(words.offsets) - 1))
    return np.concatenate(hashes), np.concatenate(sizes)


def pair_terms(first: UInts, second: UInts) -> UInts:
    return mix(mix(first) + second)


def _weigh(terms: UInts, offsets: Ints, fitted: Ints) -> tuple[UInts, Weights]:
    """The vocabulary of the fitted texts, sorted, and all texts' vectors over it."""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    inside = np.zeros(len(offsets) - 1, dtype=np.bool_)
    inside[fitted] = True
    own = inside[rows]
    vocabulary, numbered = np.unique(terms[own], return_inverse=True)
    pairs = np.unique(rows[own] * max(len(vocabulary), 1) + numbered)
    documents = np.bincount(pairs % max(len(vocabulary), 1), minlength=len(vocabulary))
    kept = np.flatnonzero((documents >= _MIN_DOCUMENTS) & (documents <= _MAX_SHARE * len(fitted)))
    kept = kept[np.lexsort((vocabulary[kept], -documents[kept]))[:_TERMS]]
    kept.sort()
    vocabulary, rarity = vocabulary[kept], np.log(len(fitted) / documents[kept])
    if not len(vocabulary):
        return vocabulary, Weights(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(len(offsets), dtype=np.int64))
    places = np.minimum(np.searchsorted(vocabulary, terms), len(vocabulary) - 1)
    found = vocabulary[places] == terms
    pairs, counts = np.unique(rows[found] * len(vocabulary) + places[found], return_counts=True)
    rows, columns = np.divmod(pairs, len(vocabulary))
    values = (1 + np.log(counts)) * rarity[columns]
    lengths = np.sqrt(np.bincount(rows, weights=values**2, minlength=len(offsets) - 1))
    sizes = np.bincount(rows, minlength=len(offsets) - 1)
    return vocabulary, Weights(columns, values / lengths[rows], count_up(sizes))


def _follow(
    texts: Sequence[str], labels: dict[str, str], weights: Weights, width: int, rows: Ints, found: dict[str, str]
) -> Ints:
    """Gives `rows` that are like labelled texts their topic; those left over come back."""
    topics = sorted(set(labels.values()))
    number = {topic: place for place, topic in enumerate(topics)}
    held = np.array([row for row, text in enumerate(texts) if text in labels], dtype=np.int64)
    groups = np.array([number[labels[texts[row]]] for row in held.tolist()], dtype=np.int64)
    labelled = weights.take(held)
    centres = labelled.add_up(groups, len(topics), width)
    own = labelled.score(centres)[np.arange(len(held)), groups]
    least = np.array([np.quantile(own[groups == place], _NEAR_QUANTILE) for place in range(len(topics))])
    scores = weights.take(rows).score(centres)
    best = scores.argmax(axis=1)
    # A topic of one text is at its own centre: nothing else would ever be as near.
    near = scores.max(axis=1) >= np.clip(least, _NEAREST, 2 * _NEAREST)[best]
    for row, place in zip(rows[near].tolist(), best[near].tolist(), strict=True):
        found[texts[row]] = topics[place]
    left: Ints = rows[~near]
    return left


def _fit(weights: Weights, width: int, max_topics: int, seed: int) -> Floats:
    """(k, width) centres of the topics, k ≤ `max_topics`.

    As many as part these texts better than the same number parts texts with the same words dealt at random (the gap of
    Tibshirani, Walther and Hastie 2001); one where none does.
    """
    chance = np.random.Generator(np.random.PCG64(seed))
    whole = weights.add_up(np.zeros(len(weights), dtype=np.int64), 1, width)
    steps = _merge(weights, width, max_topics, chance)
    by_chance = _merge(weights.shuffle(chance), width, max_topics, chance)
    gaps = {count: steps[count][0] - by_chance[count][0] for count in steps if count in by_chance}
    best = max(sorted(gaps), key=lambda count: gaps[count], default=1)
    return steps[best][1] if gaps.get(best, 0.0) > _LEAST_GAP else whole


def _merge(
    weights: Weights, width: int, max_topics: int, chance: np.random.Generator
) -> dict[int, tuple[float, Floats]]:
    """How well k centres part the texts, and the centres, for each k ≤ `max_topics` on the way down to two."""
    count = min(2 * max_topics, max(len(weights) // 5, 1))
    centres = _move(weights, _sow(weights, width, count, chance), width)
    groups = weights.score(centres).argmax(axis=1)
    mean = weights.add_up(np.zeros(len(weights), dtype=np.int64), 1, width)[0]
    steps: dict[int, tuple[float, Floats]] = {}
    while True:
        _, groups = np.unique(groups, return_inverse=True)
        sizes = np.bincount(groups)
        if len(sizes) < 2:
            return steps
        centres = weights.add_up(groups, len(sizes), width)
        smallest = int(sizes.argmin())
        large = sizes[smallest] >= max(_SMALLEST * len(weights), 2)
        if large and len(sizes) <= max_topics:
            settled = _move(weights, centres, width)
            steps[len(sizes)] = _measure_parting(weights, settled), settled
        # What all texts have in common makes no two topics alike.
        own = _scale(centres - (centres * mean).sum(axis=1, keepdims=True) * mean)
        alike = np.array([(own * row).sum(axis=1) for row in own])
        np.fill_diagonal(alike, -2.0)
        one, other = divmod(int(alike.argmax()), len(sizes)) if large else (smallest, int(alike[smallest].argmax()))
        groups[groups == max(one, other)] = min(one, other)


def _measure_parting(weights: Weights, centres: Floats) -> float:
    """Mean simplified silhouette (Hruschka et al. 2004) of texts: how much nearer they are to their own centre than to
    the next, in [0, 1]."""
    scores = np.partition(weights.score(centres), len(centres) - 2, axis=1)
    own, following = 1 - scores[:, -1], 1 - scores[:, -2]
    return float(np.mean((following - own) / np.maximum(following, 1e-9)))


def _sow(weights: Weights, width: int, count: int, chance: np.random.Generator) -> Floats:
    """k-means++ (Arthur and Vassilvitskii 2007) with cosine distance: the next where nothing is near."""
    rows = [int(chance.integers(len(weights)))]
    far = np.full(len(weights), np.inf)
    while len(rows) < count:
        latest = weights.take(np.array(rows[-1:])).add_up(np.zeros(1, dtype=np.int64), 1, width)
        far = np.minimum(far, np.maximum(1 - weights.score(latest)[:, 0], 0) ** 2)
        ends = np.cumsum(far)
        if ends[-1] <= 0:
            break
        rows.append(int(np.searchsorted(ends, chance.random() * ends[-1])))
    return weights.take(np.array(rows)).add_up(np.arange(len(rows)), len(rows), width)


def _move(weights: Weights, centres: Floats, width: int) -> Floats:
    groups = np.full(len(weights), -1)
    for _ in range(_ROUNDS):
        moved = weights.score(centres).argmax(axis=1)
        if np.array_equal(moved, groups):
            break
        groups = moved
        centres = weights.add_up(groups, len(centres), width)
    return centres


def _name(centres: Floats, vocabulary: UInts, texts: Sequence[str]) -> list[str]:
    """The heaviest words of each centre, heaviest first."""
    heavy = np.argsort(-centres, axis=1, kind="stable")[:, :NAME_WORDS]
    wanted = set(vocabulary[np.unique(heavy)].tolist())
    spelt: dict[int, str] = {}
    for start in range(0, len(texts), _AT_ONCE):
        for text in texts[start : start + _AT_ONCE]:
            if len(spelt) == len(wanted):
                break
            words = text.split()
            (hashed,) = hash_chunks([text])
            for place, word in enumerate(words):
                spelt_as = word
                number = int(hashed.hashes[place])
                if hashed.solitary[place] and place + 1 < len(words):
                    pair = pair_terms(hashed.hashes[place : place + 1], hashed.hashes[place + 1 : place + 2])
                    number, spelt_as = int(pair[0]), word + words[place + 1]
                if number in wanted:
                    spelt.setdefault(number, spelt_as)
    names = []
    for centre, places in zip(centres, heavy, strict=True):
        known = [spelt[int(vocabulary[place])] for place in places.tolist() if centre[place] > 0]
        names.append(", ".join(known) or UNLABELLED)
    return names


def _scale(sums: Floats) -> Floats:
    lengths = np.sqrt((sums**2).sum(axis=1, keepdims=True))
    return sums / np.where(lengths > 0, lengths, 1.0)
