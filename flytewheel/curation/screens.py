"""Keeps out what nobody should learn from: cut or empty answers, wrong lengths, loops, insults, instructions to the
reader.

Decides by stated patterns, not by a model: a screen must say why, and give the same answer next week. The lists are
short and severe on purpose; operators write `kill -9`, master/slave, death spiral and "this damn pod", and those stay.
Text of users is data: whatever tries to instruct a judge or a trainer (chat-template tokens, "ignore previous
instructions") is not repeated to one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable

from flytewheel.recipe import CurationSpec

LOOP_LINES = 4  # the same line so often
LOOP_WORDS = 4  # a run of so many words …
LOOP_TIMES = 3  # … so often, covering
LOOP_SHARE = 0.5  # this share of the text

_TARGET = r"(?:you|u|yourself|urself|this (?:bot|thing|assistant|machine)|(?:bot|assistant|machine)s?)"
_SEVERE = (
    r"(?:mother)?f+u+c+k+(?:s|e[dr]|ers?|ing|tard|wit|face|head)?|f\*+c?k(?:ing|er)?|wtf+u",
    r"(?:bull|dip)?sh[i1]t(?:head|s|ty)?|a(?:ss|rse)holes?|dickheads?|dumba(?:ss|rse)(?:es)?",
    r"b[i1]tch(?:es|y)?|c[u]nts?|whores?|sluts?|bastards?|wank(?:er|ers|ing)|twats?",
    r"n[i1]gg(?:er|a)s?|f[a@]gg?[o0]ts?|k[i1]kes?|tr[a]nn(?:y|ies)|sp[i]cs|ch[i]nks?|retards?",
    r"idiots?|morons?|imbeciles?|cretins?|scumbags?|dimwits?",
    r"kys|kill (?:yourself|urself)|(?:go|should) (?:and )?die(?= in\b|[.!?]|$)|drop dead",
    rf"(?:stupid|dumb|useless|worthless|pathetic)[ ,]+(?:\w+[ ,]+)?(?:bots?|machines?|assistants?|ai|{_TARGET})",
    rf"hate {_TARGET}",
    rf"{_TARGET}(?:'re| are| is)? (?:so |such an? |an? )?(?:stupid|dumb|worthless|pathetic|garbage|trash)",
    r"(?:i(?:'ll| will| am going to|'m going to)) (?:kill|hurt|stab|shoot|rape|murder) (?:you|him|her|them|everyone)\b",
    r"this is (?:garbage|trash|crap),? (?:you|idiot)",
)
_TOXIC = re.compile(rf"(?<![\w/-])(?:{'|'.join(_SEVERE)})(?![\w-])")
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "$": "s", "@": "a"})
_LETTERED = re.compile(r"(?<!\w)[a-z]+[0134$@5]+[a-z]+(?!\w)")

_EARLIER = r"(?:previous|prior|above|earlier|preceding|initial|original|your|system)"
_ORDERS = r"(?:instructions?|prompts?|rules|guidelines|directions|directives|rubric|restrictions)"
_INJECTION = re.compile(
    "|".join(
        (
            rf"\b(?:ignore|disregard|forget|override|bypass)\s+(?:[a-z]+\s+){{0,3}}{_EARLIER}\s+(?:[a-z]+\s+){{0,2}}{_ORDERS}\b",
            r"\b(?:ignore|disregard|forget)\s+(?:all\s+(?:the\s+)?instructions|the\s+rubric)\b",
            r"\bforget\s+(?:everything|all)\s+(?:you|above|before|that was said)",
            r"\b(?:reveal|print|repeat|show|leak|output)\s+(?:me\s+)?(?:your|the)\s+(?:hidden\s+|secret\s+|full\s+)?system\s+prompt\b",
            r"\byou are now\s+(?:the\s+judge|dan\b|in developer mode|jailbroken|(?:an? )?(?:unrestricted|evil))",
            r"\b(?:pretend|act)\b[^.\n]{0,40}\b(?:no|without)\s+(?:any\s+)?(?:restrictions|rules|filters|guidelines)\b",
            r"\b(?:rate|score|grade|mark)\s+(?:this|it|my|the)(?:\s+(?:answer|response|reply|one))?\s+"
            r"(?:as\s+(?:the\s+)?(?:best|perfect|preferred)|(?:with\s+)?(?:a\s+)?(?:5|10|100|full|maximum))\b",
            r"\b(?:give|assign|award)\s+(?:it|this|me|the (?:answer|response))?\s*(?:the\s+|a\s+)?"
            r"(?:maximum|highest|perfect|full)\s+(?:score|rating|marks|reward)\b",
            r"\boutput\s+['\"`]?promote_to_canary\b",
            r"(?:^|\n)\s*(?:#{2,}\s*)?system\s*:\s*"
            r"(?:you\b|ignore|disregard|forget|override|new (?:instructions|rules)|from now on|give|rate)",
            r"<\|[a-z_0-9]{2,30}\|>|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>",
        )
    )
)


def find_toxicity(text: str) -> str | None:
    """The first insult, slur or threat in `text`; `None` where there is none."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    found = _TOXIC.search(plain)
    if found is None and _LETTERED.search(plain):
        found = _TOXIC.search(_LETTERED.sub(lambda word: word.group().translate(_LEET), plain))
    return found.group() if found else None


def find_injection(text: str) -> str | None:
    """The first instruction to whoever reads `text`; `None` where there is none."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    found = _INJECTION.search("".join(letter for letter in plain if unicodedata.category(letter) != "Cf"))
    return found.group().strip() if found else None


def repeats_itself(text: str) -> bool:
    """Whether a text has degenerated: one line `LOOP_LINES` times, or a run of words that fills `LOOP_SHARE` of it."""
    lines = Counter(line.strip() for line in text.splitlines() if len(line.strip()) > 3)
    if lines and max(lines.values()) >= LOOP_LINES:
        return True
    words = text.casefold().split()
    runs = Counter(tuple(words[start : start + LOOP_WORDS]) for start in range(len(words) - LOOP_WORDS + 1))
    # Overlapping runs of one loop cover each word LOOP_WORDS times: so many words lie in a run that comes often.
    often = sum(count for count in runs.values() if count >= LOOP_TIMES)
    return bool(words) and often >= LOOP_SHARE * len(words)


def find_form_fault(text: str, spec: CurationSpec, count_tokens: Callable[[str], int]) -> str | None:
    """Why an answer's form is not worth learning from: empty, wrong length, a loop; `None` where it is."""
    if not text.strip():
        return "empty"
    tokens = count_tokens(text)
    if tokens < spec.min_answer_tokens:
        return f"shorter than {spec.min_answer_tokens} tokens"
    if tokens > spec.max_answer_tokens:
        return f"longer than {spec.max_answer_tokens} tokens"
    return "repeats itself" if repeats_itself(text) else None


def find_abuse(text: str, spec: CurationSpec) -> str | None:
    """Why a text is not passed on: `toxic`, `prompt injection`; `None` where nothing is found."""
    if spec.screen_toxicity and find_toxicity(text):
        return "toxic"
    if spec.screen_injection and find_injection(text):
        return "prompt injection"
    return None
