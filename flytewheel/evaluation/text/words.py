"""The words of a text in any script, as figures and comparisons of texts count them.

Case and width are folded (NFKC), punctuation parts words, combining marks belong to their word (in Hindi they are its
vowels), and where a script writes no spaces every sign is a word. ASCII takes a short way to the same words.
"""

from __future__ import annotations

import unicodedata

from flytewheel.unspaced import is_unspaced

_ASCII = "".join(chr(code).lower() if chr(code).isalnum() or chr(code) == "_" else " " for code in range(128))


class _Letters(dict[int, str]):
    """What becomes of each code point; filled as they are met."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        mark = unicodedata.category(sign)[0] == "M"
        if not (mark or sign.isalnum() or sign == "_"):
            kept = " "
        elif is_unspaced(sign):
            kept = sign if mark else f" {sign}"  # a mark goes with the sign before it
        else:
            kept = sign
        self[code] = kept
        return kept


_LETTERS = _Letters()


def split_words(text: str) -> list[str]:
    """Words in lower case, in their order."""
    if text.isascii():
        return text.translate(_ASCII).split()
    return unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS).split()


def count_words(text: str) -> int:
    """Words between white space; of a script without spaces, every sign counts."""
    if text.isascii():
        return len(text.split())
    wide = sum(map(is_unspaced, text))
    if not wide:
        return len(text.split())
    return wide + len("".join(" " if is_unspaced(sign) else sign for sign in text).split())
