"""For which text a tokenizer's ids can be llama.cpp's at all: three things that llama.cpp cannot be told.

* *Composition.* Qwen's tokenizers bring text into Unicode's NFC first, llama.cpp does not. Text that is in NFC already
  has the same ids.
* *The first word's space.* Tokenizers of Llama 2's and Mistral's kind put a space before the first word of a text.
  Written in one way (`first`, what transformers makes of them today) none is put behind a special token; llama.cpp puts
  it there, too, or nowhere. Where every chat begins with a special token, nowhere is right, for all text behind such a
  token; without a template, plain text without special tokens counts. Written in another way (`always`, by Metaspace)
  none is added to a word that has one already.
* *Marks.* Where the tokenizer's pattern holds combining marks to the letter before them (Mistral's Tekken, GPT-4o),
  llama.cpp's pattern of that name does not (its regular expressions know no `\\p{M}`): Hindi, Tamil and Arabic with its
  vowels differ. Nor do they know capitals but A to Z: `École` is the same, `ÉCOLE` is not. Tried only after every name
  has failed on all text.

Each is said with the result, and the parity check still compares the user's own prompts.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flytewheel.export.vocabulary.chat import find_opening, list_chats
from flytewheel.export.vocabulary.layout import SPACE, list_steps


@dataclass(frozen=True, slots=True)
class Domain:
    """Texts behind `opening` that pass every test; `limits` says so in words, and is empty for all text."""

    opening: str = ""
    tests: tuple[Callable[[str], bool], ...] = ()
    limits: tuple[str, ...] = ()

    def select(self, texts: Sequence[str]) -> list[str]:
        """Those of `texts` that count, each behind the opening."""
        return [self.opening + text for text in texts if all(test(text) for test in self.tests)]

    def limit(self, words: str, *tests: Callable[[str], bool], opening: str = "") -> Domain:
        """The same, further limited."""
        return replace(self, opening=opening, tests=(*self.tests, *tests), limits=(*self.limits, words))


def list_domains(raw: dict[str, Any], tokenizer: Any) -> list[Domain]:
    """The domains to try, the widest first."""
    domain = Domain()
    if any(step["type"] == "NFC" for step in list_steps(raw, "normalizer")):
        domain = domain.limit("text in Unicode's NFC", is_composed)
    domains = _limit_spaces(domain, raw, tokenizer)
    if r"\p{M}" in json.dumps(raw["pre_tokenizer"]).replace("\\\\", "\\"):
        unmarked = [one.limit("text without combining marks", _has_no_marks) for one in domains]
        domains += unmarked + [one.limit("without capitals beyond A to Z", _has_plain_capitals) for one in unmarked]
    return domains


def is_composed(text: str) -> bool:
    """Whether a text is in Unicode's NFC, as nearly all that people type is."""
    return unicodedata.is_normalized("NFC", text)


def _limit_spaces(domain: Domain, raw: dict[str, Any], tokenizer: Any) -> list[Domain]:
    schemes = {step.get("prepend_scheme") for step in list_steps(raw, "pre_tokenizer")}
    added = [token["content"] for token in raw["added_tokens"]]
    opening = find_opening(tokenizer) if tokenizer.chat_template else None

    def is_plain(text: str) -> bool:
        return not any(token in text for token in added)

    def keeps_distance(text: str) -> bool:
        return not text.startswith((" ", SPACE)) and not any(
            f"{token}{sign}" in text for token in added for sign in (" ", SPACE)
        )

    if "always" in schemes:
        domains = [domain.limit("text without a space at its start or right behind a special token", keeps_distance)]
        if opening and all(text.startswith(f"{opening} ") for text in list_chats(tokenizer)):
            words = f"text behind '{opening} ', as in every chat"
            domains.append(domain.limit(words, is_plain, opening=f"{opening} "))
        return domains
    if "first" not in schemes:
        return [domain]
    if not tokenizer.chat_template:
        words = "text without special tokens and without a space at its start"
        return [domain.limit(words, is_plain, keeps_distance)]
    if opening:
        return [domain.limit(f"text behind {opening}, as in every chat", opening=opening)]
    return [domain]


def _has_no_marks(text: str) -> bool:
    return not any(unicodedata.category(sign).startswith("M") for sign in text)


def _has_plain_capitals(text: str) -> bool:
    return not any(unicodedata.category(sign) in ("Lu", "Lt") for sign in text if not sign.isascii())
