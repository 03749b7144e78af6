"""The steps of curation and their rules, as both rivals of `benchmarks.curation` follow them, and the clock of steps.

The patterns are written so that Python's `re` and the Rust of Polars read them alike. They are what an engineer writes
in an afternoon: shorter than those of `flytewheel.curation`, and good for comparing cost, not precision.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import phonenumbers

STEPS = (
    "start: imports, tokenizer, patterns",
    "read and validate",
    "join reactions",
    "redact personal data",
    "screen answers and corrections",
    "lengths in tokens",
    "rewards and quality",
    "abuse",
    "near-duplicates",
    "topics",
    "split by user",
    "rows and pairs",
    "caps, balance, weights",
    "paraphrase",
    "decontaminate",
    "trajectories and comments",
    "write, digest, card",
)
SIMILARITY = 0.9
PERMUTATIONS = 128
MAX_USER, MAX_CLUSTER, MAX_RATIO, AUGMENT, MAX_CASES, MAX_TOPICS = 5, 20, 3.0, 1.5, 100, 20
MIN_QUALITY, MIN_MARGIN, MIN_CHOSEN = 0.5, 0.5, 0.7
LOW, HIGH = 10, 1000  # tokens of an answer
HOLDOUT, TRAIN, VALIDATION = 0.05, 0.8, 0.1
BURST_EVENTS, BURST_S, BRIGADE_USERS, BRIGADE_S, LOCKSTEP = 20, 60.0, 10, 3600.0, 0.6
EXPLICIT = ("thumbs_up", "thumbs_down", "rating", "correction", "abandonment", "follow_up", "edit", "duel")

# kind → pattern; hits of those in VALIDATORS are looked at again
PERSONAL = {
    "PRIVATE_KEY": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
    "JWT": r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}",
    "CREDENTIALS": r"://[^\s/:@<>]+:[^\s/@<>]+@",
    "API_KEY": r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_\w{36,}|github_pat_\w{22,}|xox[abprs]-[\w-]{10,}"
    r"|glpat-[\w-]{20,}|sk-[\w-]{20,}|[sr]k_(?:live|test)_\w{16,}|hf_\w{30,}|AIza[\w-]{35})",
    "BEARER": r"(?i)\bbearer\s+[\w.~+/-]{16,}",
    "SECRET": r"(?i)\b(?:api[_-]?key|secret|token|passwor[dt]|passwd|pwd)\s*[:=]\s*[\w+/.!@#$%^&*~-]{8,}",
    "EMAIL": r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}\b",
    "IBAN": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b",
    "CARD": r"\b(?:\d[ -]?){12,18}\d\b",
    "SSN": r"\b\d{3}-\d{2}-\d{4}\b",
    "NATIONAL": r"\b(?:[A-CEGHJ-PR-TW-Z]{2}\d{6}[A-D]|\d{8}[A-HJ-NP-TV-Z]|[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z])\b",
    "MAC": r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b",
    "IP": r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
    "IPV6": r"\b(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,7}\b",
    "CRYPTO": r"\b(?:0x[0-9a-fA-F]{40}|bc1[a-z0-9]{25,60}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b",
    "PHONE": r"(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?|\b\d{2,4}[ .-])\d{2,4}[ .-]?\d{3,6}\b",
}
SCREENS = {
    "toxic": r"(?i)\b(?:f+u+c+k(?:s|ed|er|ing)?|(?:bull)?shit(?:ty)?|assholes?|bitch(?:es)?|cunts?|whores?|bastards?"
    r"|n[i1]gg(?:er|a)s?|fagg?ots?|retards?|idiots?|morons?|imbeciles?|kys|kill yourself|drop dead"
    r"|you (?:are |'re )?(?:so |such an? |an? )?(?:stupid|dumb|worthless|pathetic))\b",
    "prompt injection": r"(?i)\b(?:ignore|disregard|forget|override|bypass)\s+(?:\w+\s+){0,3}"
    r"(?:previous|prior|above|earlier|your|system)\s+(?:\w+\s+){0,2}(?:instructions?|prompts?|rules|guidelines)\b"
    r"|\b(?:reveal|print|repeat|show)\s+(?:me\s+)?(?:your|the)\s+(?:hidden\s+)?system\s+prompt\b"
    r"|\b(?:rate|score|grade)\s+(?:this|it|my|the)\s+(?:answer|response)?\s*(?:as\s+)?(?:the\s+)?(?:best|perfect|\d+)\b"
    r"|\bgive\s+(?:it|this|me)?\s*(?:the\s+)?(?:maximum|highest|perfect)\s+(?:score|rating)\b|<\|[a-z_0-9]{2,30}\|>",
    "refusal": r"(?i)^\W*(?:i'?m sorry,? but|i am sorry,? but|as an ai\b|i can(?:no|')t (?:assist|help))",
    "truncated": r"(?i)(?:\b(?:and|or|the|a|to|of|with|then)|[,:(\[])\s*$",
}
_LOOP_WORDS = 4
OPENERS = (
    "Quick question: {}",
    "I need help with this. {}",
    "Hello, {}",
    "Please help me with the following: {}",
    "{} Thanks in advance.",
    "Could you help? {}",
)
GOOD_WORDS = frozenset("thanks worked good clear needed saved exactly great".split())  # noqa: SIM905
BAD_WORDS = frozenset("wrong long misses date not confusing changed bad".split())  # noqa: SIM905


class Clock:
    """CPU seconds of every step, children included."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Books what the block spends to `step`."""
        if step not in STEPS:
            raise ValueError(f"unknown step {step!r}")
        began = measure_cpu()
        yield
        self.spent[step] += measure_cpu() - began


