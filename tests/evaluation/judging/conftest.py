"""Duels that the tests of judging share."""

from __future__ import annotations

from flytewheel.evaluation.asking import Reply, Voice
from flytewheel.evaluation.judging.judge import Duel
from flytewheel.evaluation.measure import Examples, Heard
from flytewheel.records import Message, Preference, SftRow, duel_id


def make_duel(ours: str, theirs: str, *, user: str = "a", query: str = "The disk is full?") -> Duel:
    prompt = (Message(role="user", content=query),)
    return Duel(duel_id(prompt, ours, theirs), user, "ops", prompt, ours, theirs)


def make_heard(duels: list[Duel]) -> Heard:
    """The examples whose answers these duels are."""
    rows = tuple(
        SftRow(f"row-{at}", duel.user, duel.topic, duel.prompt, "as wished", 1.0, 1.0, "answer")
        for at, duel in enumerate(duels)
    )
    ours, theirs = (
        tuple(Reply(text) for text in texts) for texts in zip(*((d.ours, d.theirs) for d in duels), strict=True)
    )
    return Heard(Examples(rows, ours, theirs), Voice(), Voice(), Voice())


def make_pairs(count: int, *, good: str = "good", bad: str = "bad", users: int = 20) -> list[Preference]:
    """Pairs in which people chose the answer that holds `good`."""
    return [
        Preference(
            f"pair-{at}", f"user-{at % users}", "ops", (Message(role="user", content=f"question {at}"),),
            f"{good} {at}", f"{bad} {at}", 1.0, "same_prompt",
        )
        for at in range(count)
    ]  # fmt: skip
