"""What a judge is: it is shown duels and says of each how much it prefers our answer.

A duel is a prompt with two answers. Answers that differ in white space alone are a tie, and nobody is asked. A judge
that has no verdict says so (`None`); that is no tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flytewheel.evaluation.measure import Examples
from flytewheel.progress import ProgressCallback
from flytewheel.records import Message, Preference, digest, duel_id

TIE = 0.5


@dataclass(frozen=True, slots=True)
class Duel:
    """Two answers to one prompt, the candidate's and the champion's. `id` names prompt and answers (`duel_id`)."""

    id: str
    user: str
    topic: str
    prompt: tuple[Message, ...]
    ours: str
    theirs: str

    @property
    def same(self) -> bool:
        """Whether there is nothing to prefer."""
        return self.ours.split() == self.theirs.split()


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge says of a duel.

    Attributes:
        preference: for our answer, in [0, 1]: 1 ours, 0 theirs, 0.5 a tie; `None`: no verdict.
        reason: in the judge's words, or why there is none.
        places: of a judge that was asked in both orders, which *place* won each time: `first`, `second`, `tie` or
            `None` (no verdict), our answer standing first the first time.
    """

    preference: float | None
    reason: str = ""
    places: tuple[str | None, str | None] | None = None


class Judge(Protocol):
    """Whoever can say which of two answers is better."""

    @property
    def name(self) -> str:
        """What it is called in notes, such as `the reward model`."""
        ...

    def judge(self, duels: Sequence[Duel], progress: ProgressCallback | None = None) -> list[Opinion]:
        """An opinion of each duel, in their order. The answers differ."""
        ...


def list_duels(examples: Examples) -> list[Duel]:
    """The examples' answers as duels."""
    return [
        Duel(duel_id(row.prompt, ours.text, theirs.text), row.user, row.topic, row.prompt, ours.text, theirs.text)
        for row, ours, theirs in zip(examples.rows, examples.candidate, examples.champion, strict=True)
    ]


def turn_pairs(pairs: Sequence[Preference]) -> tuple[list[Duel], list[float]]:
    """Pairs that people chose among as duels, and what they preferred.

    The chosen answer takes our side in every other pair, in an order drawn from their content, so that a judge that
    always prefers the same side agrees with exactly half of them.
    """
    names = [duel_id(pair.prompt, pair.chosen, pair.rejected) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda at: (digest(["side", names[at]]), at))
    preferred = [0.0] * len(pairs)
    for place, at in enumerate(order):
        preferred[at] = float(place % 2 == 0)
    duels = []
    for pair, name, ours in zip(pairs, names, preferred, strict=True):
        sides = (pair.chosen, pair.rejected) if ours else (pair.rejected, pair.chosen)
        duels.append(Duel(name, pair.user, pair.topic, pair.prompt, *sides))
    return duels, preferred


def ask_judge(judge: Judge, duels: Sequence[Duel], progress: ProgressCallback | None = None) -> list[Opinion]:
    """Asks about each duel whose answers differ, each once; the others are ties.

    Raises:
        EndpointError: the judge is a model that is away or refuses.
    """
    different = {(duel.id, duel.ours): duel for duel in duels if not duel.same}
    said = judge.judge(list(different.values()), progress) if different else []
    opinions = dict(zip(different, said, strict=True))
    same = Opinion(TIE, "the same answer")
    return [same if duel.same else opinions[duel.id, duel.ours] for duel in duels]
