"""Quantises an F16 GGUF with llama.cpp's own quantiser, and reads back what it really did.

A K-quant packs 256 numbers of a row together, Q8_0 packs 32. Where a tensor's rows are no multiple of that, llama.cpp
takes another type without an error; the tensors it did that to are listed in the report, so that "Q4_K_M" never means
less, or more, than it says.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from flytewheel.errors import ExportError
from flytewheel.export.llamacpp import silence_log

# Types that the quantiser mixes by plan for each kind; others on a matrix are its fallbacks for odd row lengths.
_PLANNED: dict[str, frozenset[str]] = {
    "F16": frozenset({"F16"}),
    "Q8_0": frozenset({"Q8_0"}),
    "Q6_K": frozenset({"Q6_K"}),
    "Q5_K_M": frozenset({"Q5_K", "Q6_K"}),
    "Q4_K_M": frozenset({"Q4_K", "Q5_K", "Q6_K"}),
}


@dataclass(frozen=True, slots=True)
class TensorTypes:
    """Types found in a GGUF: how many tensors of each, and the matrices that could not have the type asked for."""

    counts: dict[str, int]
    fallbacks: dict[str, str]


def quantize(source: Path, target: Path, kind: str, *, threads: int = 1) -> TensorTypes:
    """Quantises the F16 file `source` to `target` (written in place) and reads its tensor types back.

    Raises:
        ExportError: llama.cpp could not do it, or not one matrix got a planned type.
    """
    import llama_cpp

    silence_log()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    params.nthread = threads
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    if status != 0 or not target.is_file():
        raise ExportError(f"llama.cpp could not quantise {source.name} to {kind} (status {status}); is the disk full?")
    return read_tensor_types(target, kind)


def read_tensor_types(path: Path, kind: str) -> TensorTypes:
    """Reads the type of every tensor of a GGUF that was to be of `kind`."""
    from gguf import GGUFReader

    counts: Counter[str] = Counter()
    fallbacks: dict[str, str] = {}
    for tensor in GGUFReader(path).tensors:
        name = str(tensor.tensor_type.name)
        counts[name] += 1
        if len(tensor.shape) > 1 and name not in _PLANNED[kind]:
            fallbacks[str(tensor.name)] = name
    return TensorTypes(dict(sorted(counts.items())), fallbacks)
