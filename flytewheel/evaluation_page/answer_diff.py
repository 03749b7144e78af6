"""What differs between two answers, word by word, in any script.

The fewest words inserted and deleted (rapidfuzz's Indel, bit-parallel: 0.1 s for texts of 10,000 signs); two changes
with nothing but white space between them are one. A word is a run of letters, digits and the marks that belong to them;
where a script writes no spaces every sign is a word; every other character stands for itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz.distance import Indel, LCSseq

from flytewheel.evaluation_page.style import words

_UNSPACED = (  # Thai, Lao, Burmese, Khmer, kana, Han
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x312F), (0x31A0, 0x9FFF), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F), (0x20000, 0x3FFFF),
)  # fmt: skip
_JOINERS = "\u200c\u200d"  # inside words of Persian and Hindi, and inside emoji
_SIGNS = {" ": "·", "\t": "→\t", "\n": "⏎\n", "\r": "␍", "\u00a0": "⍽", "\u200b": "⟦ZWSP⟧", "\ufeff": "⟦BOM⟧"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one of the two texts; `changed`: the other text does not have it there."""

    text: str
    changed: bool


def diff_texts(ours: str, theirs: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces; joined again, the pieces are the texts."""
    first, second = split_tokens(ours), split_tokens(theirs)
    left: list[tuple[str, bool]] = []
    right: list[tuple[str, bool]] = []
    steps = [
        (step.tag == "equal", first[step.src_start : step.src_end], second[step.dest_start : step.dest_end])
        for step in Indel.opcodes(first, second)
    ]
    for place, (equal, mine, other) in enumerate(steps):
        bridge = equal and 0 < place < len(steps) - 1 and not "".join(mine).strip() and _is_wide(steps, place)
        left.append(("".join(mine), not equal or bridge))
        right.append(("".join(other), not equal or bridge))
    return _join(left), _join(right)


def split_tokens(text: str) -> list[str]:
    """The words of a text and every character between them; joined, they are the text."""
    tokens: list[str] = []
    open_ = False  # whether the last token may grow
    for character in text:
        kind = _kind(character)
        if tokens and (kind == "mark" or (kind == "letter" and open_)):
            tokens[-1] += character
        else:
            tokens.append(character)
            open_ = kind == "letter"
    return tokens


def overlap(answer: str, reference: str) -> float | None:
    """F1 of the longest common subsequence of words in any script (ROUGE-L's formula, Lin 2004), in [0, 1]; `None`
    where the reference has no word.
    """
    said, wanted = (
        [token for token in split_tokens(text.casefold()) if _is_word(token)] for text in (answer, reference)
    )
    if not wanted:
        return None
    common = LCSseq.similarity(said, wanted)
    return 2 * common / (len(said) + len(wanted))


def draw_pieces(pieces: Sequence[Piece], mark: str) -> str:
    """Pieces as HTML, what changed inside the element `mark` (`ins` or `del`)."""
    return "".join(
        f"<{mark}>{show_signs(piece.text)}</{mark}>" if piece.changed else words(piece.text) for piece in pieces
    )


def show_signs(text: str) -> str:
    """A changed text as HTML with what cannot be seen made visible: all of it where there is nothing else, else what is
    not a plain space or line end.
    """
    plain = " \n" if text.strip() else ""
    out = []
    for character in text:
        sign = None if character in plain else _SIGNS.get(character)
        if sign is None and character not in " \n" and (character.isspace() or _is_invisible(character)):
            sign = f"⟦U+{ord(character):04X}⟧"
        out.append(words(character) if sign is None else f'<span class="sign">{sign}</span>')
    return "".join(out)


def cut_pieces(pieces: Sequence[Piece], room: int, before: int) -> list[Piece]:
    """About `room` characters of the pieces from `before` characters ahead of the first change on."""
    start = 0
    for piece in pieces:
        if piece.changed:
            break
        start += len(piece.text)
    else:
        start = 0
    start = max(start - before, 0)
    kept, place = [], 0
    for piece in pieces:
        text = piece.text[max(start - place, 0) : max(start + room - place, 0)]
        place += len(piece.text)
        if text:
            kept.append(Piece(text, piece.changed))
    if start and kept:
        kept.insert(0, Piece("… ", False))
    if start + room < place and kept:
        kept.append(Piece(" …", False))
    return kept


def says_the_same(ours: str, theirs: str) -> str:
    """Why two texts look alike though they differ; empty where they do not."""
    if ours == theirs:
        return "both answers are the same"
    if ours.split() == theirs.split():
        return "they differ in white space only"
    if unicodedata.normalize("NFKC", ours) == unicodedata.normalize("NFKC", theirs):
        return "they differ in Unicode form only"
    return ""


def _is_wide(steps: Sequence[tuple[bool, list[str], list[str]]], place: int) -> bool:
    """Whether words change on both sides of a stretch of white space: then it is within one change."""
    return all(
        any(token.strip() for token in (*steps[beside][1], *steps[beside][2])) for beside in (place - 1, place + 1)
    )


def _join(parts: Sequence[tuple[str, bool]]) -> list[Piece]:
    pieces: list[Piece] = []
    for text, changed in parts:
        if not text:
            continue
        if pieces and pieces[-1].changed == changed:
            pieces[-1] = Piece(pieces[-1].text + text, changed)
        else:
            pieces.append(Piece(text, changed))
    return pieces


@lru_cache(maxsize=1 << 16)
def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] == "M" or character in _JOINERS:
        return "mark"
    code = ord(character)
    if category[0] in "LN" and not any(first <= code <= last for first, last in _UNSPACED):
        return "letter"
    return "other"


def _is_word(token: str) -> bool:
    return unicodedata.category(token[0])[0] in "LN"


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cc") and character not in _JOINERS
