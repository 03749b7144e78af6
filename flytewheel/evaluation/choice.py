"""Which rows are taken when there are too many: by a hash of seed and row, not by order, so that a smaller sample is a
part of a larger one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from flytewheel.records import Preference, SftRow

Row = TypeVar("Row", SftRow, Preference)


def choose(rows: Sequence[Row], limit: int, seed: int) -> list[Row]:
    """Takes at most `limit` rows, the same ones for the same seed whatever their order."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).digest())[:limit]
