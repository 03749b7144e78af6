"""Tells whether the form of an answer is not worth learning from: empty, looping, no language, refusing, cut.

Most answers are clean, and that is proved for many of them at once: their words are found and compared as numbers
(`repeats`), small words of prose and of the asked languages rule out gibberish and other languages, one pass of Rust's
`regex` refusals. Each of these only ever rules out what the rule itself would not find, and the rules read the rest.
Measured on answers of 780 characters, CPU a text: 22 us; judged one by one 300, most of it for refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flytewheel.recipe import CurationSpec
from flytewheel.screens import loops, repeats
from flytewheel.screens.gibberish import COMMON, PROSE, is_damaged, is_gibberish
from flytewheel.screens.language import OWN, OWN_SHARE, find_other_language, gather_small_words
from flytewheel.screens.refusals import find_refusal, may_refuse
from flytewheel.screens.spelling import INVISIBLE
from flytewheel.screens.truncation import is_cut_off
from flytewheel.words import Bools, Vocabulary, Words, cut_texts, split_words

# What could not be ruled out of a text.
_LOOP, _RUN, _UNSPACED, _MASH, _LANGUAGE, _REFUSAL = (1 << place for place in range(6))
_ALL = (1 << 6) - 1


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
    return _explain(text, spec, finish_reason, _ALL)


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
    for (text, reason), doubts in zip(known, _doubt([text for text, _ in known], spec), strict=True):
        fault = _explain(text, spec, reason, doubts)
        known[text, reason] = fault.rule if fault else None
    return [known[pair] for pair in asked]


def _explain(text: str, spec: CurationSpec, finish_reason: str | None, doubts: int) -> Fault | None:
    if not text[:1].isalnum() and not any(
        letter.isalnum() or (letter > "\u2100" and not INVISIBLE.match(letter)) for letter in text
    ):
        return Fault("empty", "no letter, digit or sign that says anything")
    if (
        (doubts & _LOOP and loops.repeats_words(text))
        or (doubts & _RUN and loops.runs_on(text))
        or (doubts & _UNSPACED and not text.isascii() and loops.cycles_unspaced(text))
    ):
        return Fault("repeats itself", "a loop")
    if spec.screen_gibberish and (is_gibberish(text) if doubts & _MASH else is_damaged(text)):
        return Fault("gibberish", "no language")
    if doubts & _LANGUAGE and (language := find_other_language(text, spec.languages)):
        return Fault("wrong language", language)
    if doubts & _REFUSAL and spec.screen_refusals and (refusal := find_refusal(text)):
        return Fault("refusal", refusal)
    if spec.screen_truncated and is_cut_off(text, finish_reason):
        return Fault("truncated", finish_reason or text.rstrip()[-40:])
    return None


def _doubt(texts: Sequence[str], spec: CurationSpec) -> list[int]:
    """What the rules must look for in each text."""
    doubts = np.zeros(len(texts), dtype=np.uint8)
    ascii_only = np.fromiter(map(str.isascii, texts), dtype=np.bool_, count=len(texts))
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    for start, stop in cut_texts(texts):
        words = split_words(texts[start:stop])
        found = doubts[start:stop]
        found |= _mark(repeats.may_loop(words), _LOOP)
        found |= _mark(repeats.may_run_on(words), _RUN)
        if not ascii_only[start:stop].all():
            found |= _mark(repeats.may_cycle_unspaced(words, lengths[start:stop]), _UNSPACED)
        if spec.screen_gibberish:
            found |= _mark(_open_vocabulary(COMMON).count_kinds(words) < PROSE, _MASH)
        if spec.languages:
            found |= _mark(~ascii_only[start:stop] | _may_be_foreign(words, spec.languages), _LANGUAGE)
    if spec.screen_refusals:
        doubts |= _mark(np.array(may_refuse(texts), dtype=np.bool_), _REFUSAL)
    return doubts.tolist()


def _may_be_foreign(words: Words, languages: Collection[str]) -> Bools:
    own = _open_vocabulary(gather_small_words(languages)).count_kinds(words)
    return own < np.maximum(OWN, words.counts // OWN_SHARE)


@lru_cache(maxsize=8)
def _open_vocabulary(words: frozenset[str]) -> Vocabulary:
    return Vocabulary(words)


def _mark(found: Bools, doubt: int) -> np.ndarray:
    return found.astype(np.uint8) * np.uint8(doubt)
