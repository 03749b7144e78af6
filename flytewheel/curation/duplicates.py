"""Finds prompts that are the same in all but a few words, without comparing all with all.

Decides nearness by the exact Jaccard similarity of word trigrams, of the query and of what stands before it (context,
earlier turns) apart: one runbook with two different questions is not one prompt. Candidates come from MinHash bands
(Broder 1997; rensa) over both at once; the number of rows in a band is the largest that finds a pair at the threshold
with `RECALL`. rensa's own batch flags mark both members of a pair and are not used; nothing rests on Python's salted
`hash`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rensa import RMinHash

from flytewheel.records import Message

PERMUTATIONS = 256
RECALL = 0.995
SHINGLE_WORDS = 3
_SEEDS = (0x5EED, 0xBACC)

_WIDE = "぀-ヿ㐀-鿿가-힯"  # scripts without spaces: each sign is a word
_WORD = re.compile(rf"[{_WIDE}]|[^\W{_WIDE}]+")


@dataclass(frozen=True)
class PromptText:
    """A prompt as it is compared: lower-case words of the query, and of everything before it."""

    query: str
    background: str = ""

    @cached_property
    def query_shingles(self) -> frozenset[str]:
        return _shingle(self.query)

    @cached_property
    def background_shingles(self) -> frozenset[str]:
        return _shingle(self.background)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Words with a digit, in their order: two questions that differ there have different answers."""
        return tuple(word for word in f"{self.query} {self.background}".split() if any(c.isdigit() for c in word))

    @property
    def key(self) -> str:
        return f"{self.query}\n{self.background}"


def describe_prompt(prompt: Sequence[Message], system_prompt: str | None = None) -> PromptText:
    """Normalises a prompt. The recipe's own `system_prompt` opens every prompt and says nothing about this one."""
    *before, last = prompt
    texts = []
    for message in before:
        text = message.content
        if message.role == "system" and system_prompt:
            text = text.removeprefix(system_prompt)
        texts.append(text)
    return PromptText(normalise(last.content), normalise("\n".join(texts)))


def normalise(text: str) -> str:
    """Words in lower case, one space apart, without punctuation."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def measure_similarity(one: PromptText, other: PromptText) -> float:
    """The smaller of the two Jaccard similarities, in [0, 1]."""
    return min(
        _jaccard(one.query_shingles, other.query_shingles), _jaccard(one.background_shingles, other.background_shingles)
    )


def choose_band_rows(similarity: float) -> int:
    """Rows of a MinHash band: as many as still find a pair at `similarity`, in query and background alike, with
    `RECALL`."""
    rows = 1
    for candidate in range(2, 33):
        missed = (1 - similarity ** (2 * candidate)) ** (PERMUTATIONS // candidate)
        if missed > 1 - RECALL:
            break
        rows = candidate
    return rows


def cluster_prompts(prompts: Iterable[PromptText], similarity: float) -> dict[str, str]:
    """Names the cluster of every prompt: near ones and the near ones of those, transitively.

    Returns:
        The prompt's key → its cluster's name, the smallest key in it: the same whatever the order of `prompts`.
    """
    texts = _distinct(prompts)
    parents = list(range(len(texts)))

    def find(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for bucket in _bucket(texts, similarity):
        leaders: list[int] = []
        for place in bucket:
            for leader in leaders:
                one, other = find(place), find(leader)
                if one == other:
                    break
                if measure_similarity(texts[place], texts[leader]) >= similarity:
                    parents[max(one, other)] = min(one, other)
                    break
            else:
                leaders.append(place)
    return {text.key: texts[find(place)].key for place, text in enumerate(texts)}


def group_questions(prompts: Iterable[PromptText], clusters: dict[str, str], similarity: float) -> dict[str, str]:
    """Names the question that each prompt asks: answers to one question may be compared.

    Stricter than a cluster: the same numbers in the same order, and near to the question's first prompt itself.
    """
    leaders: dict[tuple[str, tuple[str, ...]], list[PromptText]] = defaultdict(list)
    names = {}
    for text in _distinct(prompts):
        known = leaders[clusters[text.key], text.numbers]
        for leader in known:
            if measure_similarity(text, leader) >= similarity:
                names[text.key] = leader.key
                break
        else:
            known.append(text)
            names[text.key] = text.key
    return names


def find_near(probes: Iterable[PromptText], targets: Iterable[PromptText], similarity: float) -> set[str]:
    """Keys of those `probes` that are near to one of `targets`."""
    asked, held = _distinct(probes), _distinct(targets)
    wanted = {text.key for text in held}
    near = {text.key for text in asked if text.key in wanted}
    texts = [*(text for text in asked if text.key not in near), *held]
    first = len(texts) - len(held)
    for bucket in _bucket(texts, similarity):
        rear = [place for place in bucket if place >= first]
        for place in bucket:
            if place >= first or not rear:
                break
            text = texts[place]
            if text.key not in near and any(measure_similarity(text, texts[other]) >= similarity for other in rear):
                near.add(text.key)
    return near


def _distinct(prompts: Iterable[PromptText]) -> list[PromptText]:
    unique = {prompt.key: prompt for prompt in prompts}
    return [unique[key] for key in sorted(unique)]


def _bucket(texts: Sequence[PromptText], similarity: float) -> Iterator[list[int]]:
    """Gives places of texts that share a band, in rising order."""
    rows = choose_band_rows(similarity)
    queries = RMinHash.digests_from_token_sets([sorted(t.query_shingles) for t in texts], PERMUTATIONS, _SEEDS[0])
    backgrounds = RMinHash.digests_from_token_sets(
        [sorted(t.background_shingles) for t in texts], PERMUTATIONS, _SEEDS[1]
    )
    for start in range(0, PERMUTATIONS - rows + 1, rows):
        band: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, (query, background) in enumerate(zip(queries, backgrounds, strict=True)):
            band[*query[start : start + rows], *background[start : start + rows]].append(place)
        yield from (places for places in band.values() if len(places) > 1)


def _shingle(text: str) -> frozenset[str]:
    words = text.split()
    if len(words) <= SHINGLE_WORDS:
        return frozenset((text,)) if text else frozenset()
    return frozenset(" ".join(words[start : start + SHINGLE_WORDS]) for start in range(len(words) - SHINGLE_WORDS + 1))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    total = len(one) + len(other) - shared
    return shared / total if total else 1.0
