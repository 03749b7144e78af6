"""Finds prompts that are the same in all but a few words, without comparing all with all.

Decides nearness by the exact Jaccard similarity of word trigrams, of the query and of what stands before it (context,
earlier turns) apart: one runbook with two different questions is not one prompt. A cluster is all that is joined by
near pairs, directly or over others; a question is stricter. Both are named by the smallest key, so neither the order
of rows nor the partitions they came in have a say.
"""

from __future__ import annotations

import numpy as np

from flytewheel.curation.fingerprints import PromptFingerprints, chain
from flytewheel.curation.neighbours import Neighbourhood
from flytewheel.curation.shingles import Bools, Floats, Ints, UInts, mix

_ROUNDS = 64  # leaders of a question's candidates before they are parted by bands
_BAND_ROUNDS = 4


def cluster(prompts: PromptFingerprints, similarity: float | None = None) -> Ints:
    """Names the cluster of every distinct prompt: near ones and the near ones of those, transitively.

    Args:
        prompts: n distinct prompts.
        similarity: that the fingerprints were made for, or above.

    Returns:
        (n,) the smallest place in the prompt's cluster.

    Raises:
        ValueError: the fingerprints' bands would miss pairs so little alike.
    """
    return Neighbourhood(prompts, _check(prompts, similarity)).unite()


def group_questions(
    clusters: Ints, prompts: PromptFingerprints, similarity: float | None = None
) -> tuple[Ints, Floats]:
    """Names the question that each prompt asks: answers to one question may be compared.

    Stricter than a cluster: the same numbers in the same order, and near to the question's first prompt itself. Where
    one cluster holds more than `_ROUNDS` questions with the same numbers (templates with several slots), the rest is
    compared within bands, and what finds no question there is one of its own.

    Args:
        clusters: (n,) of `cluster`.
        prompts: the same prompts.
        similarity: to the question's first prompt.

    Returns:
        (n,) the place of the question's first prompt, and (n,) the similarity to it in [0, 1], 1 for itself.
    """
    least = prompts.similarity if similarity is None else similarity
    leaders = np.arange(len(prompts))
    scores = np.ones(len(prompts))
    groups = mix(mix(clusters.astype(np.uint64)) ^ prompts.numbers)
    rest = _lead(prompts, least, groups, np.arange(len(prompts)), leaders, scores, _ROUNDS)
    for band in range(prompts.bands):
        if not len(rest):
            break
        parted = mix(groups ^ prompts.read_band(band))
        rest = _lead(prompts, least, parted, rest, leaders, scores, _BAND_ROUNDS)
    return leaders, scores


def find_near(probes: PromptFingerprints, targets: PromptFingerprints, similarity: float | None = None) -> Bools:
    """Which of `probes` are near to one of `targets`.

    Returns:
        (len(probes),) whether each is.

    Raises:
        ValueError: the two were made for different similarities, or for more than `similarity`.
    """
    least = _check(targets, _check(probes, similarity))
    if not len(targets) or not len(probes):
        return np.zeros(len(probes), dtype=np.bool_)
    both = chain(targets, probes)
    near: Bools = Neighbourhood(both, least, targets=len(targets)).unite()[len(targets) :] == 0
    return near


def _lead(
    prompts: PromptFingerprints,
    least: float,
    groups: UInts,
    places: Ints,
    leaders: Ints,
    scores: Floats,
    rounds: int,
) -> Ints:
    """The first of each group leads those near to it, the first of the rest leads the next …; gives who is left.

    Those left by `rounds` are a leader each, until another call finds them one.
    """
    order = np.lexsort((places, groups[places]))
    places = places[order]
    for _ in range(rounds):
        group = groups[places]
        fresh = np.ones(len(places), dtype=np.bool_)
        fresh[1:] = group[1:] != group[:-1]
        first = places[fresh][np.cumsum(fresh) - 1]
        others = places[~fresh]
        if not len(others):
            return others
        found = prompts.measure(others, first[~fresh], least)
        near = found >= least
        leaders[others[near]] = first[~fresh][near]
        scores[others[near]] = found[near]
        places = others[~near]
    return np.sort(places)


def _check(prompts: PromptFingerprints, similarity: float | None) -> float:
    if similarity is None:
        return prompts.similarity
    if similarity < prompts.similarity:
        raise ValueError(
            f"expected a similarity of at least {prompts.similarity}, which the fingerprints were made for, "
            f"got {similarity}: take them again"
        )
    return similarity
