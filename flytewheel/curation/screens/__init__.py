"""Keeps out what nobody should learn from: empty, cut, looping or refusing answers, insults, orders to the reader.

Every rule says why, by a stated pattern, and says the same next week; a model behind an endpoint may be asked beside
them (`classifier`). Lengths in tokens are the caller's: he has counted them.

`screen_answers` and `screen_abuse` give for many texts exactly what `find_form_fault` and `find_abuse` give for each:
equal texts are judged once, and one pass of Rust's `regex` over all of them, folded, leaves to Python only what a
pattern touches. The gates are the rules' own expressions without their exceptions and look-around, hence supersets.
CPU for a clean English text of 550 characters: 18 us for its form, 11 us for abuse, more where host names, paths and
long words make a gate open (50 us on the documentation of Python packages).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from flytewheel.curation.screens import encodings, injection, loops, refusals, toxicity
from flytewheel.curation.screens.gibberish import is_gibberish_in
from flytewheel.curation.screens.injection import find_encoded, find_injection
from flytewheel.curation.screens.language import find_other_language_in
from flytewheel.curation.screens.loops import repeats_itself, repeats_itself_in
from flytewheel.curation.screens.refusals import find_refusal
from flytewheel.curation.screens.spelling import INVISIBLE, fold
from flytewheel.curation.screens.toxicity import find_toxicity
from flytewheel.curation.screens.truncation import is_cut_off
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


@dataclass(frozen=True)
class Fault:
    """Why a text is kept out.

    Attributes:
        rule: The name that a card counts: `empty`, `toxicity` …
        detail: What was found, in the text's own words where there are any; redact it before it is shown.
    """

    rule: str
    detail: str


def explain_form(text: str, spec: CurationSpec, finish_reason: str | None = None) -> Fault | None:
    """The first fault of an answer's form, in the order of the card; `None` where it has none.

    Args:
        text: An answer.
        spec: Which rules are on, and the languages asked for.
        finish_reason: What the server said of the answer's end, where known.
    """
    return _explain_form(text, spec, finish_reason, may_refuse=True, may_run_on=True)


def _explain_form(
    text: str, spec: CurationSpec, finish_reason: str | None, *, may_refuse: bool, may_run_on: bool
) -> Fault | None:
    if not any(letter.isalnum() or (letter > "\u2100" and not INVISIBLE.match(letter)) for letter in text):
        return Fault("empty", "no letter, digit or sign that says anything")
    words = text.lower().split()
    kinds = frozenset(words)
    if repeats_itself_in(text, words, len(kinds), may_run_on=may_run_on):
        return Fault("repeats itself", "a loop")
    if spec.screen_gibberish and is_gibberish_in(text, words, kinds):
        return Fault("gibberish", "no language")
    if spec.languages and (language := find_other_language_in(text, kinds, spec.languages)):
        return Fault("wrong language", language)
    if may_refuse and spec.screen_refusals and (refusal := find_refusal(text)):
        return Fault("refusal", refusal)
    if spec.screen_truncated and is_cut_off(text, finish_reason):
        return Fault("truncated", finish_reason or text.rstrip()[-40:])
    return None


def explain_abuse(text: str, spec: CurationSpec) -> Fault | None:
    """The first abuse in any text that a user may have written; `None` where there is none."""
    if spec.screen_toxicity and (found := find_toxicity(text)):
        return Fault("toxicity", found)
    if spec.screen_injection and (found := find_injection(text)):
        return Fault("prompt injection", found)
    return None


def find_form_fault(text: str, spec: CurationSpec, count_tokens: Callable[[str], int] | None = None) -> str | None:
    """Why an answer's form is not worth learning from; `None` where it is.

    Args:
        text: An answer.
        spec: Which rules are on.
        count_tokens: Where given, lengths in tokens are judged as well, right after emptiness.
    """
    if count_tokens is not None and text.strip():
        tokens = count_tokens(text)
        if tokens < spec.min_answer_tokens:
            return f"shorter than {spec.min_answer_tokens} tokens"
        if tokens > spec.max_answer_tokens:
            return f"longer than {spec.max_answer_tokens} tokens"
    fault = explain_form(text, spec)
    return fault.rule if fault else None


def find_abuse(text: str, spec: CurationSpec) -> str | None:
    """`toxicity` or `prompt injection`; `None` where neither is found."""
    fault = explain_abuse(text, spec)
    return fault.rule if fault else None


def screen_answers(
    texts: Sequence[str], spec: CurationSpec, *, finish_reasons: Sequence[str | None] | None = None
) -> list[str | None]:
    """The first rule that each answer breaks, in this order; `None` where it breaks none.

    `empty`, `repeats itself`, `gibberish`, `wrong language`, `refusal`, `truncated`.

    Args:
        texts: Answers.
        spec: Which rules are on.
        finish_reasons: What the server said of each answer's end; as many as texts.
    """
    reasons: Sequence[str | None] = finish_reasons if finish_reasons is not None else [None] * len(texts)
    asked = list(zip(texts, reasons, strict=True))
    known: dict[tuple[str, str | None], str | None] = dict.fromkeys(asked)
    different = [text for text, _ in known]
    unsure = [_is_half(text) for text in different]
    opened = [
        "" if looked_at else fold(text[: refusals.OPENING]) for text, looked_at in zip(different, unsure, strict=True)
    ]
    refusing = _touch(_to_column(opened), unsure, refusals.GATE)
    plain = [text.lower() if text.isascii() else "" for text in different]
    running = _touch(_to_column(plain), [not text.isascii() for text in different], loops.LONG_RUN)
    for (text, reason), may_refuse, may_run_on in zip(known, refusing, running, strict=True):
        fault = _explain_form(text, spec, reason, may_refuse=may_refuse, may_run_on=may_run_on)
        known[text, reason] = fault.rule if fault else None
    return [known[pair] for pair in asked]


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
