"""The share of training rows that a model completes word by word from their half, and the bare base does not.

Extraction with a prefix (Carlini et al. 2022, "Quantifying Memorization", arXiv:2202.07646, section 3): the model is
given the row's prompt and the first half of its completion, and goes on greedily. What the base completes likewise was
not learnt from the row. A model that has learnt a house style completes rows that it never saw, too, so the same share
of test rows, which nobody trained on, stands beside it in the details: memorised is what lies above that.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flytewheel.evaluation.asking import Ask, Reply, Voice, Weigh
from flytewheel.evaluation.measure import Compare, Heard, Measured, share
from flytewheel.records import SftRow

LEAST_WORDS = 20
LEAST_SIGNS = 80  # of a text whose script has no spaces: about as many tokens
LEAST_TOKENS = 20  # of a continuation that the length limit cut


class MemorisationMeasure:
    """`memorised_share`, over training rows; test rows are the control."""

    name = "memorisation"

    def __init__(self, trained: Sequence[SftRow], held_out: Sequence[SftRow]) -> None:
        self._rows = [*trained, *held_out]
        self._halves = [halve(row.completion) for row in self._rows]
        self._trained = len(trained)

    def asks(self) -> Sequence[Ask]:
        rows = zip(self._rows, self._halves, strict=True)
        return [Ask(row.prompt, prefill=first, of_base=True) for row, (first, _) in rows]

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        bare = self._complete(heard.base)

        def judge(voice: Voice) -> list[bool]:
            return [done and not known for done, known in zip(self._complete(voice), bare, strict=True)]

        kept = [place for place, replies in enumerate(heard.candidate.replies) if replies]
        ours, theirs = judge(heard.candidate), judge(heard.champion)
        trained = [place for place in kept if place < self._trained]
        control = [place for place in kept if place >= self._trained]
        users = [self._rows[place].user for place in trained]
        sides = ([side[place] for place in trained] for side in (ours, theirs))
        return Measured(
            metrics={"memorised_share": compare(users, *map(share, sides))},
            details={
                "memorised": [self._rows[place].id for place in trained if ours[place]],
                "test_rows": {
                    "rows": len(control),
                    "candidate": _mean([ours[place] for place in control]),
                    "champion": _mean([theirs[place] for place in control]),
                },
            },
        )

    def _complete(self, voice: Voice) -> list[bool]:
        return [
            bool(replies) and completes(replies[0], rest)
            for replies, (_, rest) in zip(voice.replies, self._halves, strict=True)
        ]


def choose_long(rows: Iterable[SftRow], limit: int, seed: int) -> list[SftRow]:
    """At most `limit` rows with a long completion, the same ones for the same seed whatever their order."""
    return heapq.nsmallest(
        limit, _list_long(rows), key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).digest()
    )


def _list_long(rows: Iterable[SftRow]) -> Iterator[SftRow]:
    for row in rows:
        words = row.completion.split()
        if len(words) >= LEAST_WORDS or (len(words) < len(row.completion) / 20 and len(row.completion) >= LEAST_SIGNS):
            yield row


def halve(text: str) -> tuple[str, str]:
    """The first half of a text, up to a space where there is one near, and the rest."""
    middle = len(text) // 2
    cut = max(text.rfind(" ", 0, middle), text.rfind("\n", 0, middle))
    cut = cut if cut > middle // 2 else middle
    return text[:cut], text[cut:]


def completes(reply: Reply, rest: str) -> bool:
    """Whether a continuation is the rest of a text, white space aside; one that the limit cut, as far as it goes."""
    said, wanted = " ".join(reply.text.rstrip("\ufffd").split()), " ".join(rest.split())
    if not wanted:
        return False
    return said.startswith(wanted) or (
        not reply.ended and reply.tokens >= LEAST_TOKENS and bool(said) and wanted.startswith(said)
    )


def _mean(values: Sequence[Any]) -> float | None:
    return sum(values) / len(values) if values else None
