"""llama.cpp's own quantisers on rows in memory: `ggml_quantize_chunk` of the library that llama-cpp-python brings.

A quantised row depends on that row alone, so rows may be quantised in any order and any number of threads (ctypes
releases the interpreter's lock while the library works).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from flytewheel.errors import ExportError

_PLAIN = {"F16": "float16", "BF16": "bfloat16"}


def row_bytes(kind: str, columns: int) -> int:
    """Bytes of one row of a tensor type (`F32`, `Q4_K` …)."""
    import gguf

    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    return columns // int(block) * int(size)


def block_numbers(kind: str) -> int:
    """Numbers of a row that a tensor type packs together."""
    import gguf

    return int(gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0])


def encode_rows(rows: Any, kind: str) -> memoryview | None:
    """Rows in the bytes of a tensor type.

    Args:
        rows: fp32 array `(rows, columns)`, contiguous, every number finite.
        kind: The tensor type; F16 and BF16 are rounded to nearest, ties to even, as llama.cpp does.

    Returns:
        The bytes, or None where a number, or the scale of a block, is more than the type can hold.
    """
    import gguf
    import numpy as np
    import torch

    if kind == "F32":
        return memoryview(rows).cast("B")
    if kind in _PLAIN:
        plain = torch.from_numpy(rows).to(getattr(torch, _PLAIN[kind]))
        if not all(bool(torch.isfinite(end)) for end in torch.aminmax(plain)):
            return None
        return memoryview(plain.view(torch.uint8).numpy()).cast("B")
    library, number = _library(), int(gguf.GGMLQuantizationType[kind])
    out = np.empty(rows.shape[0] * row_bytes(kind, rows.shape[1]), dtype=np.uint8)
    written = library.ggml_quantize_chunk(
        number, rows.ctypes.data, out.ctypes.data, 0, rows.shape[0], rows.shape[1], None
    )
    if written != out.nbytes:
        raise ExportError(f"llama.cpp wrote {written} bytes of {kind} where {out.nbytes} were expected; is it damaged?")
    return out.data if library.ggml_validate_row_data(number, out.ctypes.data, out.nbytes) else None


def find_library(symbol: str) -> Any:
    """llama.cpp's loaded library that exports a function.

    Raises:
        ExportError: none does.
    """
    import llama_cpp.llama_cpp as bindings
    from llama_cpp import _ggml

    from flytewheel.export.llamacpp import silence_log

    silence_log()
    for library in (_ggml.libggml, bindings._lib):
        if hasattr(library, symbol):
            return library
    raise ExportError(f"llama.cpp's library exports no {symbol}; install llama-cpp-python as the Makefile does")


@cache
def _library() -> Any:
    """The quantisers, with their signatures declared."""
    library = find_library("ggml_quantize_chunk")
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    library.ggml_validate_row_data.restype = ctypes.c_bool
    library.ggml_validate_row_data.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    return library
