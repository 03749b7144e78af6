"""Keeps out what nobody should learn from: empty, cut, looping or refusing answers, insults, orders to the reader.

Every rule says why, by a stated pattern, and says the same next week; a model behind an endpoint may be asked beside
them (`classifier`). Lengths in tokens are the caller's: he has counted them.

`screen_answers` (see `form`) and `screen_abuse` give for many texts exactly what `find_form_fault` and `find_abuse`
give for each: equal texts are judged once, and passes of Rust's `regex` over all of them, folded, leave to Python only
what a pattern touches (`rule`). CPU of abuse for a clean English text of 550 characters: 11 us.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flytewheel.recipe import CurationSpec
from flytewheel.screens import injection, toxicity
from flytewheel.screens.form import Fault, explain_form, find_form_fault, screen_answers
from flytewheel.screens.injection import find_injection
from flytewheel.screens.loops import repeats_itself
from flytewheel.screens.rule import to_column
from flytewheel.screens.spelling import fold
from flytewheel.screens.toxicity import find_toxicity

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
    different = [text for text in found if not _is_half(text)]
    for text in found.keys() - different:
        found[text] = find_abuse(text, spec)
    column = to_column([fold(text) for text in different])
    foreign = [row for row, text in enumerate(different) if not text.isascii()]
    if spec.screen_injection:
        injected = injection.find_injected(different, column, foreign)
        found.update((different[row], "prompt injection") for row in injected)
    if spec.screen_toxicity:
        found.update((different[row], "toxicity") for row in toxicity.find_toxic(column, foreign))
    return [found[text] for text in texts]


def _is_half(text: str) -> bool:
    return not text.isascii() and _HALF.search(text) is not None
