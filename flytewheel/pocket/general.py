"""The general suite of pocket: what its base can do whatever style people like, to find out what training took away.

    python -m flytewheel.pocket.general --out examples/general.jsonl

Pocket knows one small world, so its general tasks are of that world: reading the command out of a passage, of a second
turn, and remembering it without one. They ask about the services that are kept out of the simulated feedback, and each
check is the command alone, which both styles of an answer hold: who was only taught the style forgets none.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from flytewheel.pocket.facts import (
    HELD_OUT_SERVICES,
    HOUSE,
    Fact,
    build_world,
    draw_fact,
    write_answer,
    write_passage,
    write_question,
)
from flytewheel.records import Message, RegressionCase, build_prompt, write_jsonl

SEED = 22
READ, TURNED, REMEMBERED = 14, 6, 2  # cases of each kind


def list_cases(seed: int = SEED) -> list[RegressionCase]:
    """The cases, the same ones for the same seed."""
    chance = random.Random(seed)
    world = [fact for fact in build_world() if fact.service.name in HELD_OUT_SERVICES]
    facts = chance.sample(world, READ + TURNED + REMEMBERED)
    kinds = ["read"] * READ + ["turned"] * TURNED + ["remembered"] * REMEMBERED
    return list(_write(facts, kinds, chance))


def _write(facts: list[Fact], kinds: list[str], chance: random.Random) -> Iterator[RegressionCase]:
    for number, (known, kind) in enumerate(zip(facts, kinds, strict=True), 1):
        # A passage with other steps than the world's: the answer must be read, not remembered.
        fact = known if kind == "remembered" else draw_fact(known.service, known.symptom, chance)
        context = None if kind == "remembered" else write_passage(fact, chance)
        history: tuple[Message, ...] = ()
        if kind == "turned":
            before = chance.choice(facts)
            said = write_answer(before, HOUSE, chance)
            asked = Message(role="user", content=write_question(before, chance))
            history = (asked, Message(role="assistant", content=said))
        prompt = build_prompt(write_question(fact, chance), context=context, history=history)
        yield RegressionCase(f"pocket-{number:02}", "suite", kind, prompt, "contains", fact.command)


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description="Writes pocket's general suite.")
    parser.add_argument("--out", type=Path, required=True)
    write_jsonl(parser.parse_args().out, list_cases())


if __name__ == "__main__":
    main()
