"""Prompts, answers and corrections of the generated window, drawn from the pools of `curation_words`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from math import exp
from typing import Any

import numpy as np

from benchmarks.curation_words import INJECTIONS, REFUSALS, TAILS, TOXIC, Words

BAD = ("toxic", "injection", "truncated", "gibberish", "loop", "refusal", "short", "empty")
_TOPICS = ("disk", "network", "database", "deploy", "memory", "cache", "queue", "security", "billing", "misc")


@dataclass(slots=True)
class Question:
    """A prompt that may be asked again; `answer` is the text of its first answer."""

    name: str
    query: str
    context: str | None
    passage: int
    topic: str | None
    answer: str


class Texts:
    """Draws texts. `draw` gives uniform numbers in [0, 1), `normal` standard normal ones; `block` are drawn at once."""

    def __init__(self, words: Words, seeds: tuple[int, ...], block: int = 65_536) -> None:
        uniform, normal = np.random.SeedSequence(seeds).spawn(2)
        self.draw = _stream(np.random.Generator(np.random.PCG64(uniform)).random, block)
        self.normal = _stream(np.random.Generator(np.random.PCG64(normal)).standard_normal, block)
        self.words = words

    def sentences(self, count: int, passage: int = -1) -> list[str]:
        draw, pool = self.draw, self.words.sentences
        size = len(pool)
        if passage < 0:
            return [pool[int(size * draw() ** 2)] for _ in range(count)]  # some are said far more often than others
        own = self.words.passages[passage]
        return [pool[own[int(len(own) * draw())] if draw() < 0.4 else int(size * draw() ** 2)] for _ in range(count)]

    def ask(self, row: int) -> str:
        draw, words = self.draw, self.words
        length = 23 * exp(0.42 * self.normal())
        count = max(1, min(12, round((length - 7) / 9)))
        clauses = [words.clauses[int(len(words.clauses) * draw())] for _ in range(count)]
        clauses[int(count * draw())] += f" on {words.hosts[int(len(words.hosts) * draw())]}-{row:x}"
        opener = f"{words.openers[int(len(words.openers) * draw())]} " if draw() < 0.4 else ""
        text = f"{opener}{', and '.join(clauses)}, {words.asks[int(len(words.asks) * draw())]}"
        return text[0].upper() + text[1:]

    def answer(self, passage: int) -> str:
        draw = self.draw
        count = max(1, min(110, round(9.3 * exp(0.42 * self.normal()))))
        if draw() < 0.004:
            count = 60 + int(draw() * 80)  # above 1,000 tokens
        said = self.sentences(count, passage)
        if draw() < 0.3:
            said.append(f"`{self.words.commands[int(len(self.words.commands) * draw())]}`")
            return "\n".join(f"{place}. {one}" for place, one in enumerate(said, 1))
        return f"{' '.join(said)}\nThen run `{self.words.commands[int(len(self.words.commands) * draw())]}`."

    def new_question(self, row: int, name: str) -> Question:
        draw = self.draw
        passage = int(len(self.words.passages) * draw()) if draw() < 0.7 else -1
        topic = _TOPICS[int(10 * draw() ** 1.5)] if draw() < 0.7 else None
        context = self.words.passage_texts[passage] if passage >= 0 else None
        return Question(name, self.ask(row), context, passage, topic, self.answer(passage))

    def vary(self, query: str) -> str:
        dice, size = self.draw(), query.count(" ") + 1
        if dice < 0.4:
            return query
        if dice < 0.65 or size < 14:
            return query.replace(",", "").rstrip("?") if dice < 0.5 else query.upper() if dice < 0.52 else f"{query}?!"
        tail = TAILS[int(len(TAILS) * self.draw())]
        if dice < 0.85 or size < 26:
            return f"{query} {tail}"
        return f"{query.rpartition(' ')[0]} {tail}?"

    def spoil(self, answer: str, plants: list[str]) -> str:
        draw = self.draw
        kind = BAD[int(len(BAD) * draw())]
        plants.append(kind)
        match kind:
            case "toxic":
                return f"{answer} {TOXIC[int(len(TOXIC) * draw())]}"
            case "injection":
                return f"{answer} {INJECTIONS[int(len(INJECTIONS) * draw())]}"
            case "truncated":
                return answer[: int(len(answer) * (0.4 + 0.5 * draw()))].rpartition(" ")[0] + " and then the"
            case "gibberish":
                return " ".join(f"{int(draw() * 26**5 * 97):x}qzx{'kvjw'[int(4 * draw()) :]}" for _ in range(60))
            case "loop":
                return (answer[:60] + " ") * (6 + int(12 * draw()))
            case "refusal":
                return REFUSALS[int(len(REFUSALS) * draw())]
            case "short":
                return ("Restart it.", "Yes.", "Look at the runbook.", "No idea, sorry.")[int(4 * draw())]
            case _:
                return " " * int(3 * draw())

    def correct(self, answer: str) -> str:
        dice = self.draw()
        if dice < 0.05:
            return answer
        if dice < 0.07:
            return INJECTIONS[int(len(INJECTIONS) * self.draw())]
        text = f"{' '.join(self.sentences(2))} {answer[: int(len(answer) * 0.7)].rpartition('.')[0]}."
        if dice < 0.10:
            text += f" {self.words.personal[int(len(self.words.personal) * self.draw())][1]}"
        return f"{text}\nThen run `{self.words.commands[int(len(self.words.commands) * self.draw())]}`."


def _stream(make: Callable[[int], np.ndarray[Any, np.dtype[np.float64]]], block: int) -> Callable[[], float]:
    return chain.from_iterable(iter(lambda: make(block).tolist(), None)).__next__
