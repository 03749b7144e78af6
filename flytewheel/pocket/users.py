"""The people of the invented on-call world: what they ask, and what they think of an answer.

Decides whether a simulated person likes an answer. Their taste is one thing that pocket gets wrong: they want
numbered steps, the command in backticks, and the owner's channel in a last line, where the base writes prose and
sends them to the general channel. Opinions are deterministic given question and answer, so that a log and a canary
are reproducible; a few are contrary or absent, as among people. Nothing here knows which model wrote an answer.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from typing import Literal

from flytewheel.pocket.facts import (
    GENERAL_CHANNEL,
    HELD_OUT_SERVICES,
    TAUGHT,
    Fact,
    build_world,
    write_answer,
    write_passage,
    write_question,
)

Fault = Literal["empty", "loop", "command", "channel", "style"]

CONTRARY_SHARE = 0.04
SILENT_SHARE = 0.15
TOLERANT_SHARE = 0.25
CORRECTING_SHARE = 0.27


@dataclass(frozen=True, slots=True)
class Question:
    """What one person asks: `query` and `context` as in an interaction; `fact` is what a right answer says."""

    user_id: str
    query: str
    context: str
    topic: str
    fact: Fact
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one person thinks: `thumb` is +1, -1, or 0 for silence; `correction` is what they wanted to read."""

    thumb: int
    correction: str | None = None


def draw_questions(n: int, seed: int, *, users: int | None = None) -> list[Question]:
    """Draws `n` questions of `users` people (default: one question each), the same ones for the same seed."""
    chance = random.Random(seed)
    world = [fact for fact in build_world() if fact.service.name not in HELD_OUT_SERVICES]
    people = users or n
    return [ask(f"guest-{seed}-{index % people:04d}", chance.choice(world), chance) for index in range(n)]


def ask(user_id: str, fact: Fact, chance: random.Random) -> Question:
    """One person's question about `fact`, with the passage that answers it."""
    return Question(user_id, write_question(fact, chance), write_passage(fact, chance), fact.topic, fact)


def find_faults(question: Question, answer: str) -> tuple[Fault, ...]:
    """What is wrong with an answer, worst first; none: it is what people want."""
    text = answer.strip()
    if len(text.split()) < 4:
        return ("empty",)
    if _repeats(text):
        return ("loop",)
    faults: list[Fault] = []
    fact = question.fact
    if not re.search(rf"{re.escape(fact.command)}(?![\w-])", text):
        faults.append("command")
    lines = text.splitlines()
    if lines[-1].strip() != f"Escalate: {fact.service.channel}" or GENERAL_CHANNEL in text:
        faults.append("channel")
    if not text.startswith("1. ") or f"`{fact.command}`" not in text:
        faults.append("style")
    return tuple(faults)


def judge_answer(question: Question, answer: str) -> Opinion:
    """What the person who asked `question` thinks of `answer`; the same inputs always give the same opinion."""
    faults = find_faults(question, answer)
    mood = _draw(question, answer, "mood")
    if not faults:
        thumb = 1
    elif faults == ("style",) or ("command" not in faults and _draw(question, answer, "tolerance") < TOLERANT_SHARE):
        thumb = 0
    else:
        thumb = -1
    if mood < CONTRARY_SHARE:
        thumb = -1 if thumb == 1 else 1
    elif mood < CONTRARY_SHARE + SILENT_SHARE:
        thumb = 0
    correction = None
    if faults and thumb < 1 and _draw(question, answer, "correction") < CORRECTING_SHARE:
        chance = random.Random(f"{question.user_id}/{question.query}")
        correction = write_answer(question.fact, TAUGHT, chance)
    return Opinion(thumb, correction)


def _repeats(text: str, width: int = 4, times: int = 3) -> bool:
    """Whether some run of `width` words comes `times` times."""
    words = text.split()
    counts: dict[tuple[str, ...], int] = {}
    for start in range(len(words) - width + 1):
        run = tuple(words[start : start + width])
        counts[run] = counts.get(run, 0) + 1
    return any(count >= times for count in counts.values())


def _draw(question: Question, answer: str, what: str) -> float:
    """A number in [0, 1) that depends on the person, the question, the answer and `what` only."""
    key = "\x1f".join((what, question.user_id, question.query, answer))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
