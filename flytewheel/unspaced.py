"""Scripts that write no spaces between words, so that every sign counts as one."""

from __future__ import annotations

# Kana, Han, Hangul; Thai, Lao, Burmese, Khmer
UNSPACED = (
    (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7AF), (0x20000, 0x3FFFF),
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF),
)  # fmt: skip


def is_unspaced(sign: str) -> bool:
    """Whether a sign belongs to a script that writes no spaces between words (Hangul does, but packs a syllable into a
    sign)."""
    code = ord(sign)
    return code >= 0x0E00 and any(first <= code <= last for first, last in UNSPACED)
