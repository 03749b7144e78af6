"""Refuses a data set whose test rows overlap what was trained on: figures of it would praise memory.

Compared are users (their rows resemble each other), ids of rows and of the interactions that they come from, prompts,
and answers beside the same prompt; of regression cases the prompts. A prompt is its system turn, the passage behind
"Context:" in it, the turns before, and the question, each as words without case and punctuation: the same question
about another passage is another prompt. Two prompts are nearly the same where the system turns have the same words and
each other piece has a Jaccard similarity of word trigrams of at least half of the way from curation's
`near_duplicate_similarity` (the card holds it; 0.9 unless the recipe says otherwise) to 1. Curation lets no pair above
its own similarity into two parts, so what it made passes, also beside its one miss in 200 at the very threshold.

Rows that curation replayed from an earlier data set may have ids of another source, which are another's: of them users
and prompts are compared, as curation does. Pairs and thumbs do not say that they were replayed; their set's card does.

Near prompts are found exactly, by prefix filtering (Bayardo, Ma and Srikant 2007, "Scaling Up All Pairs Similarity
Search", section 3): two sets of similarity s share one of the rarest (1 - s) |A| + 1 trigrams of either, and rare means
rare among the test prompts. A prompt of which enough trigrams stand in no test prompt is done with at once, so the time
grows with the rows. Measured in docs/log.md.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from flytewheel.dataset import Dataset
from flytewheel.errors import EvaluationError
from flytewheel.evaluation.text.words import split_words
from flytewheel.records import Message, Preference, Trajectory

_KINDS = ("sft", "preference", "unpaired", "trajectory")
_CURATED = 0.9
_NAMED = 3
_CONTEXT = "Context:\n"  # what `records.build_prompt` writes before the passage


class Piece(NamedTuple):
    """A prompt as it is compared: words, one space apart."""

    system: str
    context: str
    history: str
    query: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """One way in which a test set overlaps training: how many test rows or cases do, and the first of their ids."""

    what: str
    count: int
    ids: tuple[str, ...]

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.ids) else ""
        return f"{self.count:,} {self.what} ({', '.join(self.ids)}{more})"


def check_overlap(test: Dataset, trained_on: Sequence[Dataset]) -> None:
    """Refuses a test part that overlaps training.

    Args:
        test: The data set whose test part (and regression cases) is to be evaluated on.
        trained_on: Data sets whose training part a model has learnt from; `test` itself may be one of them.

    Raises:
        DatasetError: a data set cannot be read.
        EvaluationError: they overlap; one line says how, how often, and where.
    """
    if found := find_overlaps(test, trained_on):
        raise EvaluationError(
            f"{test.path}: the evaluation set overlaps training: {'; '.join(map(str, found))}; nothing was evaluated: "
            "curate the data set again (curation splits by user and by prompt), or take those rows out of one part"
        )


def find_overlaps(test: Dataset, trained_on: Sequence[Dataset]) -> list[Overlap]:
    """As `check_overlap`, but gives what was found, each way once."""
    asked = _Asked(test, _choose_similarity(test))
    for data in trained_on:
        mixed = any(step.name.startswith("replay") for step in data.card.steps)
        for kind in _KINDS:
            for row in data.rows(kind, "train"):
                source = getattr(row, "source", "")
                replayed = source == "replay" or (mixed and kind in ("preference", "unpaired"))
                asked.meet(row, by_id=not replayed)
    return asked.tell()


def _choose_similarity(test: Dataset) -> float:
    curated = test.card.recipe.get("curation", {}).get("near_duplicate_similarity", _CURATED)
    return (1 + max(_CURATED, float(curated))) / 2


class _Asked:
    """What a test part asks, by everything that it may share with a training row."""

    def __init__(self, test: Dataset, similarity: float) -> None:
        self._users: defaultdict[str, list[str]] = defaultdict(list)
        self._ids: set[str] = set()
        self._interactions: defaultdict[str, list[str]] = defaultdict(list)
        self._prompts: defaultdict[Piece, list[str]] = defaultdict(list)
        self._cases: defaultdict[Piece, list[str]] = defaultdict(list)
        self._answers: defaultdict[tuple[Piece, str], list[str]] = defaultdict(list)
        self._seen: set[Piece] = set()
        self._found: dict[str, dict[str, None]] = {}  # ids by way, in the order of training's rows
        for kind in _KINDS:
            for row in test.rows(kind, "test"):
                self._users[row.user].append(row.id)
                self._ids.add(row.id)
                for interaction in row.interactions:
                    self._interactions[interaction].append(row.id)
                for piece, answers in _list_prompts(row):
                    self._prompts[piece].append(row.id)
                    for answer in answers:
                        self._answers[piece, answer].append(row.id)
        for case in test.regression("test"):
            self._cases[cut_prompt(case.prompt)].append(case.id)
        self._near = _NearPrompts({**self._prompts, **self._cases}, similarity)
        self._similarity = similarity

    def meet(self, row: Any, *, by_id: bool = True) -> None:
        """Compares a row that was trained on; `by_id`: also its id and those of its interactions."""
        if row.user in self._users:
            self._add("test rows of users who are trained on", self._users[row.user])
        if by_id and row.id in self._ids:
            self._add("test rows whose id a training row has", [row.id])
        for interaction in row.interactions if by_id else ():
            if interaction in self._interactions:
                self._add("test rows that come from an interaction that is trained on", self._interactions[interaction])
        for piece, answers in _list_prompts(row):
            for answer in answers:
                if (piece, answer) in self._answers:
                    self._add("test answers that training repeats word by word", self._answers[piece, answer])
            if piece in self._seen:
                continue
            self._seen.add(piece)
            self._meet_prompt(piece)

    def _meet_prompt(self, piece: Piece) -> None:
        if piece in self._prompts:
            self._add("test prompts that are trained on", self._prompts[piece])
        if piece in self._cases:
            self._add("regression cases whose prompt is trained on", self._cases[piece])
        for near in self._near.find(piece):
            if near == piece:
                continue
            words = f"(similarity {self._similarity:g} or more)"
            if near in self._prompts:
                self._add(f"test prompts that are nearly trained on {words}", self._prompts[near])
            if near in self._cases:
                self._add(f"regression cases whose prompt is nearly trained on {words}", self._cases[near])

    def _add(self, way: str, ids: Iterable[str]) -> None:
        self._found.setdefault(way, {}).update(dict.fromkeys(ids))

    def tell(self) -> list[Overlap]:
        return [Overlap(way, len(ids), tuple(sorted(ids)[:_NAMED])) for way, ids in sorted(self._found.items())]


class _NearPrompts:
    """Prompts by the rarest trigrams of their questions."""

    def __init__(self, prompts: Iterable[Piece], similarity: float) -> None:
        self._least = similarity
        by_query: defaultdict[str, list[Piece]] = defaultdict(list)
        for piece in prompts:
            by_query[piece.query].append(piece)
        self._by_query = by_query
        self._shingles = {query: shingle(query) for query in by_query}
        self._times = Counter(gram for grams in self._shingles.values() for gram in grams)
        self._rare: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for query, grams in self._shingles.items():
            for gram in self._take_rare(list(grams), len(grams)):
                self._rare[gram].append(query)

    def find(self, piece: Piece) -> Iterator[Piece]:
        """The prompts that are nearly this one, or it."""
        grams = shingle(piece.query)
        known = [gram for gram in grams if gram in self._times]
        if len(grams) - len(known) >= self._count_rare(len(grams)):
            return
        met = {query for gram in self._take_rare(known, len(grams)) for query in self._rare.get(gram, ())}
        for query in sorted(met):
            if _measure(grams, self._shingles[query]) < self._least:
                continue
            for other in self._by_query[query]:
                if other.system == piece.system and all(
                    mine == theirs or _measure(shingle_background(mine), shingle_background(theirs)) >= self._least
                    for mine, theirs in zip(piece[1:3], other[1:3], strict=True)
                ):
                    yield other

    def _take_rare(self, known: list[tuple[str, ...]], size: int) -> list[tuple[str, ...]]:
        """Of `known` trigrams of a prompt of `size`: the first of the prefix; the unknown, rarest of all, lead it."""
        room = self._count_rare(size) - (size - len(known))
        return sorted(known, key=lambda gram: (self._times[gram], gram))[:room]

    def _count_rare(self, size: int) -> int:
        return size - math.ceil(self._least * size - 1e-9) + 1


def shingle(text: str) -> frozenset[tuple[str, ...]]:
    """Word trigrams; of a text of up to three words, the whole."""
    words = text.split()
    return frozenset(zip(words, words[1:], words[2:], strict=False)) if len(words) > 3 else frozenset([tuple(words)])


@lru_cache(maxsize=1024)  # a passage is asked about many times
def shingle_background(text: str) -> frozenset[tuple[str, ...]]:
    return shingle(text)


def _measure(one: frozenset[Any], other: frozenset[Any]) -> float:
    """Jaccard similarity of two sets that are not empty."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def _list_prompts(row: Any) -> Iterator[tuple[Piece, tuple[str, ...]]]:
    """Each prompt of a row with the answers that it holds for good ones: of a session, one before every answer."""
    if isinstance(row, Trajectory):
        for turn, message in enumerate(row.messages):
            if message.role == "assistant" and turn:
                yield cut_prompt(row.messages[:turn]), (message.content.strip(),)
    else:
        good = str(row.chosen if isinstance(row, Preference) else row.completion).strip()
        yield cut_prompt(row.prompt), (good,) if good else ()


def cut_prompt(prompt: Sequence[Message]) -> Piece:
    """A prompt's pieces, normalised."""
    *before, last = prompt
    system = context = ""
    if before and before[0].role == "system":
        system, context = _cut_system(before.pop(0).content)
    return Piece(system, context, " ".join(_join(message.content) for message in before), _join(last.content))


@lru_cache(maxsize=4096)
def _cut_system(text: str) -> tuple[str, str]:
    head, found, passage = text.partition(_CONTEXT) if text.startswith(_CONTEXT) else text.partition(f"\n\n{_CONTEXT}")
    return (_join(head), _join(passage)) if found else (_join(text), "")


def _join(text: str) -> str:
    """Words of a text. One that has none, such as "???", is told by its signs."""
    return " ".join(split_words(text)) or " ".join(text.split())
