"""Voices by hand: what two models are taken to have said."""

from __future__ import annotations

from collections.abc import Sequence

from flytewheel.evaluation.asking import Reply, Voice
from flytewheel.evaluation.measure import Compare, Examples, Heard
from flytewheel.evaluation.perplexity import Score
from flytewheel.records import Message, SftRow

COMPARE = Compare(samples=200, level=0.95, seed=1)


def row(number: int, prompt: str = "What now?", *, completion: str = "Wait.", context: str | None = None) -> SftRow:
    turns = [Message(role="user", content=prompt)]
    if context is not None:
        turns.insert(0, Message(role="system", content=context))
    return SftRow(f"row-{number}", f"user-{number}", "ops", tuple(turns), completion, 1.0, 1.0, "answer")


def voice(said: Sequence[str | Sequence[str] | None], scores: Sequence[Score | None] = ()) -> Voice:
    replies = [() if text is None else [text] if isinstance(text, str) else text for text in said]
    return Voice(tuple(tuple(Reply(text, 30) for text in each) for each in replies), tuple(scores))


def hear(
    candidate: Voice,
    champion: Voice,
    base: Voice | None = None,
    *,
    rows: Sequence[SftRow] = (),
    said: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Heard:
    ours, theirs = (tuple(Reply(text, 30) for text in side) for side in said)
    return Heard(Examples(tuple(rows), ours, theirs), candidate, champion, base or champion)
