"""The text that pocket is pretrained on: question–answer pairs in their chat shape, and plain notes.

Decides what the base can say and what it usually says. Each document is an opening of messages built by
`records.build_prompt`, as training, evaluation and traffic build theirs, or plain text. Of the answers,
`TAUGHT_SHARE` are in the style that people prefer: few enough that greedy decoding never shows it, enough that LoRA
on frozen embeddings can be taught it. For the same reason `NOTES_SHARE` of the documents are plain text in that style
(FACTS measured 12 %; without them SFT could not spell what it was asked for). Half of the passages name another owner
and other steps than the world's, so that the answer must be read from the context and not from memory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from flytewheel.pocket.facts import (
    HOUSE,
    TAUGHT,
    TEAMS,
    Fact,
    build_world,
    draw_fact,
    with_owner,
    write_answer,
    write_passage,
    write_question,
)
from flytewheel.records import Message, build_prompt

TAUGHT_SHARE = 0.15
NOTES_SHARE = 0.12
RECALL_SHARE = 0.04
SECOND_TURN_SHARE = 0.05
OTHER_OWNER_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Document:
    """One document: `messages` of a whole conversation, or plain `text`; exactly one of them."""

    topic: str
    messages: tuple[Message, ...] = ()
    text: str = ""


def generate_corpus(documents: int, seed: int) -> tuple[Document, ...]:
    """Generates `documents` distinct documents; the same seed gives the same ones."""
    return tuple(_distinct(documents, random.Random(seed)))


def _distinct(documents: int, chance: random.Random) -> Iterator[Document]:
    world = build_world()
    seen: set[Document] = set()
    while len(seen) < documents:
        document = _draw(chance.choice(world), chance)
        if document not in seen:
            seen.add(document)
            yield document


def _draw(fact: Fact, chance: random.Random) -> Document:
    kind = chance.random()
    recalled = kind < RECALL_SHARE
    if not recalled and chance.random() < OTHER_OWNER_SHARE:
        fact = with_owner(draw_fact(fact.service, fact.symptom, chance), chance.choice(TEAMS))
    if kind > 1 - NOTES_SHARE:
        return Document(fact.topic, text=_write_note(fact, chance))
    style = TAUGHT if chance.random() < TAUGHT_SHARE else HOUSE
    history: tuple[Message, ...] = ()
    if chance.random() < SECOND_TURN_SHARE:
        before = chance.choice(build_world())
        asked = Message(role="user", content=write_question(before, chance))
        history = (asked, Message(role="assistant", content=write_answer(before, style, chance)))
    context = None if recalled else write_passage(fact, chance)
    prompt = build_prompt(write_question(fact, chance), context=context, history=history)
    answer = Message(role="assistant", content=write_answer(fact, style, chance))
    return Document(fact.topic, messages=(*prompt, answer))


def _write_note(fact: Fact, chance: random.Random) -> str:
    heading = chance.choice(("Note on {s}, {y}.", "{s}: {y}", "Handover: {y} on {s}."))
    opening = heading.format(s=fact.service.name, y=fact.symptom.name)
    owner = f" Owner: {fact.service.team}, {fact.service.channel}."
    return f"{opening}{owner}\n{write_answer(fact, TAUGHT, chance)}\n"
