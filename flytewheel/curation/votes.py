"""What people think of one answer together: several may have judged the same text for the same question.

Decides by the mean, so that one person's slip or grudge does not turn an answer that others liked into one to avoid,
and no text is both a model and a warning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from flytewheel.curation.judged import Judged


@dataclass(frozen=True, slots=True)
class Answer:
    """One text that answered one question. `best` is the judgement of the highest quality, the newest of equals.

    `total` is the mean reward, in [-1, 1], `explicit` the mean of what was said, `None` where nobody said anything.
    """

    question: int
    best: Judged
    judged: tuple[Judged, ...]
    total: float
    explicit: float | None


def gather_answers(rows: Sequence[Judged]) -> list[Answer]:
    """Brings together rows with the same question and the same text, in the order of their first appearance."""
    found: dict[tuple[int, int], list[Judged]] = defaultdict(list)
    for row in rows:
        found[row.question, row.answer].append(row)
    return [_weigh(question, judged) for (question, _), judged in found.items()]


def _weigh(question: int, judged: list[Judged]) -> Answer:
    if len(judged) == 1:
        only = judged[0]
        return Answer(question, only, (only,), only.total, only.explicit)
    said = [one.explicit for one in judged if one.explicit is not None]
    return Answer(
        question,
        max(reversed(judged), key=lambda one: one.quality),
        tuple(judged),
        fsum(one.total for one in judged) / len(judged),
        fsum(said) / len(said) if said else None,
    )