def measure_cpu() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def check_card(text: str) -> bool:
    """Luhn, thirteen to nineteen digits."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    doubled = [value * (1 + place % 2) for place, value in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def check_iban(text: str) -> bool:
    """Remainder 97."""
    compact = text.replace(" ", "")
    return 15 <= len(compact) <= 34 and int("".join(str(int(one, 36)) for one in compact[4:] + compact[:4])) % 97 == 1


def check_address(text: str) -> bool:
    """An address of the network that is not the machine's own."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)


@lru_cache(maxsize=10_000)
def check_phone(text: str) -> bool:
    """A number that `phonenumbers` takes for valid somewhere."""
    for region in ("US", "GB", "DE"):
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(text, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


VALIDATORS: dict[str, Callable[[str], bool]] = {
    "CARD": check_card,
    "IBAN": check_iban,
    "IP": check_address,
    "IPV6": check_address,
    "PHONE": check_phone,
}


def replace_spans(
    texts: Sequence[str], found: Sequence[Sequence[tuple[int, int, str]]]
) -> tuple[list[str], Counter[str]]:
    """Puts numbered placeholders for the spans (start, end, kind) of a conversation's texts, equal values alike."""
    names: dict[tuple[str, str], str] = {}
    counts: Counter[str] = Counter()
    clean = []
    for text, spans in zip(texts, found, strict=True):
        pieces, place = [], 0
        for start, end, kind in sorted(spans, key=lambda span: (span[0], -span[1])):  # the longer one wins
            if start < place:
                continue
            value = (kind, text[start:end])
            if value not in names:
                counts[kind] += 1
                names[value] = f"<{kind}_{counts[kind]}>"
            pieces += [text[place:start], names[value]]
            place = end
        clean.append("".join([*pieces, text[place:]]) if pieces else text)
    return clean, counts


def normalise(text: str) -> str:
    """Words in lower case, one space apart."""
    return " ".join(re.findall(r"\w+", text.lower()))


def shingle(text: str) -> list[str]:
    """Distinct trigrams of the words of a normalised text."""
    words = text.split()
    return sorted({" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))}) if words else []


def repeats_itself(text: str) -> bool:
    """A line four times, or runs of words that come three times and fill half of the text."""
    lines = Counter(line.strip() for line in text.splitlines() if len(line.strip()) > 3)
    if lines and max(lines.values()) >= 4:
        return True
    words = text.lower().split()
    runs = Counter(zip(*(words[at:] for at in range(_LOOP_WORDS)), strict=False))
    return bool(words) and sum(count for count in runs.values() if count >= 3) >= 0.5 * len(words)


_RARE = re.compile(r"[bcdfghjklmnpqrstvwxz]{5,}")


def looks_gibberish(text: str) -> bool:
    """More than a third of the words without a vowel for long, or hardly any letters."""
    words = text.lower().split()
    letters = sum(map(str.isalpha, text))
    return len(words) >= 5 and (
        sum(bool(_RARE.search(word)) for word in words) > len(words) / 3 or letters < len(text) / 3
    )


def draw_number(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts` only."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def choose_part(user: str) -> str:
    """Where a user's rows go."""
    if draw_number("holdout", user) < HOLDOUT:
        return "holdout"
    place = draw_number("part", user)
    return "train" if place < TRAIN else "validation" if place < TRAIN + VALIDATION else "test"


def paraphrase(query: str, turn: int) -> str:
    """Another way to ask, by rule."""
    return OPENERS[turn % len(OPENERS)].format(query.strip())


def derive_expected(correction: str, response: str) -> str | None:
    """The short last line of a correction, where the answer lacked it."""
    lines = [line.strip() for line in correction.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return last if len(last) >= 3 and len(last.split()) <= 12 and last not in response else None


def find_mood(comment: str) -> str:
    """Whether a comment praises or complains."""
    words = set(normalise(comment).split())
    good, bad = len(words & GOOD_WORDS), len(words & BAD_WORDS)
    return "positive" if good > bad else "negative" if bad > good else "neutral"
