"""What a file says, whatever form it has, and the file without a person.

Packed forms are opened (gzip, zip, zstd, parquet, wandb's log of records) and escaped ones are read as they are meant
(JSON, HTML, URLs, UTF-16, base64), so that a name is found however it was written. A file that can be mended line by
line or value by value is; any other in which something is found goes as a whole: all of them are made from feedback
and are no source of anything.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from flytewheel.erase.needles import GONE, Needles

WEIGHTS = frozenset({".safetensors", ".gguf", ".npy", ".pt", ".pth", ".bin"})  # figures; versions are tainted instead
_DEPTH = 4
_JSON_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|([nrt"\\/bf]))')
_PLAIN = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_WANDB_BLOCK = 32_768
_PAGE = """<!doctype html><meta charset="utf-8"><title>erased</title>
<p>This page quoted a person who was erased. Its figures are in <code>flytewheel runs show</code>.</p>
"""


def finds(needles: Needles, data: bytes, name: str = "") -> bool:
    """Whether a file's bytes hold anything of the person, in any form."""
    return any(needles.finds(view) for view in list_views(data, name))


def list_views(data: bytes, name: str = "", depth: int = 0) -> Iterator[str]:
    """Every way in which the bytes may be meant as text."""
    if depth < _DEPTH:
        for inner, inside in _unpack(data, name):
            yield from list_views(inner, inside, depth + 1)
    if data[:4] == b"PAR1":
        yield from _list_cells(data)
        return
    text = data.decode("utf-8", "replace")
    yield text
    if "\\" in text:
        yield unescape_json(text)
        yield unescape_json(unescape_json(text))
    if "&" in text and ";" in text:
        yield html.unescape(text)
    if "%" in text:
        yield unquote(text, errors="replace")
    if b"\0" in data:
        for start in (0, 1):
            for form in ("utf-16-le", "utf-16-be"):
                yield data[start:].decode(form, "replace")
    if depth < _DEPTH:
        for found in _BASE64.finditer(data):
            yield from _read_base64(found.group(), depth)


def mend(needles: Needles, data: bytes, name: str) -> bytes | None:
    """The file without the person; the very same bytes where nothing was found, `None` where it has to go.

    Args:
        needles: the person.
        data: the file's bytes.
        name: its path, which says what it is.
    """
    if not finds(needles, data, name):
        return data
    suffix = name.rpartition(".")[2].lower()
    mended: bytes | None = None
    if suffix == "jsonl":
        mended = b"".join(_mend_lines(needles, data, whole="quarantine/" in name))
    elif suffix == "json":
        mended = _mend_json(needles, data)
    elif suffix in ("log", "txt", "md", "csv"):
        mended = b"".join(line for line in data.splitlines(keepends=True) if not finds(needles, line))
    elif suffix == "html":
        mended = _PAGE.encode()
    return None if mended is None or finds(needles, mended, name) else mended


def unescape_json(text: str) -> str:
    """Reads JSON's escapes as what they stand for, anywhere in a text."""

    def read(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        return _PLAIN.get(found[2], found[2])

    read_text = _JSON_ESCAPE.sub(read, text)
    return read_text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs of \u become one sign


def _mend_lines(needles: Needles, data: bytes, *, whole: bool) -> Iterator[bytes]:
    """Lines of JSON; `whole`: one in which anything is found goes, and is not mended."""
    for line in data.splitlines(keepends=True):
        if not finds(needles, line):
            yield line
            continue
        mended = None if whole else _mend_json(needles, line)
        if mended is not None and not finds(needles, mended):
            yield mended + b"\n"


def _mend_json(needles: Needles, data: bytes) -> bytes | None:
    try:
        value: Any = json.loads(data)
    except ValueError:
        return None
    clean = needles.scrub(value)
    if clean is GONE:
        return None
    indent = 1 if b"\n " in data else None
    return json.dumps(clean, ensure_ascii=False, indent=indent, sort_keys=True).encode()


def _unpack(data: bytes, name: str) -> Iterator[tuple[bytes, str]]:
    try:
        if data[:2] == b"\x1f\x8b":
            yield gzip.decompress(data), name.removesuffix(".gz")
        elif data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for item in archive.namelist():
                    yield item.encode(), ""
                    yield archive.read(item), item
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            import pyarrow as pa

            with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
                yield stream.read(), name
        elif name.endswith(".wandb"):
            yield _join_records(data), ""
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, struct.error, ValueError, RuntimeError):
        return  # not what it looked like: the bytes themselves are searched all the same


def _join_records(data: bytes) -> bytes:
    """The records of wandb's log without the seams (LevelDB's form: blocks of 32 KiB, pieces behind 7 bytes)."""
    out, place = [], 7
    while place + 7 <= len(data):
        left = _WANDB_BLOCK - place % _WANDB_BLOCK
        if left < 7:
            place += left
            continue
        (length,) = struct.unpack_from("<H", data, place + 4)
        out.append(data[place + 7 : place + 7 + length])
        place += 7 + length
    return b"".join(out)


def _list_cells(data: bytes) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            for batch in file.iter_batches(batch_size=1_000, use_threads=False):
                rows = batch.to_pylist()
                yield "\n".join(json.dumps(row, ensure_ascii=False, default=str) for row in rows)
                yield unescape_json("\n".join(json.dumps(row, ensure_ascii=False, default=str) for row in rows))
    except (pa.ArrowException, OSError):
        yield data.decode("utf-8", "replace")


def _read_base64(found: bytes, depth: int) -> Iterator[str]:
    padded = found.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        inner = base64.b64decode(padded + b"=" * (-len(padded) % 4))
    except (binascii.Error, ValueError):
        return
    text = inner.decode("utf-8", "replace")
    if text.count("\ufffd") * 4 <= len(text):  # mere letters that look like base64 decode to noise
        yield text
        yield from (view for form, _ in _unpack(inner, "") for view in list_views(form, "", depth + 1))
