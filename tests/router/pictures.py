"""Pictures of pages, which must show something."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"


def take(page: Any, path: Path, docs: str | None) -> None:
    """A picture that is not blank: beyond one plain colour there is text in it."""
    page.screenshot(path=path, animations="disabled")
    data = path.read_bytes()
    if docs is not None:
        (DOCS / docs).write_bytes(data)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    pixels, place = b"", 8
    while place < len(data):
        size = int.from_bytes(data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            pixels += data[place + 8 : place + 8 + size]
        place += size + 12
    rows = zlib.decompress(pixels)  # filtered rows: a plain area is all zeros
    assert sum(byte != 0 for byte in rows) > 0.005 * len(rows)
