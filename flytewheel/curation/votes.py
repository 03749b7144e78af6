"""What people think of one answer together: several may have judged the same text for the same question.

Decides by the mean, so that one person's slip or grudge does not turn an answer that others liked into one to avoid,
and no text is both a model and a warning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from flytewheel.curation.score import Scored, identify_text


@dataclass(frozen=True, slots=True)
class Answer:
    """One text that answered one question. `best` is the judgement of the highest quality, the newest of equals."""

    question: str
    best: Scored
    judged: tuple[Scored, ...]

    @property
    def total(self) -> float:
        """Mean reward, in [-1, 1]."""
        return fsum(one.total for one in self.judged) / len(self.judged)

    @property
    def explicit(self) -> float | None:
        """Mean of what was said, in [-1, 1]; `None` where nobody said anything."""
        said = [one.explicit for one in self.judged if one.explicit is not None]
        return fsum(said) / len(said) if said else None


def gather_answers(rows: Sequence[Scored], questions: Mapping[str, str]) -> list[Answer]:
    """Brings together rows with the same question and the same text, in the order of their first appearance."""
    found: dict[tuple[str, str], list[Scored]] = defaultdict(list)
    for row in rows:
        found[questions[row.text.key], identify_text(row.response)].append(row)
    return [
        Answer(question, max(reversed(judged), key=lambda one: one.quality), tuple(judged))
        for (question, _), judged in found.items()
    ]
