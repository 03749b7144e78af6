"""Keeps out what nobody should learn from: empty, cut, looping or refusing answers, insults, orders to the reader.

Every rule says why, by a stated pattern, and says the same next week; a model behind an endpoint may be asked beside
them (`classifier`). Lengths in tokens are the caller's: he has counted them.

`screen_answers` (see `form`) and `screen_abuse` give for many texts exactly what `find_form_fault` and `find_abuse`
give for each: equal texts are judged once, and one pass of Rust's `regex` over all of them, folded, leaves to Python
only what a pattern touches. The gates are the rules' own expressions without their exceptions and look-around, hence
supersets. CPU for a clean English text of 550 characters: 11 us for abuse, more where host names, paths and long words
make a gate open (50 us on the documentation of Python packages).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from flytewheel.curation.screens import encodings, injection, toxicity
from flytewheel.curation.screens.form import Fault, explain_form, find_form_fault, screen_answers
from flytewheel.curation.screens.injection import find_encoded, find_injection
from flytewheel.curation.screens.loops import repeats_itself
from flytewheel.curation.screens.spelling import fold
from flytewheel.curation.screens.toxicity import find_toxicity
from flytewheel.recipe import CurationSpec

__all__ = [
    "Fault",
    "explain_abuse",
    "explain_form",
    "find_abuse",
    "find_form_fault",
    "find_injection",
    "find_toxicity",
    "repeats_itself",
    "screen_abuse",
    "screen_answers",
]


# Halves of a pair have no UTF-8, so that Rust cannot search them.
_HALF = re.compile("[\ud800-\udfff]")


def explain_abuse(text: str, spec: CurationSpec) -> Fault | None:
    """The first abuse in any text that a user may have written; `None` where there is none."""
    if spec.screen_toxicity and (found := find_toxicity(text)):
        return Fault("toxicity", found)
    if spec.screen_injection and (found := find_injection(text)):
        return Fault("prompt injection", found)
    return None


def find_abuse(text: str, spec: CurationSpec) -> str | None:
    """`toxicity` or `prompt injection`; `None` where neither is found."""
    fault = explain_abuse(text, spec)
    return fault.rule if fault else None


def screen_abuse(texts: Sequence[str], spec: CurationSpec) -> list[str | None]:
    """`toxicity`, `prompt injection` or `None` for each of the texts."""
    found: dict[str, str | None] = dict.fromkeys(texts)
    different = list(found)
    folded = [fold(text) for text in different]
    unsure = [_is_half(text) for text in different]
    seen = ["" if looked_at else plain for plain, looked_at in zip(folded, unsure, strict=True)]
    column = _to_column(seen)
    others = _to_column([] if all(text.isascii() for text in seen) else ["" if p.isascii() else p for p in seen])
    insulting = ordering = encoded = [False] * len(different)
    if spec.screen_toxicity:
        insulting = _touch(column, unsure, toxicity.PATTERN)
        if len(others):
            insulting = _touch(others, insulting, toxicity.GATE_OTHER)
    if spec.screen_injection:
        ordering = _touch(column, unsure, *injection.GATES)
        # Host names and paths look disguised; undone, few of them say what an order says.
        disguised = column.str.contains(injection.DISGUISED).arg_true().to_list()
        undone = _to_column([injection.undo_disguise(seen[place].rstrip("\n")) for place in disguised])
        for place, touches in zip(disguised, _touch(undone, [False] * len(disguised), *injection.GATES), strict=True):
            ordering[place] = ordering[place] or touches
        if len(others):
            ordering = _touch(others, ordering, injection.GATE_OTHER)
        hiding = (injection.find_hidden(text) is not None for text in different)
        ordering = [orders or hides for orders, hides in zip(ordering, hiding, strict=True)]
        encoded = _find_runs(different, _touch(column, unsure, encodings.GATE))
    for text, insults, orders, encodes in zip(different, insulting, ordering, encoded, strict=True):
        if insults and find_toxicity(text):
            found[text] = "toxicity"
        elif (orders and find_injection(text)) or (encodes and find_encoded(text)):
            found[text] = "prompt injection"
    return [found[text] for text in texts]


def _find_runs(texts: list[str], encoded: list[bool]) -> list[bool]:
    """Adds the texts that hold a run which may be encoded."""
    raw = pl.Series(texts, dtype=pl.String)
    places = raw.str.contains(encodings.RUN).arg_true()
    runs = raw.gather(places).str.extract_all(encodings.RUN).to_list()
    for place, found in zip(places.to_list(), runs, strict=True):
        encoded[place] = encoded[place] or any(map(encodings.may_encode, found))
    return encoded


def _is_half(text: str) -> bool:
    return not text.isascii() and _HALF.search(text) is not None


def _to_column(texts: list[str]) -> pl.Series:
    # Python's `$` matches before a last line end, Rust's does not; the rules strip it as well.
    return pl.Series(texts, dtype=pl.String).str.strip_chars_end("\n")


def _touch(column: pl.Series, unsure: list[bool], *patterns: str) -> list[bool]:
    """Whether any of `patterns` touches each text, or it must be looked at anyway."""
    touched = pl.Series(unsure, dtype=pl.Boolean)
    for pattern in patterns:
        touched = touched | column.str.contains(pattern)
    return touched.to_list()
