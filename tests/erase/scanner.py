"""Reads every byte of a folder and says where a marker is found, in whatever form. It shares no code with the product.

Forms of a marker: raw, with JSON's escapes, UTF-16, base64 at each of its three offsets, quoted for URLs, and the
common digests of a name without a key. Packed bytes are opened: gzip, zip, zstd, parquet, wandb's log, and PostgreSQL's
compressed values (pglz and lz4): at every byte that may begin one, and the chunks of a TOAST table joined.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PAGE = 8192

Found = dict[str, set[str]]


def list_forms(marker: str, *, name: bool = False) -> list[bytes]:
    """What to look for; of a `name` the digests too."""
    raw = marker.encode()
    forms = [raw, json.dumps(marker)[1:-1].encode(), marker.encode("utf-16-le"), marker.encode("utf-16-be")]
    forms.append(quote(marker).encode())
    for shift in range(3):  # base64 of text around it: the whole groups of three bytes
        inner = raw[(3 - shift) % 3 :]
        forms.append(base64.b64encode(inner[: len(inner) // 3 * 3]))
    if name:
        for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            found = digest(raw)
            forms += [found.hexdigest()[:16].encode(), found.digest()[:8]]
    return sorted({form for form in forms if len(form) >= 8})


class Scanner:
    """Looks for markers in files."""

    def __init__(self, markers: dict[str, list[bytes]]) -> None:
        self._forms = {form: marker for marker, forms in markers.items() for form in forms}

    def scan(self, folder: Path, *, skip: tuple[str, ...] = (), databases: frozenset[str] = frozenset()) -> Found:
        """The files that hold a marker, by their path below `folder`, with the markers.

        Of PostgreSQL's files those of other databases than `databases` (by their oid) are passed over.
        """
        found: Found = {}
        for path in sorted(folder.rglob("*")):
            if path.parent.parent.name == "base" and path.parent.name not in databases:
                continue
            if path.is_file() and not path.is_symlink() and not path.name.endswith(skip):
                hits = self.read(path.read_bytes(), path)
                hits |= self.search(path.name.encode())
                if hits:
                    found[path.relative_to(folder).as_posix()] = hits
        return found

    def search(self, data: bytes) -> set[str]:
        return {marker for form, marker in self._forms.items() if form in data}

    def read(self, data: bytes, path: Path, depth: int = 0) -> set[str]:
        hits = self.search(data)
        if depth < 4:
            for inner in _open(data, path.name):
                hits |= self.read(inner, Path(), depth + 1)
        if "base" in path.parts or "pg_wal" in path.parts or "global" in path.parts:
            hits |= self.search(b"\n".join(read_postgres(data)))
        return hits


def _open(data: bytes, name: str) -> Iterator[bytes]:
    try:
        if data[:2] == b"\x1f\x8b":
            yield gzip.decompress(data)
        elif data[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                yield from (archive.read(item) for item in archive.namelist())
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            yield pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
        elif data[:4] == b"PAR1":
            table = pq.read_table(pa.BufferReader(data))
            yield json.dumps(table.to_pylist(), ensure_ascii=False, default=str).encode()
        elif name.endswith(".wandb"):
            yield _read_wandb(data)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException):
        return
    if b"\\" in data:
        text = data.decode("utf-8", "replace")
        yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda it: chr(int(it[1], 16)), text).encode("utf-8", "replace")


def _read_wandb(data: bytes) -> bytes:
    out, place = b"", 7
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size = struct.unpack_from("<H", data, place + 4)[0]
        out += data[place + 7 : place + 7 + size]
        place += 7 + size
    return out


def read_postgres(data: bytes) -> Iterator[bytes]:
    """Every compressed value that can be read out of pages or out of the log, wherever it begins."""
    if len(data) < 16:
        return
    plain = np.frombuffer(data, dtype=np.uint8).astype(np.uint32)
    words = plain[:-3] | plain[1:-2] << 8 | plain[2:-1] << 16 | plain[3:] << 24
    head, info = words[:-4], words[4:]
    size, raw = head >> 2, info & 0x3FFFFFFF
    likely = ((head & 3) == 2) & (size > 12) & (size <= PAGE) & (raw >= size - 8) & (raw < 1 << 18) & (info >> 30 <= 1)
    for place in np.flatnonzero(likely).tolist():
        value = _expand(data[place + 8 : place + int(size[place])], int(raw[place]), int(info[place] >> 30))
        if value is not None:
            yield value
    for value in _join_chunks(data):
        yield value
        info_ = struct.unpack_from("<I", value)[0] if len(value) > 4 else 0
        expanded = _expand(value[4:], info_ & 0x3FFFFFFF, info_ >> 30)
        if expanded is not None:
            yield expanded


def _join_chunks(data: bytes) -> Iterator[bytes]:
    """The values of a TOAST table: tuples of (oid, number, bytes) on its pages, joined by their oid."""
    if len(data) % PAGE:
        return
    chunks: dict[int, dict[int, bytes]] = defaultdict(dict)
    for start in range(0, len(data), PAGE):
        page = data[start : start + PAGE]
        lower = struct.unpack_from("<H", page, 12)[0]
        for slot in range(24, min(lower, PAGE) - 3, 4):
            word = struct.unpack_from("<I", page, slot)[0]
            offset, length = word & 0x7FFF, word >> 17
            if not length or offset + length > PAGE or length < 36:
                continue
            item = page[offset : offset + length]
            body = item[item[22] :]
            if len(body) > 12:
                oid, number = struct.unpack_from("<II", body)
                (size,) = struct.unpack_from("<I", body, 8)
                if size & 3 == 0 and size >> 2 == len(body) - 8 and number < 1000:
                    chunks[oid][number] = body[12:]
    for parts in chunks.values():
        if sorted(parts) == list(range(len(parts))):
            yield b"".join(parts[number] for number in sorted(parts))


def _expand(source: bytes, size: int, method: int) -> bytes | None:
    if method == 1:
        try:
            return bytes(pa.Codec("lz4_raw").decompress(source, size))
        except (OSError, ValueError, pa.ArrowException):
            return None
    return expand_pglz(source, size) if method == 0 and 0 < size < 1 << 18 else None


def expand_pglz(source: bytes, size: int) -> bytes | None:
    """Decodes PostgreSQL's own compression; None where the bytes are none (`pg_lzcompress.c` describes the form)."""
    out, place = bytearray(), 0
    while place < len(source) and len(out) < size:
        control = source[place]
        place += 1
        for bit in range(8):
            if place >= len(source) or len(out) >= size:
                break
            if not control >> bit & 1:
                out.append(source[place])
                place += 1
                continue
            if place + 1 >= len(source):
                return None
            length, back = (source[place] & 15) + 3, (source[place] & 240) << 4 | source[place + 1]
            place += 2
            if length == 18:
                if place >= len(source):
                    return None
                length += source[place]
                place += 1
            if not back or back > len(out):
                return None
            for _ in range(min(length, size - len(out))):
                out.append(out[-back])
    return bytes(out) if len(out) == size else None
