"""The 64-bit keys by which answers are compared: BLAKE2b of their text, white space aside.

`key_texts` gives what `key_text` gives, of many texts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from flytewheel.curation.screening import identify_text
from flytewheel.curation.shingles import Ints, UInts
from flytewheel.curation.whitespace import squeeze_chunks

_BLANKED = bytes(ord(" ") if code < 128 and chr(code).isspace() else code for code in range(256))


def key_text(text: str) -> int:
    """The 64-bit key of an answer's text."""
    return int.from_bytes(_hash(identify_text(text).encode(errors="replace")))


def key_texts(texts: Sequence[str]) -> tuple[UInts, Ints]:
    """The key of each text, and how many words it has."""
    digests: list[bytes] = []
    counts: list[Ints] = [np.zeros(0, dtype=np.int64)]
    for start, pieces, sizes in squeeze_chunks(texts, _BLANKED):
        digests += map(_hash, pieces)
        counts.append(sizes)
        for place in range(start, start + len(pieces)):
            if not texts[place].isascii():
                words = texts[place].split()
                digests[place] = _hash(" ".join(words).encode(errors="replace"))
                sizes[place - start] = len(words)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64), np.concatenate(counts)


def _hash(text: bytes) -> bytes:
    return blake2b(text, digest_size=8).digest()
