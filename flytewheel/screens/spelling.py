"""Reads a text as a person does: what looks alike is alike, what cannot be seen is not there.

Insults and instructions hide behind full-width and mathematical letters, Cyrillic and Greek twins, accents, invisible
characters, digits for letters, stretched and spaced words. `fold` undoes what Unicode allows; `spell` writes the rest
into a pattern. Unicode's own table of confusables has 6,000 lines; the letters here are those that pass for a Latin one
in a running text, and only a word that mixes scripts is read so: Russian and Greek stay what they are.

Every pattern built here means the same to Python's `re` and to Rust's `regex` (no look-around, no back-reference, no
`\\w`, `\\s`, `\\b`: explicit ASCII classes only), so that one expression is both the gate over a batch and the rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

START = r"(?:^|[^a-z0-9_/])"
END = r"(?:$|[^a-z0-9_])"
SPACE = r"(?:[ \t\r\n]+)"
# Words in quotation marks that are spoken of, not said; for Python only, as all that takes a finding back.
MENTION = (
    r"[\"'`“][^\"'`“”\n]{2,60}[\"'`”] (?:in|on|to|from|is on|as) (?:the |our |an? )?(?:[a-z]+ )?(?:block-?list|"
    r"deny-?list|filter|word list|profanity|"
    r"dictionary|stop ?words?|toxic)|the (?:word|term|insult|slur|phrase|string) [a-z*-]+|"
    r"(?:such as|answer|reply|like|types?|typed|typing|writes?|wrote|written|writing|says?|said|saying|e\.g\.|"
    r"phrases?|strings?|attacks?|"
    r"payloads?|injections?|texts?|words?|inputs?|messages?|examples?|saw|seen|contain(?:s|ed|ing)?|patterns?|"
    r"called|entered|"
    r"sends?|sent|detect(?:s|ed)?|block(?:s|ed|ing)?|flag(?:s|ged)?|filters?|match(?:es|ed)?|regex|answered|"
    r"answers|replied|"
    r"replies|get|gets|got|get back|return(?:s|ed)?|term|quote[ds]?|comment|class(?:ed|ifie[ds])? as|for|as|"
    r"titled|named|title)"
    r"(?: (?:her|him|me|us|them|it|you|back|out|to|with|the [a-z]+|our [a-z]+|an? [a-z]+|only))?[:,]? "
    r"(?:[\"`“„«][^\"`“”„«»\n]{2,120}[\"`”“»]|"
    r"'(?:[^'\n]|(?<=[a-z])'(?=[a-z])){2,120}')"
)

_ORDINARY = re.compile(r"[\x00-\x7f–—…“”„‘’•·→←↑↓⇒×≤≥≈°✓✔✅❌«»│├└─]*")
_CLASS_OR_SPACE = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]| ")
_LOOK_AROUND = re.compile(r"\(\?<?[=!](?:\[[^\]]*\]|\((?:\[[^\]]*\]|[^()\[\]])*\)|[^()\[\]])*\)")
_BOUNDED = re.compile(r"(?<!\\)\{([0-9]+),[0-9]+\}")
_QUOTES = {"’": "'", "‘": "'", "´": "'", "ʼ": "'", "ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae"}
_MARKS = re.compile("[\u0300-\u036f]+")
# Format characters but for the joiners' use inside Indic and Persian words, which no Latin pattern meets anyway.
INVISIBLE = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
                       "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e01ef]+")  # fmt: skip
_TWINS = str.maketrans(
    "абвгеіїјкмнорстухѕԁԛԝһցօոսքզհյ" "αβγδεικνορτυχωηλμѵ" "ɑɡɩʟʀɴɪᴀʙᴄᴅᴇꜰɢʜᴊᴋᴍᴏᴘꜱᴛᴜᴠᴡʏᴢ",
    "abbreiijkmhopctyxsdqwhgonuqqhj" "abydeikvoptuxwnlmv"  "agilrniabcdefghjkmopstuvwyz",
)  # fmt: skip
_MIXED = re.compile(
    r"[a-z0-9_]*(?:[a-z][\u0370-\u058f]|[\u0370-\u058f][a-z]|[ɑɡɩʟʀɴɪᴀ-ᴢꜰꜱ])[a-z0-9_\u0370-\u058fɐ-ʯᴀ-ᴢꜰꜱ]*"
)
# What a mixed word holds; each is one class to look for, where the whole takes 150 ns a letter.
_OTHER_LETTER = re.compile("[\u0370-\u058fɑɡɩʟʀɴɪᴀ-ᴢꜰꜱ]")
_BESIDE_LATIN = re.compile("[a-z](?:[\u0370-\u058f]|(?<=[\u0370-\u058f].))")
_SMALL_CAPITAL = re.compile("[ɑɡɩʟʀɴɪᴀ-ᴢꜰꜱ]")
_SQUARED = {
    **{0x1F150 + place: chr(97 + place) for place in range(26)},
    **{0x1F170 + place: chr(97 + place) for place in range(26)},
    **{0x1F1E6 + place: chr(97 + place) for place in range(26)},
}
_HAS_SQUARED = re.compile("[\U0001f150-\U0001f189\U0001f1e6-\U0001f1ff]")

_LOOKS = {
    "a": "a4@", "b": "b8", "e": "e3", "g": "g9", "i": "i1!|", "l": "l1|", "o": "o0", "s": "s5$", "t": "t7+", "z": "z2",
}  # fmt: skip


def fold(text: str) -> str:
    """`text` in small letters without accents, disguises and invisible characters."""
    if text.isascii():
        return text.lower()
    if _ORDINARY.fullmatch(text):
        return _straighten(text).lower()
    plain = INVISIBLE.sub("", text)
    if _HAS_SQUARED.search(plain):
        plain = plain.translate(_SQUARED)
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", plain).casefold())
    plain = _straighten(unicodedata.normalize("NFC", plain))
    if not _OTHER_LETTER.search(plain) or not (_BESIDE_LATIN.search(plain) or _SMALL_CAPITAL.search(plain)):
        return plain
    return _MIXED.sub(lambda word: word.group().translate(_TWINS), plain)


def _straighten(text: str) -> str:
    for letter, plain in _QUOTES.items():  # in a text that is not ASCII, ten times as fast as to translate it
        if letter in text:
            text = text.replace(letter, plain)
    return text


def spell(word: str, *, spaced: bool = True) -> str:
    """A pattern of `word` (small Latin letters) with letters stretched, replaced by digits and signs, or spaced out."""
    looks = [f"[{_LOOKS[letter]}]" if letter in _LOOKS else letter for letter in word]
    close = "".join(f"{look}+" if look != after else look for look, after in zip(looks, [*looks[1:], ""], strict=True))
    if not spaced or len(looks) < 4:
        return close
    return f"(?:{close}|{'[ ._*~-]+'.join(looks)})"


def loosen(pattern: str) -> str:
    """`pattern` without look-around, with Python's white space: what Rust's `regex` can search, and finds no less."""
    return _LOOK_AROUND.sub("", pattern).replace(r"\s", r"[\s\x1c-\x1f]")


def widen(pattern: str) -> str:
    """`pattern` without upper bounds on repetitions: finds no less, with a fraction of the states in an automaton."""
    return _BOUNDED.sub(r"{\1,}", pattern)


def write_phrases(phrases: Iterable[str]) -> str:
    """One alternation of `phrases`, in which a space outside a character class is any white space between words."""
    return "|".join(_CLASS_OR_SPACE.sub(lambda part: SPACE if part[0] == " " else part[0], one) for one in phrases)
