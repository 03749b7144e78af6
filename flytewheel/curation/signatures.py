"""MinHash bands of trigram sets: equal bands are candidates, nothing more.

Signatures are rensa's (Broder 1997). Its matrix gives only lists: in chunks of 256 rows they cost 4 µs a text, in
larger ones 10, as memory is not used again. `array` reads such a list in 2 µs, `struct` in 3, numpy in 6. The number
of rows in a band is the largest that finds a pair at the threshold with `RECALL`.
"""

from __future__ import annotations

from array import array

import numpy as np
from rensa import RMinHash

from flytewheel.curation.shingles import Shingles, UInts, mix

PERMUTATIONS = 256
RECALL = 0.995
ALGORITHM = str(RMinHash.ALGORITHM_VERSION)
_SIGNED_AT_ONCE = 256


def choose_band_rows(similarity: float) -> int:
    """Rows of a MinHash band: as many as still find a pair at `similarity`, in query and background alike, with
    `RECALL`."""
    rows = 1
    for candidate in range(2, 33):
        missed = (1 - similarity ** (2 * candidate)) ** (PERMUTATIONS // candidate)
        if missed > 1 - RECALL:
            break
        rows = candidate
    return rows


def sign(shingles: Shingles, rows: int, seed: int) -> UInts:
    """(bands, n), a hash of each band's rows."""
    count = PERMUTATIONS // rows
    bands = np.empty((count, len(shingles)), dtype=np.uint64)
    for start in range(0, len(shingles), _SIGNED_AT_ONCE):
        offsets = shingles.offsets[start : start + _SIGNED_AT_ONCE + 1]
        digests = RMinHash.digest_matrix_from_flat_token_hashes(
            shingles.values[offsets[0] : offsets[-1]], (offsets - offsets[0]).astype(np.uint64), PERMUTATIONS, seed
        ).to_rows()
        flat = array("I")
        for digest in digests:
            flat.fromlist(digest)
        matrix = np.frombuffer(flat, dtype=np.uint32)
        split = matrix.reshape(-1, PERMUTATIONS)[:, : count * rows].reshape(-1, count, rows).astype(np.uint64)
        state = mix(split[:, :, 0])
        for row in range(1, rows):
            state = (state ^ split[:, :, row]) * np.uint64(0x9FB21C651E98DF25)
            state ^= state >> np.uint64(32)
        bands[:, start : start + len(digests)] = state.T
    return bands
