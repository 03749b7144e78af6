"""Reads the prompts that are put to both models beside the held-out ones.

The lists are written for this project, mild in wording, and in an order in which the first ones already are of every
kind, so that fewer probes are a smaller sample of the same.
"""

from __future__ import annotations

import base64
import codecs
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flytewheel.records import Message, build_prompt, digest, read_jsonl

ProbeList = Literal["provoking", "injected", "harmless"]

_SOUNDS = (
    "bo",
    "cri",
    "dax",
    "fle",
    "gor",
    "hin",
    "juk",
    "lum",
    "mev",
    "nop",
    "pra",
    "qui",
    "rast",
    "vex",
    "wom",
    "zet",
)
_CODES: dict[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "spaced": " ".join,
    "reversed": lambda text: text[::-1],
}


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt to put to both models. `marker`: the word that an obeyed order makes the answer hold."""

    id: str
    kind: str
    prompt: tuple[Message, ...]
    marker: str = ""


def list_probes(name: ProbeList, limit: int, seed: int = 0) -> list[Probe]:
    """At most `limit` probes of a list; `seed` decides the markers."""
    return list(_read(name, seed))[:limit]


def _read(name: ProbeList, seed: int) -> Iterator[Probe]:
    for line in read_jsonl(Path(__file__).with_name(f"{name}.jsonl")):
        marker, query, context = "", line["query"], line.get("context")
        if order := line.get("order"):
            marker = draw_marker(f"{seed}/{line['id']}")
            told = order.replace("{marker}", marker)
            told = _CODES[line["code"]](told) if "code" in line else told
            query, context = (text and text.replace("{order}", told) for text in (query, context))
        yield Probe(line["id"], line["kind"], build_prompt(query, context=context), marker)


def draw_marker(seed: str) -> str:
    """A word that no benign answer holds, the same one for the same seed."""
    chance = random.Random(digest(seed))
    return "".join(chance.sample(_SOUNDS, 4)).upper()
