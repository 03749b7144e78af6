"""The header of a GGUF: packed once for all the kinds of a model, which differ in a number and in their tensors' types;
and read back by llama.cpp's own parser, which does not take seconds over a large vocabulary, as gguf's in Python does.
"""

from __future__ import annotations

import ctypes
import io
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.ggml import find_library, row_bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """A header, where each tensor begins in the file, and how long the file is; in bytes."""

    header: bytes
    begins: Mapping[str, int]
    size: int


def pack_keys(writer: Any) -> bytes:
    """The keys of a `gguf.GGUFWriter` as they stand in a file; the number of the kind (0) last, as llama.cpp has it."""
    import gguf
    from gguf.gguf_writer import WriterState

    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(0)
    packed = io.BytesIO()
    writer.fout, writer.state = [packed], WriterState.HEADER
    writer.write_kv_data_to_file()
    count = len(writer.kv_data[0])
    return struct.pack("<Q", count) + packed.getvalue()


def lay_out(keys: bytes, file_type: int, shapes: Mapping[str, tuple[int, ...]], types: Mapping[str, str]) -> Layout:
    """The header of one kind.

    Args:
        keys: Of `pack_keys`.
        file_type: llama.cpp's number of the kind.
        shapes: Of each tensor, as in numpy.
        types: Of each tensor, in the file's order.
    """
    import gguf

    told = [struct.pack("<4sIQ", b"GGUF", gguf.GGUF_VERSION, len(types)), keys[:-4], struct.pack("<I", file_type)]
    offsets, offset = {}, 0
    for name, of in types.items():
        shape, number = shapes[name], int(gguf.GGMLQuantizationType[of])
        spelt = name.encode()
        told.append(struct.pack(f"<Q{len(spelt)}sI", len(spelt), spelt, len(shape)))
        told.append(struct.pack(f"<{len(shape)}QIQ", *reversed(shape), number, offset))
        offsets[name] = offset
        offset += _pad(tensor_bytes(shape, of))
    header = b"".join(told)
    header += bytes(_pad(len(header)) - len(header))
    return Layout(header, {name: len(header) + at for name, at in offsets.items()}, len(header) + offset)


def tensor_bytes(shape: tuple[int, ...], kind: str) -> int:
    """Bytes of a tensor in a type, without padding."""
    return math.prod(shape[:-1]) * row_bytes(kind, shape[-1])


def read_types(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape (as in numpy) of each tensor of a GGUF, as llama.cpp reads them.

    Raises:
        ExportError: llama.cpp does not take it for one.
    """
    import gguf

    library = _library()
    opened = library.gguf_init_from_file(str(path).encode(), _Options(no_alloc=True, context=None))
    if not opened:
        raise ExportError(f"{path}: llama.cpp does not take it for a GGUF; export again")
    try:
        found = {}
        for index in range(library.gguf_get_n_tensors(opened)):
            sizes = library.gguf_get_tensor_ne(opened, index)[:4]
            while len(sizes) > 1 and sizes[-1] == 1:
                sizes.pop()
            kind = gguf.GGMLQuantizationType(library.gguf_get_tensor_type(opened, index)).name
            found[library.gguf_get_tensor_name(opened, index).decode()] = (kind, tuple(reversed(sizes)))
        return found
    finally:
        library.gguf_free(opened)


class _Options(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p))


@cache
def _library() -> Any:
    library = find_library("gguf_get_tensor_ne")
    library.gguf_init_from_file.restype = ctypes.c_void_p
    library.gguf_init_from_file.argtypes = [ctypes.c_char_p, _Options]
    library.gguf_free.argtypes = [ctypes.c_void_p]
    library.gguf_free.restype = None
    library.gguf_get_n_tensors.restype = ctypes.c_int64
    library.gguf_get_n_tensors.argtypes = [ctypes.c_void_p]
    for name, kind in (("name", ctypes.c_char_p), ("type", ctypes.c_int), ("ne", ctypes.POINTER(ctypes.c_int64))):
        read = getattr(library, f"gguf_get_tensor_{name}")
        read.restype, read.argtypes = kind, [ctypes.c_void_p, ctypes.c_int64]
    return library


def _pad(size: int) -> int:
    import gguf

    unit = int(gguf.GGUF_DEFAULT_ALIGNMENT)
    return -(-size // unit) * unit
