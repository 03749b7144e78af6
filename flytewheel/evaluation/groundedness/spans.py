"""The spans of a text that are claims by their form: commands, identifiers, quoted words, numbers, names.

Decides who takes what first: set-off code, then quoted words, commands in prose, dates and times, identifiers, flags,
numbers, and names of what is left. No two spans overlap. Time grows with the length of the text: every expression is
bounded or cannot backtrack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from flytewheel.evaluation.groundedness import commands, dates, entities, identifiers, numbers, programs, quotes, view
from flytewheel.evaluation.groundedness.figure import Figure
from flytewheel.evaluation.groundedness.language import detect_language

Kind = Literal["number", "entity", "command", "identifier", "quote"]
KINDS: tuple[Kind, ...] = ("number", "entity", "command", "identifier", "quote")


@dataclass(frozen=True, slots=True)
class Span:
    """`text` is the part of the answer from `start` to `end`; `read` the same as it is compared; `figure` what a number
    may mean."""

    kind: Kind
    start: int
    end: int
    text: str
    read: str = field(repr=False)
    figure: Figure | None = field(default=None, repr=False)


def find_spans(text: str) -> tuple[Span, ...]:
    """Every span of `text` that claims something, in order, none overlapping another."""
    seen = view.read(text)
    spans = []
    for kind, start, end, figure in _find(seen.text):
        begin, stop = seen.trace(start, end)
        spans.append(Span(kind, begin, stop, text[begin:stop], seen.text[start:end], figure))
    spans.sort(key=lambda span: (span.start, span.end))
    return tuple(span for at, span in enumerate(spans) if not at or span.start >= spans[at - 1].end)


def _find(text: str) -> Iterator[tuple[Kind, int, int, Figure | None]]:
    mask = view.Mask(text)
    language = detect_language(text)
    taken = bytearray(len(text) + 1)

    def take(
        kind: Kind, start: int, end: int, figure: Figure | None = None
    ) -> Iterator[tuple[Kind, int, int, Figure | None]]:
        if end > start and not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            mask.hide(start, end)
            yield kind, start, end, figure

    pieces, blocks = commands.find_set_off(text)
    for name, start, end in pieces:
        yield from take(name, start, end)  # type: ignore[arg-type]
    for start, end in quotes.find_quotes(mask.text):
        yield from take(_classify_quote(text[start:end]), start, end)
    for name, start, end in list(commands.find_prose(mask.text)):
        yield from take(name, start, end)  # type: ignore[arg-type]
    for figure in list(dates.find_times(mask.text)):
        yield from take("number", figure.start, figure.end, figure)
    for start, end in list(identifiers.find_identifiers(mask.text)):
        yield from take("identifier", start, end)
    for name, start, end in list(commands.find_flags(mask.text)):
        yield from take(name, start, end)  # type: ignore[arg-type]
    listed, rest = numbers.count_items(text), mask.text
    for figure in list(numbers.find_numbers(rest, language)):
        if not numbers.is_talk(rest, figure, listed):
            yield from take("number", figure.start, figure.end, figure)
    for start, end in blocks:
        mask.hide(start, end)
    for start, end in list(entities.find_entities(mask.text, language)):
        yield from take("entity", start, end)


def _classify_quote(text: str) -> Kind:
    first = text.split()[0]
    if identifiers.is_identifier(text.strip(".,")) and " " not in text:
        return "identifier"
    if programs.is_strong(first) and programs.reads_as_command(text):
        return "command"
    return "quote"
