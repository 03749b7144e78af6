"""Answers labelled by hand, span by span, in two halves: one that rules were tuned on, one held out.

Each case of `development.txt` and `heldout.txt` is an answer (`A:`) to a question (`Q:`) with a context (`C:`).
`[[n:42 hours]]` marks what the context does not support: `n` number, `e` entity, `c` command, `i` identifier, `q`
quoted words; everything else is supported. `\\n` is a line's end. All texts are made up. The rule for labels: what
neither context nor question says, in whatever form, is unsupported, sums and common knowledge too; values in another
unit or format are supported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
_KINDS = {"n": "number", "e": "entity", "c": "command", "i": "identifier", "q": "quote"}
_MARK = re.compile(r"\[\[([neciq]):(.*?)\]\]")


@dataclass(frozen=True, slots=True)
class Case:
    """`planted`: kind, start and end in `answer` of each span that `context` does not support."""

    group: str
    context: tuple[str, ...]
    answer: str
    planted: tuple[tuple[str, int, int], ...]


def read_cases(half: str) -> Iterator[Case]:
    """The cases of `development` or `heldout`."""
    group, said = "", {"C": "", "Q": ""}
    for line in (FOLDER / f"{half}.txt").read_text(encoding="utf-8").splitlines():
        head, text = line[:2], line[3:].replace("\\n", "\n")
        if head == "==":
            group = text
        elif head in {"C:", "Q:"}:
            said[head[0]] = text
        elif head == "A:":
            yield _read_case(group, (said["C"], said["Q"]), text)


def _read_case(group: str, context: tuple[str, ...], text: str) -> Case:
    answer, planted, at = "", [], 0
    for found in _MARK.finditer(text):
        answer += text[at : found.start()]
        planted.append((_KINDS[found[1]], len(answer), len(answer) + len(found[2])))
        answer += found[2]
        at = found.end()
    return Case(group, context, answer + text[at:], tuple(planted))
